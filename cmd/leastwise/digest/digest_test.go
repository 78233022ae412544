package digest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

func seeded(t *testing.T, now time.Time) *store.DB {
	t.Helper()
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) string { return fmt.Sprintf("fromUnixTimestamp64Nano(%d)", now.Add(d).UnixNano()) }
	day := 24 * time.Hour
	for _, sql := range []string{
		"INSERT INTO credentials (credential, owner, principal, issued_at, expires_at, never_expires, uses_7d, written_at) VALUES " +
			"('vault/d/token/a', 'payments', 'vault/d/entity/a', " + at(-30*day) + ", " + at(2*day) + ", false, 12, " + at(0) + ")," +
			"('vault/d/token/short', 'payments', '', " + at(-time.Hour) + ", " + at(time.Hour) + ", false, 5, " + at(0) + ")," +
			"('vault/d/token/gone', 'payments', '', " + at(-9*day) + ", " + at(-8*day) + ", false, 0, " + at(0) + ")," +
			"('vault/d/token/theirs', 'search', '', " + at(-9*day) + ", NULL, true, 0, " + at(0) + ")",
		"INSERT INTO decisions (credential, decided_at, policies, metrics, values, thresholds, severities, mode, owner, kafka_offset) VALUES " +
			"('vault/d/token/a', " + at(-time.Hour) + ", ['lives-long', 'probing'], ['lifetime', 'elevation_attempts'], ['32d', '7'], ['1d', '3'], ['medium', 'critical'], 'ENFORCE', 'payments', 1)," +
			"('vault/d/token/gone', " + at(-time.Hour) + ", ['lives-long'], ['lifetime'], ['32d'], ['1d'], ['high'], 'ENFORCE', 'payments', 2)," +
			"('vault/d/token/theirs', " + at(-time.Hour) + ", ['lives-long'], ['lifetime'], ['never ends'], ['1d'], ['high'], 'ENFORCE', 'search', 3)",
		"INSERT INTO enforcement (credential, ladder_id, step, state, at, revoke_at, waiting, reissued_policy, granted_before, granted_after) VALUES " +
			"('vault/d/token/a', 'l1', 1, 'NOTIFIED', " + at(-20*day) + ", " + at(3*day) + ", '', '', 0, 0)," +
			"('vault/d/token/a', 'l1', 2, 'NOTIFIED', " + at(-2*day) + ", " + at(3*day) + ", 'budget <!here> @everyone', '', 0, 0)," +
			"('vault/d/token/gone', 'l2', 1, 'REISSUED', " + at(-time.Hour) + ", NULL, '', 'narrow', 40, 3)",
		"INSERT INTO exceptions (id, identity, policy_id, until, approved_by) VALUES ('ex-1', 'vault/d/entity/a', 'lives-long', " + at(5*day) + ", 'bob'), ('ex-2', 'vault/d/entity/a', 'x', " + at(20*day) + ", 'bob')",
	} {
		if err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return db
}

func TestADigestTellsAnOwnerTheirsAndNothingElse(t *testing.T) {
	now := time.Now().UTC()
	db := seeded(t, now)
	owners, err := Owners(t.Context(), db)
	if err != nil || strings.Join(owners, " ") != "payments search" {
		t.Fatalf("%v, %v", owners, err)
	}
	d, err := Of(t.Context(), db, "payments", now)
	if err != nil {
		t.Fatal(err)
	}
	m := d.Message("Payments @channel")
	for _, want := range []string{
		"What stands past policy (2)\n- critical: vault/d/token/a stands past probing: elevation attempts is 7, threshold 3\n- medium: ",
		"(2)\n- " + now.Add(-time.Hour).Format("Mon 2 Jan 15:04 UTC") + ": re-issued, narrower, vault/d/token/gone (3 permissions, before 40)\n- ",
		"you were told of vault/d/token/a",
		": vault/d/token/a is to be revoked, unless it is back within policy or excepted by then; it waits: budget ‹!here›",
		": vault/d/token/a expires; it was used 12 times in the last seven days",
		": exception ex-1 for vault/d/entity/a from lives-long ends",
	} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("it does not say %q:\n%s", want, m.Text)
		}
	}
	for _, not := range []string{"theirs", "short", "ex-2", "<!here>", "@everyone", "@channel"} {
		if strings.Contains(m.Title+m.Text, not) {
			t.Errorf("it says %q:\n%s\n%s", not, m.Title, m.Text)
		}
	}
	nobody, err := Of(t.Context(), db, "nobody", now)
	if err != nil || !nobody.Empty() {
		t.Errorf("who owns nothing is told %+v, %v", nobody, err)
	}
}

func TestADigestIsBounded(t *testing.T) {
	now := time.Now().UTC()
	db := seeded(t, now)
	err := db.Exec(t.Context(), `INSERT INTO credentials (credential, owner, issued_at, never_expires, written_at)
		SELECT concat('vault/d/token/n', toString(number)), 'many', now64(9), true, now64(9) FROM numbers(500)`)
	if err == nil {
		err = db.Exec(t.Context(), `INSERT INTO decisions (credential, decided_at, policies, metrics, values, thresholds, severities, mode, owner)
			SELECT concat('vault/d/token/n', toString(number)), now64(9), ['p'], ['lifetime'], [repeat('x', 5000)], ['1d'], ['low'], 'OBSERVE', 'many' FROM numbers(500)`)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := Of(t.Context(), db, "many", now)
	if err != nil {
		t.Fatal(err)
	}
	m := d.Message("many")
	if !strings.Contains(m.Text, "… and 485 more") || len(m.Text) > 10_000 {
		t.Errorf("%d bytes:\n%.2000s", len(m.Text), m.Text)
	}
}
