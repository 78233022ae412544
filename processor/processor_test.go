package processor

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// bench is a broker, a ClickHouse and what a processor needs beside them.
type bench struct {
	t      *testing.T
	stream *stream.Client
	store  *store.DB
	rules  *rego.Set
}

func newBench(t *testing.T) *bench {
	t.Helper()
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	client := kafkatest.Open(t, kafkatest.Broker(t, broker.Config{}))
	if err := client.EnsureTopics(t.Context(), topics(2)); err != nil {
		t.Fatal(err)
	}
	engine, err := rego.New(t.Context(), rego.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, stream: client, store: db, rules: engine.Current()}
}

func topics(partitions int) []stream.Topic {
	var out []stream.Topic
	for _, topic := range schemas.Topics() {
		n := 1
		if topic.CoPartitioned {
			n = partitions
		}
		out = append(out, stream.Topic{Name: topic.Name, Partitions: n, Settings: topic.Settings})
	}
	return out
}

// start runs a processor and gives the function that ends it at once.
func (b *bench) start() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	env := daemon.NewEnv("processor", slog.New(slog.NewTextHandler(b.t.Output(), nil)))
	p, err := New(Config{Flush: 20 * time.Millisecond, Checkpoint: 60 * time.Millisecond, RememberedIDs: 2000},
		Deps{Env: env, Stream: b.stream, Store: b.store, Rules: func() *rego.Set { return b.rules },
			Catalog: func() *catalog.Catalog { return nil }})
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) publish(events ...*pb.Event) {
	b.t.Helper()
	messages := make([]stream.Message, len(events))
	for i, ev := range events {
		value, err := ev.MarshalVT()
		if err != nil {
			b.t.Fatal(err)
		}
		messages[i] = stream.Message{Topic: schemas.TopicEvents, Key: []byte(ev.Credential), Value: value}
	}
	if err := b.stream.Publish(b.t.Context(), messages...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) number(query string) (n uint64) {
	b.t.Helper()
	if err := b.store.QueryRow(b.t.Context(), query).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// until waits for a query to give want; the test's own deadline is the limit.
func (b *bench) until(query string, want uint64) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	got := b.number(query)
	for ; got != want; got = b.number(query) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s\ngives %d, want %d", query, got, want)
		}
	}
}

func used(credential string, n int, at time.Time) *pb.Event {
	id := schemas.EventID("vault", "default", fmt.Sprintf("%s-%d", credential, n), 0)
	return &pb.Event{Id: id[:], Kind: pb.Event_USED, Credential: credential, Source: "vault", Instance: "default",
		OccurredAt: timestamppb.New(at), ObservedAt: timestamppb.New(at), Action: "read",
		Permission: fmt.Sprintf("read secret/data/%d", n%7), Resource: fmt.Sprintf("secret/data/%d", n%7),
		RecordId: fmt.Sprint(n), Labels: map[string]string{"mount_type": "kv"}, Policies: []string{"default", "ingest"}}
}

const (
	rowsQuery  = "SELECT count() FROM events"
	idsQuery   = "SELECT uniqExact(id) FROM events"
	usesQuery  = "SELECT sum(uses) FROM credentials FINAL"
	usesInHour = "SELECT sum(uses_1h) FROM credentials FINAL"
)

func TestEventsAreCountedOnceThroughRestartsAndRepeats(t *testing.T) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(1, 2))
	const credentials, calls = 40, 100
	now := time.Now().Add(-time.Minute)
	stop := b.start()
	total := 0
	for n := range calls {
		var batch []*pb.Event
		for c := range credentials {
			name := fmt.Sprintf("vault/default/token/%d", c)
			batch = append(batch, used(name, n, now))
			total++
			if old := rng.IntN(n + 1); rng.IntN(3) == 0 {
				batch = append(batch, used(name, old, now)) // delivered again, near or far
			}
		}
		b.publish(batch...)
		if n%20 == 19 {
			stop()
			stop = b.start()
		}
	}
	b.until(usesQuery, uint64(total))
	stop()
	if rows, ids := b.number(rowsQuery), b.number(idsQuery); rows != uint64(total) || ids != uint64(total) {
		t.Fatalf("%d rows of %d ids, published %d distinct events", rows, ids, total)
	}
	if got := b.number(usesInHour); got != uint64(total) {
		t.Fatalf("windows count %d, want %d", got, total)
	}
}

func TestARepeatOfAnEventOlderThanMemoryIsFoundInClickHouse(t *testing.T) {
	b := newBench(t)
	now := time.Now().Add(-48 * time.Hour)
	const name = "vault/default/token/old"
	var events []*pb.Event
	for n := range 6000 { // three times what memory holds
		events = append(events, used(name, n, now.Add(time.Duration(n)*10*time.Second)))
	}
	stop := b.start()
	b.publish(events...)
	b.until(usesQuery, 6000)
	b.publish(events[:500]...)
	b.publish(used(name, 9999, now))
	b.until(usesQuery, 6001)
	stop()
	if rows := b.number(rowsQuery); rows != 6001 {
		t.Fatalf("%d rows, want 6001", rows)
	}
}

func TestTimesAreStoredToTheNanosecond(t *testing.T) {
	b := newBench(t)
	stop := b.start()
	at := time.Date(2026, 11, 21, 6, 12, 8, 123456789, time.UTC)
	ev := used("vault/default/token/a", 1, at)
	ev.Kind, ev.Lifetime = pb.Event_ISSUED, &pb.Lifetime{IssuedAt: timestamppb.New(at), ExpiresAt: timestamppb.New(at.Add(time.Hour))}
	b.publish(ev)
	b.until("SELECT count() FROM credentials FINAL", 1)
	stop()
	const want = "2026-11-21 06:12:08.123456789"
	b.until("SELECT count() FROM events WHERE toString(occurred_at) = '"+want+"' AND toString(issued_at) = '"+want+"'", 1)
	b.until("SELECT count() FROM v_credentials WHERE toString(issued_at) = '"+want+"' AND toString(expires_at) = '2026-11-21 07:12:08.123456789'", 1)
}

func TestWhatIsNoEventIsDeadLetteredAndTheRestGoesOn(t *testing.T) {
	b := newBench(t)
	stop := b.start()
	defer stop()
	err := b.stream.Publish(t.Context(), stream.Message{Topic: schemas.TopicEvents, Key: []byte("x"), Value: []byte("no event")},
		stream.Message{Topic: schemas.TopicEvents, Key: []byte("x"), Value: nil})
	if err != nil {
		t.Fatal(err)
	}
	b.publish(used("vault/default/token/a", 1, time.Now()))
	b.until(usesQuery, 1)
	b.until("SELECT count() FROM v_dead_letters WHERE reason = 'rejected'", 2)
}

func TestTheAuditLogProvesItselfAndShowsARemovedRow(t *testing.T) {
	b := newBench(t)
	stop := b.start()
	for i := range 20 {
		e := &pb.Exception{Id: fmt.Sprint(i), Credential: "vault/default/token/a", PolicyId: "*", Reason: "test"}
		value, _ := e.MarshalVT()
		if err := b.stream.Publish(t.Context(), stream.Message{Topic: schemas.TopicExceptions, Key: []byte(e.Id), Value: value}); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			b.until("SELECT count() FROM audit_log", 11)
			stop()
			stop = b.start()
		}
	}
	b.until("SELECT count() FROM audit_log FINAL", 20)
	stop()
	rows, err := record.VerifyChains(t.Context(), b.store)
	if err != nil || rows != 20 {
		t.Fatalf("%d rows proven, %v", rows, err)
	}
	if err := b.store.Exec(t.Context(), "ALTER TABLE audit_log DELETE WHERE kafka_offset = 7 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	if _, err := record.VerifyChains(t.Context(), b.store); err == nil {
		t.Fatal("a removed row does not show")
	} else {
		t.Log(err)
	}
}
