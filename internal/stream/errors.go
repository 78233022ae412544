package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
)

var (
	// ErrPartitionMismatch: a topic exists with another partition count than
	// was asked for.
	ErrPartitionMismatch = errors.New("partition count differs")
	// ErrUnknownTopic: the brokers answer, and know no such topic.
	ErrUnknownTopic = errors.New("no such topic: create it, or let a component with the right to create topics start first")
	// ErrTooLarge: a message that no batch can hold.
	ErrTooLarge = errors.New("message is larger than a batch may be")
	// ErrPastEnd: the offset to read from is past the end of the partition.
	// The log was truncated or the topic was deleted and created anew.
	ErrPastEnd = errors.New("offset is past the end of the partition")
	// ErrGenerationOver: the partition is, or may already be, another
	// member's. Consume takes it from run as the end of the assignment.
	ErrGenerationOver = errors.New("the group's generation is over")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("kafka client is closed")
)

// retriable tells whether the same request may succeed later without anybody
// changing it. Anything that is not Kafka's own answer (refused connections,
// resets, timeouts, unexpected ends) is the network's and passes. Kafka's
// answers are retried only where its protocol calls them retriable, with two
// changes:
//
//   - UnknownTopicOrPartition is retriable there because metadata of a new
//     topic spreads slowly; callers bound how long they believe that.
//   - InvalidMessage (CORRUPT_MESSAGE) is retriable there since the bytes may
//     have been damaged on the way.
//
// SASL failures are not: a wrong password does not become right.
func retriable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrPastEnd) ||
		errors.Is(err, ErrTooLarge) || errors.Is(err, ErrClosed) || errors.Is(err, ErrPartitionMismatch) {
		return false
	}
	var code kafka.Error
	if errors.As(err, &code) {
		// BrokerNotAvailable and ReplicaNotAvailable are not in the library's
		// list; they are what a broker says while it starts.
		return code.Temporary() || code == kafka.BrokerNotAvailable || code == kafka.ReplicaNotAvailable
	}
	return true
}

// backoff grows from 50 ms to 2 s, each with jitter, so that many clients do
// not come back in step.
type backoff struct{ n int }

func (b *backoff) next() time.Duration {
	d := 50 * time.Millisecond << min(b.n, 6)
	b.n++
	if d > 2*time.Second {
		d = 2 * time.Second
	}
	return d/2 + rand.N(d/2)
}

func (b *backoff) reset() { b.n = 0 }

// sleep waits for d or for ctx, and says whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// retry calls try until it succeeds, fails for good, or ctx ends. A topic that
// stays unknown for topicPatience is an error.
func (c *Client) retry(ctx context.Context, what string, try func() error) error {
	var b backoff
	var unknownSince time.Time
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !retriable(err) {
			return err
		}
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			if unknownSince.IsZero() {
				unknownSince = time.Now()
			} else if time.Since(unknownSince) > topicPatience {
				return fmt.Errorf("%s: %w", what, ErrUnknownTopic)
			}
		} else {
			unknownSince = time.Time{}
		}
		if b.n == 0 {
			c.log.Warn("kafka: waiting", "step", what, "error", err)
		}
		if !sleep(ctx, b.next()) {
			return fmt.Errorf("%s: %w (last: %w)", what, context.Cause(ctx), err)
		}
	}
}

// topicPatience is how long a topic may be unknown before that is an error.
const topicPatience = 10 * time.Second
