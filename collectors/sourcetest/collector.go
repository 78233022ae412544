package sourcetest

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Broker keeps what a collector publishes. It is a collect.Publisher.
type Broker struct {
	mu       sync.Mutex // guards what follows
	failures int
	events   map[string]*leastwisev1.Event
	letters  map[string]*leastwisev1.DeadLetter
	facts    map[string]*leastwisev1.Fact
	calls    int
}

// Fail makes the next n calls of Publish fail.
func (b *Broker) Fail(n int) { b.mu.Lock(); defer b.mu.Unlock(); b.failures = n }

// Publish implements collect.Publisher.
func (b *Broker) Publish(_ context.Context, messages ...stream.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls++; b.failures > 0 {
		b.failures--
		return errors.New("the broker is away")
	}
	if b.events == nil {
		b.events, b.letters, b.facts = map[string]*leastwisev1.Event{}, map[string]*leastwisev1.DeadLetter{}, map[string]*leastwisev1.Fact{}
	}
	for _, m := range messages {
		switch m.Topic {
		case schemas.TopicEvents:
			ev := &leastwisev1.Event{}
			if err := ev.UnmarshalVT(m.Value); err != nil {
				return err
			}
			b.events[hex.EncodeToString(ev.Id)] = ev
		case schemas.TopicDeadLetter:
			letter := &leastwisev1.DeadLetter{}
			if err := letter.UnmarshalVT(m.Value); err != nil {
				return err
			}
			b.letters[hex.EncodeToString(letter.Id)] = letter
		case schemas.TopicIdentity:
			fact := &leastwisev1.Fact{}
			if err := fact.UnmarshalVT(m.Value); err != nil {
				return err
			}
			b.facts[string(m.Key)] = fact
		}
	}
	return nil
}

// Events are those published so far, by id in hexadecimal.
func (b *Broker) Events() map[string]*leastwisev1.Event { return snapshot(b, &b.events) }

// DeadLetters are those published so far, by id in hexadecimal.
func (b *Broker) DeadLetters() map[string]*leastwisev1.DeadLetter { return snapshot(b, &b.letters) }

// Facts are those published last under each key.
func (b *Broker) Facts() map[string]*leastwisev1.Fact { return snapshot(b, &b.facts) }

func snapshot[V any](b *Broker, from *map[string]V) map[string]V {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]V, len(*from))
	for key, value := range *from {
		out[key] = value
	}
	return out
}

// Start runs a collector over broker with dir as its data directory, until stop is called or the test ends.
func Start(t *testing.T, broker *Broker, dir string, build func(collect.Deps) (collect.Runner, error)) (stop func()) {
	t.Helper()
	log, err := daemon.NewLogger(t.Output(), "info", "text")
	if err != nil {
		t.Fatal(err)
	}
	c, err := build(collect.Deps{Stream: broker, DataDir: dir, Env: daemon.NewEnv("test", log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := started(func() error { return c.Run(ctx) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func started(run func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	return done
}

// Eventually waits for what a running collector will do.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
