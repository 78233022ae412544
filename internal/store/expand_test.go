package store

import (
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestMarkersBecomeTheClustersClauses(t *testing.T) {
	const text = "CREATE TABLE t /*{on_cluster}*/ (a Int8) ENGINE = /*{replicated}*/ReplacingMergeTree(a) ORDER BY a"
	for cluster, want := range map[string]string{
		"":    "CREATE TABLE t  (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a",
		"eu1": "CREATE TABLE t ON CLUSTER 'eu1' (a Int8) ENGINE = ReplicatedReplacingMergeTree(a) ORDER BY a",
	} {
		files := forCluster{fstest.MapFS{"1.sql": {Data: []byte(text)}, "x.md": {Data: []byte(text)}}, cluster}
		got, err := fs.ReadFile(files, "1.sql")
		if err != nil || string(got) != want {
			t.Errorf("cluster %q: got %q, err %v, want %q", cluster, got, err, want)
		}
		if other, err := fs.ReadFile(files, "x.md"); err != nil || string(other) != text {
			t.Errorf("another file was changed: %q, err %v", other, err)
		}
	}
	want := "CREATE TABLE IF NOT EXISTS goose_db_version ON CLUSTER 'c' (\n\tversion_id Int64,\n\tis_applied UInt8,\n" +
		"\tdate Date DEFAULT now(),\n\ttstamp DateTime DEFAULT now()\n) ENGINE = ReplicatedMergeTree ORDER BY version_id"
	if got := expand(versionsDDL, "c"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
