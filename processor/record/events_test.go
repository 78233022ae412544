package record

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func migrated(tb testing.TB) *store.DB {
	tb.Helper()
	db := storetest.New(tb)
	if err := db.Migrate(tb.Context(), migrations.FS); err != nil {
		tb.Fatal(err)
	}
	return db
}

// fleetEvents are events as an audit log of a Vault gives them: a token is issued and then used fifty times.
func fleetEvents(n int) []*pb.Event {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	events := make([]*pb.Event, n)
	for i := range events {
		token, agent := i%1000, i%1000/10
		record := fmt.Sprintf("7f1c2b7e-%04x-4c6d-9a52-%012x", i%65536, i)
		id := schemas.EventID("vault", "bench", record, 0)
		at = at.Add(1234567 * time.Nanosecond)
		ev := &pb.Event{
			Id: id[:], Kind: pb.Event_USED, Credential: fmt.Sprintf("vault/bench/token/hmac-sha256:%064x", token*7919),
			Principal:  fmt.Sprintf("vault/bench/entity/15e30d73-c7ea-998c-3fc8-%012d", agent),
			OccurredAt: timestamppb.New(at), ObservedAt: timestamppb.New(at.Add(time.Second)),
			Source: "vault", Instance: "bench", Action: "read", Permission: fmt.Sprintf("read secret/data/agents/%d/config", agent),
			Resource: fmt.Sprintf("secret/data/agents/%d/config", agent), Outcome: pb.Outcome_OUTCOME_SUCCESS,
			RecordId: record, Position: fmt.Sprintf("1a2b3c:%d", i*1500), RemoteAddress: fmt.Sprintf("10.0.%d.%d", agent/250, agent%250),
			GrantedBy: []string{"ingest"}, Labels: map[string]string{"role_name": "ingest", "mount_point": "secret/"},
		}
		if i%50 == 0 {
			ev.Kind, ev.Action, ev.Actor = pb.Event_ISSUED, "login", "vault/bench/token/root"
			ev.Lifetime = &pb.Lifetime{IssuedAt: timestamppb.New(at), ExpiresAt: timestamppb.New(at.Add(time.Hour))}
			ev.Policies = []string{"default", "ingest"}
		}
		events[i] = ev
	}
	return events
}

// BenchmarkInsertEvents writes 50,000 events as one INSERT. cpu-µs/row is the processor time of all threads, the engine's
// and its merges among them.
func BenchmarkInsertEvents(b *testing.B) {
	db := migrated(b)
	const size = 50_000
	events := fleetEvents(size)
	var rows Events
	at := time.Now().Truncate(time.Second)
	b.ReportAllocs()
	began := processorTime(b)
	for b.Loop() {
		for i, ev := range events {
			rows.Append(ev, int64(i))
		}
		if err := rows.Insert(b.Context(), db, 1, at); err != nil {
			b.Fatal(err)
		}
		rows.Reset()
	}
	b.ReportMetric((processorTime(b)-began).Seconds()*1e6/float64(b.N)/size, "cpu-µs/row")
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
