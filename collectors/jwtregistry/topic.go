package jwtregistry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
)

// consumer reads a topic as a member of a group: *stream.Client.
type consumer interface {
	Consume(ctx context.Context, group, topic string, run func(context.Context, *stream.Assignment) error) error
}

// topicFeed reads records from a Kafka topic. Offsets are committed after the events are published; each partition
// waits for its own commit, so nothing is committed that was only read.
type topicFeed struct {
	chunks chan chunk
	cancel context.CancelFunc
	ended  chan struct{}
	close  func()

	mu  sync.Mutex // guards err
	err error

	// Only in Read.
	rest []stream.Message
	last chunk
}

// chunk is what one partition gave. published is closed when the events of all its messages are durable.
type chunk struct {
	messages  []stream.Message
	published chan struct{}
}

func newTopicFeed(ctx context.Context, client consumer, cfg TopicConfig, instance string, close func()) *topicFeed {
	ctx, cancel := context.WithCancel(ctx)
	f := &topicFeed{chunks: make(chan chunk), cancel: cancel, ended: make(chan struct{}), close: close}
	group := cmp.Or(cfg.Group, "leastwise-jwtregistry-"+instance)
	go f.consume(ctx, client, group, cfg.Name)
	return f
}

// consume runs the group, again after an error, until ctx ends.
func (f *topicFeed) consume(ctx context.Context, client consumer, group, topic string) {
	defer close(f.ended)
	for {
		err := client.Consume(ctx, group, topic, f.partition)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		f.err = fmt.Errorf("read topic %s: %w", topic, err)
		f.mu.Unlock()
		if !collect.Pause(ctx, time.Second) {
			return
		}
	}
}

// partition hands one partition's messages over and commits them when their events are published.
func (f *topicFeed) partition(ctx context.Context, a *stream.Assignment) error {
	for {
		messages, err := a.Fetch(ctx, 1000, time.Second)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			continue
		}
		c := chunk{messages: messages, published: make(chan struct{})}
		select {
		case f.chunks <- c:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-c.published:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := a.Commit(ctx, messages[len(messages)-1].Offset+1); err != nil {
			if errors.Is(err, stream.ErrGenerationOver) {
				return err // another member reads them again; the ids are the same
			}
			return fmt.Errorf("commit: %w", err)
		}
	}
}

// Read implements collect.Feed.
func (f *topicFeed) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	if err := f.trouble(); err != nil {
		return 0, nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var whole []chan struct{}
	n := 0
	for n < limit {
		if len(f.rest) == 0 {
			c, ok := f.next(ctx, timer.C, n > 0)
			if !ok {
				break
			}
			f.last, f.rest = c, c.messages
		}
		for ; n < limit && len(f.rest) > 0; f.rest = f.rest[1:] {
			m := f.rest[0]
			if len(m.Value) == 0 {
				continue // a tombstone of a compacted topic: the registry forgets a token, which ends none
			}
			take(source.Record{Bytes: m.Value, Position: fmt.Sprintf("%s/%d:%d", m.Topic, m.Partition, m.Offset)}, nil)
			n++
		}
		if len(f.rest) == 0 {
			whole = append(whole, f.last.published)
		}
	}
	if len(whole) == 0 {
		return n, nil, nil
	}
	return n, func() error {
		for _, published := range whole {
			close(published)
		}
		return nil
	}, nil
}

// next waits for a partition's messages; if some were given already it takes only what is at hand.
func (f *topicFeed) next(ctx context.Context, over <-chan time.Time, some bool) (chunk, bool) {
	if some {
		select {
		case c := <-f.chunks:
			return c, true
		default:
			return chunk{}, false
		}
	}
	select {
	case c := <-f.chunks:
		return c, true
	case <-over:
	case <-ctx.Done():
	}
	return chunk{}, false
}

// trouble gives the group's last error, once.
func (f *topicFeed) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	f.err = nil
	return err
}

// Close implements collect.Feed.
func (f *topicFeed) Close() error {
	f.cancel()
	<-f.ended
	f.close()
	return nil
}
