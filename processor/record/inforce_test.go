package record_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// until are the migrations up to a number.
func until(t *testing.T, last string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name[:5] <= last {
			text, err := fs.ReadFile(migrations.FS, name)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = &fstest.MapFile{Data: text}
		}
	}
	return out
}

func TestDecisionsInForceAreThoseBeforeTheMigrationUntilNewerOnesCome(t *testing.T) {
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), until(t, "00011")); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	decision := func(key string, ago time.Duration, far ...float64) *pb.Decision {
		d := &pb.Decision{Credential: key, DecidedAt: timestamppb.New(now.Add(-ago))}
		for i, f := range far {
			d.Violations = append(d.Violations, &pb.Violation{PolicyId: fmt.Sprintf("p%d", i), Metric: "lifetime", Severity: "high", Deviation: f})
		}
		return d
	}
	for offset, query := range []string{
		`'vault/a/token/1', %s - INTERVAL 2 HOUR, ['p0'], ['lifetime'], ['9d'], ['1h'], ['high'], 3, 0, %d`,
		`'vault/a/token/1', %s - INTERVAL 1 HOUR, ['p1'], ['lifetime'], ['9d'], ['1h'], ['high'], 5, 0, %d`,
		`'vault/a/token/2', %s - INTERVAL 1 HOUR, ['p0'], ['lifetime'], ['9d'], ['1h'], ['high'], 4, 0, %d`,
		`'vault/a/token/3', %s - INTERVAL 120 DAY, ['p0'], ['lifetime'], ['9d'], ['1h'], ['high'], 4, 0, %d`,
	} {
		if err := db.Exec(t.Context(), `INSERT INTO decisions (credential, decided_at, policies, metrics, values, thresholds, severities, deviation, kafka_partition, kafka_offset) SELECT `+
			fmt.Sprintf(query, fmt.Sprintf("toDateTime64(%d, 9)", now.Unix()), offset)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second finds nothing to do
		if err := db.Migrate(t.Context(), migrations.FS); err != nil {
			t.Fatal(err)
		}
	}
	found := func() string {
		t.Helper()
		rows, err := db.Query(t.Context(), `SELECT concat(credential, ' ', policy, ' ', ifNull(toString(deviation), 'unknown')) FROM v_findings ORDER BY credential, policy`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var out []string
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			out = append(out, strings.TrimPrefix(line, "vault/a/token/"))
		}
		return strings.Join(out, ", ")
	}
	// What each violation's own deviation was, the table did not hold; the one that was decided four months ago is over.
	if got, want := found(), "1 p1 unknown, 2 p0 unknown"; got != want {
		t.Errorf("after the migration %q; expected %q", got, want)
	}
	h := record.History{Topic: schemas.TopicDecisions}
	for i, d := range []*pb.Decision{decision("vault/a/token/1", time.Minute, 2, 0.5), decision("vault/a/token/2", time.Minute), decision("vault/a/token/1", 0, 2.5, 0.25)} {
		value, err := d.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Add(int64(100+i), []byte(d.Credential), value, now); err != nil {
			t.Fatal(err)
		}
	}
	var chain record.Chain
	if err := h.Write(t.Context(), db, &chain, now); err != nil {
		t.Fatal(err)
	}
	if got, want := found(), "1 p0 2.5, 1 p1 0.25"; got != want {
		t.Errorf("after newer decisions %q; expected %q", got, want)
	}
	for query, want := range map[string]uint64{
		"SELECT count() FROM decisions": 6,
		"SELECT uniqExact(_partition_id) FROM decisions WHERE decided_at > now() - INTERVAL 1 MINUTE": 1,
		"SELECT count() FROM newest_records FINAL":                                                    2,
		"SELECT max(kafka_offset) FROM newest_records WHERE key = 'vault/a/token/1'":                  102,
	} {
		var got uint64
		if err := db.QueryRow(t.Context(), "SELECT toUInt64(("+query+"))").Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, err %v; expected %d", query, got, err, want)
		}
	}
}
