package record_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// Whoever looks at one credential opens every part of every week.
func TestAWeekThatGetsNoMoreRowsBecomesOnePart(t *testing.T) {
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"events", "decisions"} {
		rows, err := db.Query(t.Context(), "SELECT create_table_query FROM system.tables WHERE name = ? AND database = currentDatabase()", table)
		if err != nil {
			t.Fatal(err)
		}
		var query string
		for rows.Next() {
			if err := rows.Scan(&query); err != nil {
				t.Fatal(err)
			}
		}
		rows.Close()
		if !strings.Contains(query, "min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1") {
			t.Errorf("%s: %s", table, query)
		}
		if err := db.Exec(t.Context(), "ALTER TABLE "+table+" MODIFY SETTING min_age_to_force_merge_seconds = 1"); err != nil {
			t.Fatal(err) // a day otherwise
		}
		column := map[string]string{"events": "written_at", "decisions": "decided_at"}[table]
		for i := range 4 {
			if err := db.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s (credential, %s) VALUES ('c', now() - INTERVAL 20 DAY), ('d%d', now() - INTERVAL 20 DAY)", table, column, i)); err != nil {
				t.Fatal(err)
			}
		}
		deadline := time.Now().Add(time.Minute)
		for parts := uint64(0); parts != 1; {
			rows, err := db.Query(t.Context(), "SELECT count() FROM system.parts WHERE active AND table = ? AND database = currentDatabase()", table)
			if err != nil {
				t.Fatal(err)
			}
			rows.Next()
			if err := rows.Scan(&parts); err != nil {
				t.Fatal(err)
			}
			rows.Close()
			if time.Now().After(deadline) {
				t.Fatalf("%s: still %d parts", table, parts)
			}
		}
	}
}
