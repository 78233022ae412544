package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// maxBatchBytes keeps a batch under the brokers' default
	// message.max.bytes of 1048588, with room for the batch's own header.
	maxBatchBytes = 1_000_000
	// maxEmbeddedBatch is for the embedded broker, which syncs each batch to
	// disk and takes larger ones (package broker).
	maxEmbeddedBatch = 2_000_000
	// recordOverhead is more than the varints and attributes of one record.
	recordOverhead = 40
	produceTimeout = 10 * time.Second
)

// Publish stores the messages and returns when all of them are durable. While
// no broker takes them it waits and tries again until ctx ends: a caller that
// can not go on without its messages stored blocks here, which is the
// back-pressure.
//
// Concurrent calls share batches. Messages of one partition are stored in the
// order of the calls. When Publish returns an error, some of the messages may
// have been stored; when ctx ended they may still be stored a moment later, so
// do not reuse the slice, nor the memory of the messages. Without an error all
// of it is free.
func (c *Client) Publish(ctx context.Context, msgs ...Message) error {
	if len(msgs) == 0 {
		return nil
	}
	entries, err := c.split(ctx, msgs)
	if err != nil {
		return err
	}
	for tp, es := range entries {
		if err := c.enqueue(tp, es); err != nil {
			return err
		}
	}
	var failed error
	for _, es := range entries {
		for _, e := range es {
			select {
			case err := <-e.done:
				failed = errors.Join(failed, err)
			case <-ctx.Done():
				return fmt.Errorf("kafka: publish to %s: %w", e.msgs[e.which[0]].Topic, context.Cause(ctx))
			}
		}
	}
	return failed
}

// entry is the share of one Publish call in one batch of one partition.
type entry struct {
	ctx   context.Context
	msgs  []Message // of the call, in all partitions
	which []int32   // are in this entry
	now   time.Time // for messages without a time
	size  int
	done  chan error // one result, buffered
}

func (c *Client) split(ctx context.Context, msgs []Message) (map[topicPartition][]*entry, error) {
	entries := map[topicPartition][]*entry{}
	now := time.Now()
	var topic string
	var n int // its partitions
	for i := range msgs {
		m := &msgs[i]
		size := recordOverhead + len(m.Key) + len(m.Value)
		for _, h := range m.Headers {
			size += recordOverhead + len(h.Key) + len(h.Value)
		}
		if size > maxBatchBytes {
			return nil, fmt.Errorf("kafka: publish to %s: %d bytes, at most %d: %w", m.Topic, size, maxBatchBytes, ErrTooLarge)
		}
		if n == 0 || m.Topic != topic {
			var err error
			if n, err = c.partitionCount(ctx, m.Topic); err != nil {
				return nil, err
			}
			topic = m.Topic
		}
		tp := topicPartition{m.Topic, PartitionFor(m.Key, n)}
		es := entries[tp]
		if len(es) == 0 || es[len(es)-1].size+size > c.maxBatch() {
			es = append(es, &entry{ctx: ctx, msgs: msgs, which: make([]int32, 0, len(msgs)/n+1), now: now, done: make(chan error, 1)})
			entries[tp] = es
		}
		e := es[len(es)-1]
		e.which = append(e.which, int32(i))
		e.size += size
	}
	return entries, nil
}

func (c *Client) maxBatch() int {
	if c.cfg.Embedded {
		return maxEmbeddedBatch
	}
	return maxBatchBytes
}

// partitionCount remembers the count of each topic for the client's life:
// counts are fixed by design, since the partition is part of a key's meaning.
func (c *Client) partitionCount(ctx context.Context, topic string) (int, error) {
	c.mu.Lock()
	n := c.counts[topic]
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	ctx, cancel := c.bind(ctx)
	defer cancel()
	n, err := c.waitPartitions(ctx, topic)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.counts[topic] = n
	c.mu.Unlock()
	return n, nil
}

// bind ends ctx also when the client is closed.
func (c *Client) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// sender writes the batches of one partition, one request at a time: that is
// what keeps the order when a request fails and is sent again. It runs while
// its queue is not empty. Client.mu guards the queue.
type sender struct {
	tp    topicPartition
	queue []*entry
}

func (c *Client) enqueue(tp topicPartition, es []*entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	s := c.senders[tp]
	if s == nil {
		s = &sender{tp: tp}
		c.senders[tp] = s
		c.wg.Add(1)
		go c.send(s)
	}
	s.queue = append(s.queue, es...)
	return nil
}

func (c *Client) send(s *sender) {
	defer c.wg.Done()
	for {
		batch := c.take(s)
		if batch == nil {
			return
		}
		c.store(s.tp, batch)
	}
}

// take removes the next batch from the queue, or the sender from the client
// when there is none. What queued up during the last request goes out in one.
func (c *Client) take(s *sender) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	size, n := 0, 0
	for n < len(s.queue) && (n == 0 || size+s.queue[n].size <= c.maxBatch()) {
		size += s.queue[n].size
		n++
	}
	if n == 0 {
		delete(c.senders, s.tp)
		return nil
	}
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	return batch
}

// store sends one batch until it is stored, refused, or nobody waits for it.
func (c *Client) store(tp topicPartition, batch []*entry) {
	var b backoff
	var unknownSince time.Time
	for {
		if batch = waiting(batch); len(batch) == 0 {
			return
		}
		err := c.produce(tp, batch)
		switch {
		case err == nil:
			finish(batch, nil)
			return
		case c.ctx.Err() != nil:
			finish(batch, ErrClosed)
			return
		case !retriable(err):
			if len(batch) > 1 { // one caller's bad message is not the others'
				for _, e := range batch {
					c.store(tp, []*entry{e})
				}
				return
			}
			finish(batch, fmt.Errorf("kafka: publish to %s: %w", tp.topic, err))
			return
		case errors.Is(err, kafka.UnknownTopicOrPartition):
			if unknownSince.IsZero() {
				unknownSince = time.Now()
			} else if time.Since(unknownSince) > topicPatience {
				finish(batch, fmt.Errorf("kafka: publish to %s: %w", tp.topic, ErrUnknownTopic))
				return
			}
		default:
			unknownSince = time.Time{}
		}
		if b.n == 0 {
			c.log.Warn("kafka: publish waits", "topic", tp.topic, "partition", tp.partition, "error", err)
		}
		sleep(c.ctx, b.next())
	}
}

// waiting drops the entries whose caller has gone.
func waiting(batch []*entry) []*entry {
	live := make([]*entry, 0, len(batch))
	for _, e := range batch {
		if e.ctx.Err() == nil {
			live = append(live, e)
		}
	}
	return live
}

func finish(batch []*entry, err error) {
	for _, e := range batch {
		e.done <- err
	}
}

func (c *Client) produce(tp topicPartition, batch []*entry) error {
	ctx, cancel := context.WithTimeout(c.ctx, produceTimeout)
	defer cancel()
	compression := kafka.Lz4
	if c.cfg.Embedded {
		compression = 0 // the same machine: bytes cost less than work
	}
	res, err := c.kafka.Produce(ctx, &kafka.ProduceRequest{
		Topic:        tp.topic,
		Partition:    tp.partition,
		RequiredAcks: kafka.RequireAll,
		Compression:  compression,
		Records:      &records{batch: batch},
	})
	if err != nil {
		return err
	}
	return res.Error
}

// records presents a batch to the library without copying it.
type records struct {
	batch  []*entry
	i, j   int
	record kafka.Record
	key    recordBytes
	value  recordBytes
}

type recordBytes struct{ bytes.Reader }

func (*recordBytes) Close() error { return nil }

func (r *records) ReadRecord() (*kafka.Record, error) {
	for r.i < len(r.batch) && r.j == len(r.batch[r.i].which) {
		r.i, r.j = r.i+1, 0
	}
	if r.i == len(r.batch) {
		return nil, io.EOF
	}
	e := r.batch[r.i]
	m := &e.msgs[e.which[r.j]]
	r.j++
	r.record = kafka.Record{Time: m.Time, Headers: m.Headers}
	if m.Time.IsZero() {
		r.record.Time = e.now
	}
	if m.Key != nil {
		r.key.Reset(m.Key)
		r.record.Key = &r.key
	}
	if m.Value != nil {
		r.value.Reset(m.Value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}
