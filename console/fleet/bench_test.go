package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/view"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

const benchCredentials = 100_000

// filled is a database with that many credentials, a third of them past a policy.
func filled(tb testing.TB, n int) *store.DB {
	tb.Helper()
	db := storetest.New(tb)
	if err := db.Migrate(tb.Context(), migrations.FS); err != nil {
		tb.Fatal(err)
	}
	err := db.Exec(tb.Context(), `INSERT INTO credentials (credential, type, source, instance, principal, agent, owner, issued_at, expires_at, never_expires, last_used_at,
			scope_known, scope_permissions, scope_weight, used_permissions, uses, uses_24h, denied_permissions, kafka_partition, applied_offset, written_at)
		SELECT concat('vault/prod/token/hmac-sha256:', lower(hex(sipHash128(number)))), 'token', 'vault', 'prod', concat('vault/prod/entity/e', toString(number % 5000)),
			concat('agent-', toString(number % 900)), concat('team-', toString(number % 60)), now64(9) - INTERVAL number % 40000 MINUTE, now64(9) + INTERVAL number % 90000 + 60 MINUTE, false,
			now64(9) - INTERVAL number % 1000 MINUTE, number % 5 != 0, if(number % 5 = 0, NULL, number % 200), if(number % 5 = 0, NULL, number % 700), if(number % 5 = 0, NULL, number % 50),
			number % 10000, number % 300, number % 9, number % 4, number, now64(9)
		FROM numbers(?)`, n)
	if err != nil {
		tb.Fatal(err)
	}
	value, err := (&pb.Decision{InputRevision: "r", Violations: []*pb.Violation{{PolicyId: "long-lived", Metric: "lifetime", Value: "90d", Threshold: "1h",
		Condition: "greater_than", Severity: "high", Hint: "Log in anew, with a shorter life.", Deviation: 3}}}).MarshalVT()
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Exec(tb.Context(), `INSERT INTO audit_log (topic, kafka_partition, kafka_offset, key, value, at, written_at)
		SELECT ?, number % 4, number, concat('vault/prod/token/hmac-sha256:', lower(hex(sipHash128(number)))), unhex(?), now64(9), now() FROM numbers(?) WHERE number % 3 = 0`,
		schemas.TopicDecisions, fmt.Sprintf("%x", value), n)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// BenchmarkFleet tells what 100,000 credentials cost: the first reading, one that finds nothing new, a page and a picture.
func BenchmarkFleet(b *testing.B) {
	db := filled(b, benchCredentials)
	f := fleet.New(fleet.Options{Store: db})
	begin := time.Now()
	if err := f.Read(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Logf("first reading of %d: %s", len(f.Snapshot().Items), time.Since(begin))
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			if err := f.Read(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	v := view.View{Snapshot: f.Snapshot(), Now: time.Now()}
	b.Run("page", func(b *testing.B) {
		for b.Loop() {
			items, _ := v.Select(fleet.Filter{Text: "agent-77 team-5"}, fleet.ByDeviation, nil, 100, v.Now)
			_ = v.Credentials(items)
		}
	})
	b.Run("duties", func(b *testing.B) {
		for b.Loop() {
			_ = v.Duties([]string{"team-5"})
		}
	})
	b.Run("feed", func(b *testing.B) {
		for b.Loop() {
			_, _ = v.Feed(fleet.Active)
		}
	})
}

func TestReadingAgainFindsOnlyWhatIsNew(t *testing.T) {
	db := filled(t, 3000)
	var told [][]string
	f := fleet.New(fleet.Options{Store: db, Changed: func(what string, keys []string) {
		if what == "fleet" {
			told = append(told, keys)
		}
	}})
	read := func() *fleet.Snapshot {
		t.Helper()
		if err := f.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		return f.Snapshot()
	}
	first := read()
	if len(first.Items) != 3000 || len(told) != 1 || told[0] != nil {
		t.Fatalf("%d items, told %d times", len(first.Items), len(told))
	}
	violating := 0
	for _, it := range first.Items {
		if it.Violates("long-lived") {
			violating++
		}
	}
	if violating != 1000 {
		t.Errorf("%d violate", violating)
	}
	if again := read(); again.Version != first.Version || len(told) != 1 {
		t.Errorf("nothing is new: version %d after %d, told %v", again.Version, first.Version, told[1:])
	}
	if err := db.Exec(t.Context(), `INSERT INTO credentials (credential, type, source, instance, never_expires, kafka_partition, applied_offset, written_at)
		VALUES ('vault/prod/token/new', 'token', 'vault', 'prod', true, 9, 1, now64(9)), ('vault/prod/token/long-gone', 'token', 'vault', 'prod', true, 9, 2, now64(9))`); err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), `INSERT INTO credentials (credential, type, source, instance, expires_at, kafka_partition, applied_offset, written_at)
		VALUES ('vault/prod/token/long-gone', 'token', 'vault', 'prod', now64(9) - INTERVAL 30 DAY, 9, 3, now64(9))`); err != nil {
		t.Fatal(err)
	}
	second := read()
	if len(told) != 2 || second.Get("vault/prod/token/new") == nil {
		t.Errorf("told %v", told[1:])
	}
	one, err := f.One(t.Context(), "vault/prod/token/long-gone")
	if err != nil || one == nil {
		t.Errorf("what ended long ago is not found by its key: %v", err)
	}
}
