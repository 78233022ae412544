package collect

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// letters makes one event of each record, and refuses "bad".
type letters struct{}

func (letters) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	if string(rec.Bytes) == "bad" {
		return dst, &source.Malformed{Reason: source.ReasonMalformed, Detail: "it is bad"}
	}
	id := schemas.EventID("test", "x", string(rec.Bytes), 0)
	return append(dst, &leastwisev1.Event{Id: id[:], Kind: leastwisev1.Event_USED, RecordId: string(rec.Bytes)}), nil
}

// kafka keeps what is published, and fails as often as it is told.
type kafka struct {
	mu   sync.Mutex
	fail int
	got  []string // record ids, "letter" for dead letters, grants and findings with their names
}

func (k *kafka) Publish(_ context.Context, messages ...stream.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail > 0 {
		k.fail--
		return errors.New("away")
	}
	for _, m := range messages {
		switch m.Topic {
		case schemas.TopicEvents:
			ev := &leastwisev1.Event{}
			if err := ev.UnmarshalVT(m.Value); err != nil {
				return err
			}
			k.got = append(k.got, ev.RecordId)
		case schemas.TopicDeadLetter:
			k.got = append(k.got, "letter")
		case schemas.TopicIdentity:
			fact := &leastwisev1.Fact{}
			if err := fact.UnmarshalVT(m.Value); err != nil {
				return err
			}
			if grant := fact.GetGrant(); grant != nil {
				k.got = append(k.got, "grant:"+grant.Id)
			}
			if found := fact.GetFinding(); found != nil {
				k.got = append(k.got, "finding:"+found.Subject)
			}
		}
	}
	return nil
}

func (k *kafka) have() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.got)
}

// rounds is a feed of batches. Each commit notes what had been published by then.
type rounds struct {
	kafka     *kafka
	batches   [][]string
	committed [][]string
	closed    bool
}

func (r *rounds) Read(ctx context.Context, _ int, wait time.Duration, take Take) (int, func() error, error) {
	if len(r.batches) == 0 {
		Pause(ctx, wait)
		return 0, nil, nil
	}
	now := r.batches[0]
	r.batches = r.batches[1:]
	for _, text := range now {
		take(source.Record{Bytes: []byte(text), Position: "here:" + text}, nil)
	}
	return len(now), func() error {
		r.committed = append(r.committed, r.kafka.have())
		return nil
	}, nil
}

func (r *rounds) Close() error { r.closed = true; return nil }

func collector(t *testing.T, k *kafka) *Collector {
	t.Helper()
	c, err := New(Options{Source: "test", Instance: "x", Decoder: letters{}, Deps: Deps{Stream: k, Env: daemon.NewEnv("test", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNothingIsCommittedBeforeItIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kafka{fail: 3}
		feed := &rounds{kafka: k, batches: [][]string{{"a", "b"}, {"bad", "c"}, {"d"}}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		c := collector(t, k)
		go func() { done <- c.Run(ctx, feed) }()
		time.Sleep(20 * time.Second) // of the fake clock: three failures and their pauses
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"a", "b", "letter", "c", "d"}; !slices.Equal(k.have(), want) {
			t.Errorf("published %v, want %v", k.have(), want)
		}
		if len(feed.committed) != 3 {
			t.Fatalf("%d commits, want 3", len(feed.committed))
		}
		for i, n := range []int{2, 4, 5} {
			if got := len(feed.committed[i]); got < n {
				t.Errorf("commit %d came when %d messages of %d were published", i, got, n)
			}
		}
		if !feed.closed {
			t.Error("the feed was not closed")
		}
	})
}

func TestNothingMoreIsReadWhileKafkaIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kafka{fail: 1 << 30}
		feed := &rounds{kafka: k, batches: [][]string{{"a"}, {"b"}, {"c"}, {"d"}}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		c := collector(t, k)
		go func() { done <- c.Run(ctx, feed) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(feed.batches) < 2 {
			t.Errorf("%d batches were left unread, want two", len(feed.batches))
		}
		if c.opts.Deps.Env.Health.Ready() {
			t.Error("ready although Kafka is away")
		}
		cancel()
		<-done
	})
}

func TestTroubleIsSaidAndTakenBack(t *testing.T) {
	c := collector(t, &kafka{})
	c.Say("inventory", errors.New("no permission"))
	fact := &leastwisev1.Fact{}
	if err := fact.UnmarshalVT(c.heartbeat().Value); err != nil || fact.GetHeartbeat().Trouble != "no permission" {
		t.Errorf("%v %v", fact, err)
	}
	if c.opts.Deps.Env.Health.Ready() {
		t.Error("ready although the inventory is in trouble")
	}
	c.Say("inventory", nil)
	if !c.opts.Deps.Env.Health.Ready() || len(c.heartbeat().Value) == 0 {
		t.Error("trouble is not taken back")
	}
}
