package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

// Earliest, as an offset to read from, is the first record a partition still
// has.
const Earliest int64 = -2

const (
	fetchBytes = 1 << 20
	// fetchWait is how long the broker holds a fetch when there is nothing.
	fetchWait = 500 * time.Millisecond
	// fetchTimeout is when a silent connection is given up.
	fetchTimeout = 30 * time.Second
)

// partitionReader reads one partition from next on, over one connection that
// it renews whenever it breaks. It is used by one goroutine.
type partitionReader struct {
	c         *Client
	topic     string
	partition int
	next      int64
	conn      *kafka.Conn
	stop      func() bool // undoes the tie between the context and conn
	b         backoff
	unknown   time.Time // since when the topic is unknown
}

// chunk is what one fetch gave. It may be empty.
type chunk struct {
	msgs      []Message
	next      int64 // offset after the chunk
	highWater int64
}

// read returns the next chunk. It outlasts outages; its errors are final: ctx
// ended, ErrPastEnd, ErrUnknownTopic, or an answer that no retry changes.
func (r *partitionReader) read(ctx context.Context) (chunk, error) {
	for {
		ch, err := r.fetch(ctx)
		if err == nil {
			r.b.reset()
			r.unknown = time.Time{}
			return ch, nil
		}
		r.close()
		if ctx.Err() != nil {
			return chunk{}, context.Cause(ctx)
		}
		if !retriable(err) {
			return chunk{}, fmt.Errorf("kafka: read %s/%d: %w", r.topic, r.partition, err)
		}
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			r.unknown = time.Time{}
		} else if r.unknown.IsZero() {
			r.unknown = time.Now()
		} else if time.Since(r.unknown) > topicPatience {
			return chunk{}, fmt.Errorf("kafka: read %s/%d: %w", r.topic, r.partition, ErrUnknownTopic)
		}
		if r.b.n == 0 {
			r.c.log.Warn("kafka: read waits", "topic", r.topic, "partition", r.partition, "error", err)
		}
		if !sleep(ctx, r.b.next()) {
			return chunk{}, context.Cause(ctx)
		}
	}
}

func (r *partitionReader) fetch(ctx context.Context) (chunk, error) {
	if r.conn == nil {
		if err := r.dial(ctx); err != nil {
			return chunk{}, err
		}
	}
	_ = r.conn.SetReadDeadline(time.Now().Add(fetchTimeout))
	batch := r.conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait})
	ch := chunk{highWater: batch.HighWaterMark()}
	err := batch.Err()
	for err == nil {
		var m kafka.Message
		if m, err = batch.ReadMessage(); err == nil && m.Offset >= r.next {
			ch.msgs = append(ch.msgs, fromKafka(m))
		}
	}
	// EOF is the end of the batch; RequestTimedOut is how the library says
	// that the fetch came back empty.
	empty := errors.Is(err, kafka.RequestTimedOut) && len(ch.msgs) == 0
	if !errors.Is(err, io.EOF) && !empty {
		batch.Close()
		if errors.Is(err, kafka.OffsetOutOfRange) {
			// Dialling again finds the new first offset, or ErrPastEnd.
			return chunk{}, kafka.OffsetNotAvailable
		}
		return chunk{}, err
	}
	// Offset also moves past records that compaction has removed.
	r.next = max(r.next, batch.Offset())
	if err := batch.Close(); err != nil && !errors.Is(err, kafka.RequestTimedOut) {
		return chunk{}, err
	}
	ch.next = r.next
	return ch, nil
}

// dial connects to the partition's leader and resolves where to start.
func (r *partitionReader) dial(ctx context.Context) error {
	var errs []error
	for _, addr := range r.c.cfg.Brokers {
		conn, err := r.c.dialer.DialLeader(ctx, "tcp", addr, r.topic, r.partition)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.conn = conn
		r.stop = context.AfterFunc(ctx, func() { conn.Close() })
		first, last, err := r.offsets()
		if err == nil && r.next > last {
			err = fmt.Errorf("%w: want %d, end %d: was the topic deleted or the log truncated?", ErrPastEnd, r.next, last)
		}
		if err != nil {
			r.close()
			return err
		}
		r.startAt(first)
		_, err = conn.Seek(r.next, kafka.SeekAbsolute|kafka.SeekDontCheck)
		return err
	}
	return errors.Join(errs...)
}

func (r *partitionReader) offsets() (first, last int64, err error) {
	_ = r.conn.SetDeadline(time.Now().Add(10 * time.Second))
	first, last, err = r.conn.ReadOffsets()
	_ = r.conn.SetDeadline(time.Time{})
	return first, last, err
}

// startAt skips what retention has removed, and says so.
func (r *partitionReader) startAt(first int64) {
	if r.next >= 0 && r.next < first {
		r.c.log.Warn("kafka: records were removed by retention before they were read",
			"topic", r.topic, "partition", r.partition, "from", r.next, "to", first)
	}
	r.next = max(r.next, first)
}

func (r *partitionReader) close() {
	if r.conn != nil {
		r.stop()
		r.conn.Close()
		r.conn = nil
	}
}

// end is the partition's high watermark now. It outlasts outages.
func (r *partitionReader) end(ctx context.Context) (last int64, err error) {
	what := fmt.Sprintf("kafka: end of %s/%d", r.topic, r.partition)
	err = r.c.retry(ctx, what, func() error {
		if r.conn == nil {
			if err := r.dial(ctx); err != nil {
				return err
			}
		}
		if _, last, err = r.offsets(); err != nil {
			r.close()
		}
		return err
	})
	return last, err
}

// ReadPartition hands fn every message from offset from (Earliest: the first)
// up to the high watermark at the time of the call, then returns the offset to
// go on from. An error of fn ends it.
func (c *Client) ReadPartition(ctx context.Context, topic string, partition int, from int64, fn func(Message) error) (next int64, err error) {
	ctx, cancel := c.bind(ctx)
	defer cancel()
	r := &partitionReader{c: c, topic: topic, partition: partition, next: from}
	defer r.close()
	end, err := r.end(ctx)
	if err != nil {
		return from, err
	}
	next = r.next
	for next < end {
		ch, err := r.read(ctx)
		if err != nil {
			return next, err
		}
		for _, m := range ch.msgs {
			if m.Offset >= end {
				return end, nil
			}
			if err := fn(m); err != nil {
				return m.Offset, err
			}
			next = m.Offset + 1
		}
		next = ch.next
	}
	return next, nil
}
