package store_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
)

var migrations = fstest.MapFS{
	"00001_events.sql": {Data: []byte(`-- +goose Up
CREATE TABLE IF NOT EXISTS events /*{on_cluster}*/ (id UInt64, v UInt64) ENGINE = /*{replicated}*/ReplacingMergeTree(v) ORDER BY id;
-- +goose Down
DROP TABLE events /*{on_cluster}*/;
`)},
	"00002_view.sql": {Data: []byte(`-- +goose Up
CREATE VIEW IF NOT EXISTS v_events /*{on_cluster}*/ AS SELECT id FROM events FINAL;
INSERT INTO events VALUES (1, 1);
-- +goose Down
DROP VIEW v_events;
`)},
	"README.md": {Data: []byte("not a migration /*{on_cluster}*/")},
}

func TestMigrateCreatesTheDatabaseAndIsIdempotent(t *testing.T) {
	cfg := storetest.Config(t)
	db, err := store.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(t.Context()); store.ErrorCode(err) != store.CodeUnknownDatabase {
		t.Fatalf("before: %v, want code %d", err, store.CodeUnknownDatabase)
	}
	first := fstest.MapFS{"00001_events.sql": migrations["00001_events.sql"]}
	for _, files := range []fs.FS{first, first, migrations, migrations} {
		if err := db.Migrate(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	var n uint64
	if err := db.QueryRow(t.Context(), "SELECT count() FROM v_events").Scan(&n); err != nil || n != 1 {
		t.Fatalf("%d rows, err %v: the second migration ran not once", n, err)
	}
}

func TestMigrateSaysWhichFileFailed(t *testing.T) {
	db := storetest.New(t)
	err := db.Migrate(t.Context(), fstest.MapFS{
		"00001_broken.sql": {Data: []byte("-- +goose Up\nCREATE TABLE broken (a Nonsense) ENGINE = MergeTree ORDER BY a;\n")}})
	if err == nil || store.ErrorCode(err) != 50 {
		t.Fatalf("got %v, want code 50", err)
	}
}
