// Package stream is Leastwise's only door to Kafka.
//
// # What it promises
//
// Publish returns nil only when every message is acknowledged by all in-sync
// replicas (acks=all). Messages with one key go to one partition, chosen with
// the murmur2 hash of Java's default partitioner, and are stored there in the
// order in which Publish was called.
//
// Reading is at least once: Consume starts a partition at its committed offset
// and Commit is the caller's, after the work is durable. Follow and
// ReadPartition commit nothing and read whole partitions.
//
// # What blocks
//
// Every call that needs a broker waits, with bounded back-off, while no broker
// answers, until its context ends: this is how back-pressure reaches the
// sources. Only Ping and Partitions answer at once. Open does not connect.
//
// # What it may do twice or lose
//
// A produce request that timed out is sent again, so a message may be stored
// twice. When Publish returns an error, each of its messages may or may not
// have been stored. Nothing acknowledged is lost unless the broker loses it;
// a committed offset past the end of a partition (ErrPastEnd) says that it did.
package stream
