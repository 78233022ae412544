package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	heartbeat      = time.Second
	sessionTimeout = 10 * time.Second
	joinBackoff    = time.Second
)

// Consume is one member of a consumer group on one topic. For every partition
// assigned to this member, run is called in a goroutine of its own, once per
// generation of the group. Its context ends when the partition may go to
// another member: finish and return soon, the whole group waits (at most half
// a minute) for it. A run that returns nil earlier leaves its partition idle
// until the next generation.
//
// Consume survives outages and rebalances. It returns nil when ctx ends, and
// otherwise the first error of a run. Errors of a run whose context has ended
// are not errors when they are that context's, or ErrGenerationOver.
func (c *Client) Consume(ctx context.Context, group, topic string, run func(context.Context, *Assignment) error) error {
	outer := ctx
	ctx, cancel := c.bind(ctx)
	defer cancel()
	// The group would spin on a topic that does not exist.
	if _, err := c.waitPartitions(ctx, topic); err != nil {
		if outer.Err() != nil {
			return nil
		}
		return err
	}
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                group,
		Brokers:           c.cfg.Brokers,
		Dialer:            c.dialer,
		Topics:            []string{topic},
		HeartbeatInterval: heartbeat,
		SessionTimeout:    sessionTimeout,
		RebalanceTimeout:  30 * time.Second,
		JoinGroupBackoff:  joinBackoff,
		StartOffset:       kafka.FirstOffset,
		ErrorLogger: kafka.LoggerFunc(func(f string, args ...any) {
			c.log.Debug("kafka: group: "+fmt.Sprintf(f, args...), "group", group)
		}),
	})
	if err != nil {
		return fmt.Errorf("kafka: group %s: %w", group, err)
	}
	defer g.Close() // after stop, so that runs are on their way out
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for {
		gen, err := g.Next(ctx)
		switch {
		case ctx.Err() != nil:
			if outer.Err() != nil {
				return nil
			}
			return context.Cause(ctx)
		case err == nil:
			c.start(ctx, stop, gen, topic, run)
		case groupRetriable(err):
			// The library backs off before it joins again; a fresh broker says
			// so while its coordinator starts.
			c.log.Warn("kafka: group waits", "group", group, "topic", topic, "error", err)
		default:
			return fmt.Errorf("kafka: group %s on %s: %w", group, topic, err)
		}
	}
}

// groupRetriable also holds for what a member hears that was away too long:
// it joins anew.
func groupRetriable(err error) bool {
	return retriable(err) || errors.Is(err, kafka.RebalanceInProgress) ||
		errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.IllegalGeneration) ||
		errors.Is(err, kafka.MemberIDRequired)
}

func (c *Client) start(ctx context.Context, stop context.CancelCauseFunc, gen *kafka.Generation, topic string,
	run func(context.Context, *Assignment) error) {
	for _, p := range gen.Assignments[topic] {
		gen.Start(func(over context.Context) {
			// Either ends it: the generation, or Consume.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(over, cancel)()
			a := newAssignment(ctx, c, gen, topic, p)
			c.log.Debug("kafka: partition assigned", "group", gen.GroupID, "topic", topic,
				"partition", p.ID, "generation", gen.ID, "committed", a.Committed)
			err := run(ctx, a)
			a.close()
			ended := ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed))
			switch {
			case errors.Is(err, ErrGenerationOver):
				return // ends the generation here too, if it is not over yet
			case err != nil && !ended:
				stop(err)
			}
			// Returning early would end the generation for all partitions.
			<-ctx.Done()
		})
	}
}

// Assignment is one partition during one generation of a group. SeekTo, Fetch and
// Commit belong to the goroutine of run; HighWater may be called from any.
type Assignment struct {
	Topic      string
	Partition  int
	Committed  int64 // next offset to read; -1 when the group never committed
	Generation int

	ctx  context.Context // run's
	c    *Client
	gen  *kafka.Generation
	from int64
	high atomic.Int64

	// The reader runs ahead by one chunk. It starts with the first Fetch.
	chunks chan chunk
	failed error     // the reader's last error, set before chunks is closed
	quit   func()    // ends the reader and waits for it
	rest   []Message // fetched and not handed out yet
}

func newAssignment(ctx context.Context, c *Client, gen *kafka.Generation, topic string, p kafka.PartitionAssignment) *Assignment {
	a := &Assignment{
		Topic: topic, Partition: p.ID, Committed: -1, Generation: int(gen.ID),
		ctx: ctx, c: c, gen: gen, from: Earliest,
	}
	if p.Offset >= 0 {
		a.Committed, a.from = p.Offset, p.Offset
	}
	return a
}

// SeekTo sets where the first Fetch starts (default: Committed, or Earliest). It
// has no effect later.
func (a *Assignment) SeekTo(offset int64) { a.from = offset }

// Fetch returns up to n messages: at once what has been read already, else
// what comes within wait, which may be nothing. While the broker is away it
// returns nothing. Its errors are final for this assignment.
func (a *Assignment) Fetch(ctx context.Context, n int, wait time.Duration) ([]Message, error) {
	if a.chunks == nil {
		a.startReading()
	}
	if len(a.rest) == 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		// Chunks may be empty: they only move the high watermark.
		for len(a.rest) == 0 {
			select {
			case ch, ok := <-a.chunks:
				if !ok {
					return nil, a.failed
				}
				a.rest = ch.msgs
			case <-timer.C:
				return nil, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	n = min(n, len(a.rest))
	out := a.rest[:n:n]
	a.rest = a.rest[n:]
	return out, nil
}

func (a *Assignment) startReading() {
	ctx, cancel := context.WithCancel(a.ctx)
	a.chunks = make(chan chunk, 1)
	done := make(chan struct{})
	a.quit = func() { cancel(); <-done }
	go func() {
		defer close(done)
		defer close(a.chunks)
		r := &partitionReader{c: a.c, topic: a.Topic, partition: a.Partition, next: a.from}
		defer r.close()
		for {
			ch, err := r.read(ctx)
			if err != nil {
				a.failed = err
				return
			}
			a.high.Store(ch.highWater)
			if len(ch.msgs) == 0 {
				continue
			}
			select {
			case a.chunks <- ch:
			case <-ctx.Done():
				a.failed = context.Cause(ctx)
				return
			}
		}
	}()
}

func (a *Assignment) close() {
	if a.quit != nil {
		a.quit()
	}
}

// HighWater is the last known end of the partition, 0 before the first fetch.
func (a *Assignment) HighWater() int64 { return a.high.Load() }

// Commit stores next as the group's offset: the next to read. An error that is
// ErrGenerationOver means that this member must let go of the partition; the
// offset may or may not have been stored.
func (a *Assignment) Commit(ctx context.Context, next int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("kafka: commit %s/%d: %w (%w)", a.Topic, a.Partition, ErrGenerationOver, err)
	}
	err := a.gen.CommitOffsets(map[string]map[int]int64{a.Topic: {a.Partition: next}})
	if err == nil {
		return nil
	}
	var code kafka.Error
	if errors.As(err, &code) && !groupRetriable(code) {
		return fmt.Errorf("kafka: commit %s/%d: %w", a.Topic, a.Partition, err)
	}
	// A lost connection ends the generation as well: the library makes a new
	// one only with the next.
	return fmt.Errorf("kafka: commit %s/%d: %w: %w", a.Topic, a.Partition, ErrGenerationOver, err)
}
