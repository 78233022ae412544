package collect

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// slow reads a batch of messages only after the next one was made.
type slow struct {
	made chan int // batches that were made
	stop context.CancelFunc
	bad  []string
	n    int
}

func (s *slow) Publish(ctx context.Context, messages ...stream.Message) error {
	if messages[0].Topic != schemas.TopicEvents {
		return nil // the heartbeat
	}
	s.n++
	for made := 0; made != s.n+1; { // the next one was made
		select {
		case made = <-s.made:
		case <-ctx.Done(): // it was handed over while all was stopped, and is the last
			return ctx.Err()
		}
	}
	for i, m := range messages {
		ev := &leastwisev1.Event{}
		want := fmt.Sprintf("%d-%d", s.n, i)
		if err := ev.UnmarshalVT(m.Value); err != nil || ev.RecordId != want || string(m.Key) != want ||
			string(m.Headers[1].Value) != fmt.Sprintf("%x", ev.Id) {
			s.bad = append(s.bad, fmt.Sprintf("batch %d: %q %q, want %s: %v", s.n, ev.RecordId, m.Key, want, err))
		}
	}
	if s.n == 8 {
		s.stop()
	}
	return nil
}

// numbered gives batches of growing size.
type numbered struct {
	made chan int
	n    int
}

func (f *numbered) Read(ctx context.Context, _ int, _ time.Duration, take Take) (int, func() error, error) {
	if ctx.Err() != nil {
		return 0, nil, ctx.Err()
	}
	f.n++
	size := 1 + f.n*7%20
	for i := range size {
		take(source.Record{Bytes: fmt.Appendf(nil, "%d-%d", f.n, i)}, nil)
	}
	f.made <- f.n
	return size, nil, nil
}

func (*numbered) Close() error { return nil }

func TestABatchIsNotTouchedBeforeItWasPublished(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	made := make(chan int, 100)
	kafka := &slow{made: made, stop: stop}
	c, err := New(Options{Source: "test", Instance: "x", Decoder: letters{}, Deps: Deps{Stream: kafka, Env: daemon.NewEnv("test", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx, &numbered{made: made}); err != nil {
		t.Fatal(err)
	}
	if kafka.n < 8 || len(kafka.bad) > 0 {
		t.Errorf("%d batches, %q", kafka.n, kafka.bad)
	}
}

// usual gives an event like a call's, always the same memory.
type usual struct{ ev []*leastwisev1.Event }

func (u usual) Decode(dst []*leastwisev1.Event, _ source.Record) ([]*leastwisev1.Event, error) {
	return append(dst, u.ev...), nil
}

func BenchmarkTake(b *testing.B) {
	id := schemas.EventID("test", "x", "1", 0)
	ev := &leastwisev1.Event{Id: id[:], Kind: leastwisev1.Event_USED, Source: "test", Instance: "x", RecordId: "2f6e3a52-5e7f-4a5e-9d5f-6d0c1a3b5c7d",
		Credential: "test/x/token/hmac-sha256:7a99d90af5b73b0bf04f6ce7a47f645faa2021cd2fc96670ff0e0aa5bee5585c",
		Action:     "read", Resource: "kv/data/team-07/service/config", Permission: "read kv/data/team-07/service/config",
		Labels:   map[string]string{"mount_point": "kv/", "mount_type": "kv", "display_name": "approle", "role_name": "agent-role-07"},
		Policies: []string{"agent-baseline", "agent-role-07-read", "agent-role-07-write", "default"}}
	c, err := New(Options{Source: "test", Instance: "x", Decoder: usual{[]*leastwisev1.Event{ev}}})
	if err != nil {
		b.Fatal(err)
	}
	r := &room{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			r.empty()
		}
		c.take(r, source.Record{}, nil)
	}
}
