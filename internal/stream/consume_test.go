package stream_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

// member consumes topic t as one member of group g and reports what it gets.
type member struct {
	cancel   context.CancelFunc
	done     chan error
	assigned chan *stream.Assignment
}

func join(t *testing.T, c *stream.Client, onMessage func(*stream.Assignment, stream.Message)) *member {
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{cancel: cancel, done: make(chan error, 1), assigned: make(chan *stream.Assignment, 100)}
	go func() {
		m.done <- c.Consume(ctx, "g", "t", func(ctx context.Context, a *stream.Assignment) error {
			m.assigned <- a
			for {
				msgs, err := a.Fetch(ctx, 50, 20*time.Millisecond)
				if err != nil {
					return err
				}
				for _, msg := range msgs {
					onMessage(a, msg)
				}
				if len(msgs) > 0 {
					if err := a.Commit(ctx, msgs[len(msgs)-1].Offset+1); err != nil {
						return err
					}
				}
			}
		})
	}()
	return m
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	m.cancel()
	if err := <-m.done; err != nil {
		t.Fatal(err)
	}
}

// waitAssigned returns the partitions of the next n assignments.
func (m *member) waitAssigned(t *testing.T, n int) map[int]*stream.Assignment {
	t.Helper()
	got := map[int]*stream.Assignment{}
	deadline := time.After(30 * time.Second)
	for len(got) < n {
		select {
		case a := <-m.assigned:
			got[a.Partition] = a
		case <-deadline:
			t.Fatalf("%d partitions assigned, want %d", len(got), n)
		}
	}
	return got
}

// tally counts values, and tells how many are distinct.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
	n    chan int
}

func newTally() *tally { return &tally{seen: map[string]int{}, n: make(chan int, 10000)} }

func (s *tally) add(_ *stream.Assignment, m stream.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[string(m.Value)]++
	s.n <- len(s.seen)
}

func TestConsumeResumesAtTheCommittedOffset(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 2)
	publish(t, c, "t", 0, 500)

	first := newTally()
	m := join(t, c, first.add)
	for _, a := range m.waitAssigned(t, 2) {
		if a.Committed != -1 {
			t.Errorf("partition %d: committed %d before any commit", a.Partition, a.Committed)
		}
	}
	waitFor(t, first.n, 500)
	m.leave(t)

	publish(t, c, "t", 500, 700)
	second := newTally()
	m = join(t, c, second.add)
	committed := int64(0)
	for _, a := range m.waitAssigned(t, 2) {
		committed += a.Committed
	}
	waitFor(t, second.n, 200)
	m.leave(t)
	if committed != 500 {
		t.Errorf("committed %d in all, want 500", committed)
	}
	if n := len(second.seen); n != 200 {
		t.Errorf("second member saw %d messages, want 200", n)
	}
}

func TestSecondMemberTakesItsShareAndGivesItBack(t *testing.T) {
	b := kafkatest.Broker(t, broker.Config{})
	c1, c2 := kafkatest.Open(t, b), kafkatest.Open(t, b)
	create(t, c1, "t", 4)
	publish(t, c1, "t", 0, 400)
	all := newTally()
	m1 := join(t, c1, all.add)
	m1.waitAssigned(t, 4)
	waitFor(t, all.n, 400)

	m2 := join(t, c2, all.add)
	theirs := m2.waitAssigned(t, 2)
	ours := m1.waitAssigned(t, 2)
	for p := range theirs {
		if ours[p] != nil {
			t.Errorf("partition %d has two owners", p)
		}
	}
	publish(t, c1, "t", 400, 800)
	waitFor(t, all.n, 800)

	m2.leave(t)
	m1.waitAssigned(t, 4)
	publish(t, c1, "t", 800, 1200)
	waitFor(t, all.n, 1200)
	m1.leave(t)
}

func TestErrorOfRunEndsConsume(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 2)
	broken := errors.New("broken")
	err := c.Consume(t.Context(), "g", "t", func(ctx context.Context, a *stream.Assignment) error {
		if a.Partition == 1 {
			return broken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v, want the error of run", err)
	}
}

func TestSeekToOverridesTheCommittedOffset(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	publish(t, c, "t", 0, 10)
	var first int64 = -1
	done := errors.New("done")
	err := c.Consume(t.Context(), "g", "t", func(ctx context.Context, a *stream.Assignment) error {
		a.SeekTo(7)
		for {
			msgs, err := a.Fetch(ctx, 1, time.Second)
			if err != nil {
				return err
			}
			if len(msgs) == 1 {
				first = msgs[0].Offset
				if a.HighWater() != 10 {
					t.Errorf("high water %d, want 10", a.HighWater())
				}
				return done
			}
		}
	})
	if !errors.Is(err, done) || first != 7 {
		t.Fatalf("first offset %d, err %v", first, err)
	}
}

func TestCommittedOffsetPastTheEndIsAnError(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	publish(t, c, "t", 0, 10)
	err := c.Consume(t.Context(), "g", "t", func(ctx context.Context, a *stream.Assignment) error {
		a.SeekTo(500)
		for {
			if _, err := a.Fetch(ctx, 1, time.Second); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, stream.ErrPastEnd) {
		t.Fatalf("got %v, want ErrPastEnd", err)
	}
}

func TestConsumeSurvivesARestartOfTheBroker(t *testing.T) {
	dir, listen := t.TempDir(), freeAddr(t)
	start := func() *broker.Broker {
		b, err := broker.Start(t.Context(), broker.Config{DataDir: dir, Listen: listen})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := start()
	c := kafkatest.OpenConfig(t, stream.Config{Embedded: true, Brokers: []string{listen}})
	create(t, c, "t", 2)
	publish(t, c, "t", 0, 100)
	all := newTally()
	m := join(t, c, all.add)
	m.waitAssigned(t, 2)
	waitFor(t, all.n, 100)

	b.Close()
	b = start()
	defer b.Close()
	publish(t, c, "t", 100, 200)
	waitFor(t, all.n, 200)
	m.leave(t)
}
