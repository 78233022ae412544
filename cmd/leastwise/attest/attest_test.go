package attest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

// written is a log of exceptions in two partitions.
func written(t *testing.T, rows int) *store.DB {
	t.Helper()
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	add(t, db, 0, rows)
	return db
}

func add(t *testing.T, db *store.DB, from, to int) {
	t.Helper()
	for partition := range uint32(2) {
		h := record.History{Topic: schemas.TopicExceptions, Partition: partition}
		for i := from; i < to; i++ {
			value, err := (&pb.Exception{Id: strings.Repeat("x", i+1), Reason: "because"}).MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Add(int64(i*2), []byte("key"), value, time.Unix(int64(i), 0)); err != nil {
				t.Fatal(err)
			}
		}
		var chain record.Chain
		if err := h.Write(t.Context(), db, &chain, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func key(t *testing.T) (private, public string) {
	t.Helper()
	private, public, err := NewKey("example.org")
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func TestALogGoesOnFromItsCheckpointAndOneThatWasCutDoesNot(t *testing.T) {
	db := written(t, 5)
	private, public := key(t)
	then, err := Walk(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := then.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	old, err := Open(signed, public)
	if err != nil || len(old.Heads) != 2 || old.Heads[1] != then.Heads[1] {
		t.Fatalf("%+v %v", old, err)
	}
	add(t, db, 5, 8)
	if now, err := Holds(t.Context(), db, old); err != nil || now.Heads[0].Rows != 8 {
		t.Errorf("%+v %v", now, err)
	}
	if err := db.Exec(t.Context(), "ALTER TABLE audit_log DELETE WHERE kafka_partition = 1 AND kafka_offset >= 6 SETTINGS mutations_sync = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Walk(t.Context(), db, nil); err != nil {
		t.Errorf("cut at its end the log proves itself, since nothing follows: %v", err)
	}
	if _, err := Holds(t.Context(), db, old); !errors.Is(err, record.ErrChain) {
		t.Errorf("the checkpoint says otherwise, but: %v", err)
	}
}

func TestACheckpointThatSomebodyElseSignedOrChangedIsRefused(t *testing.T) {
	private, public := key(t)
	_, other := key(t)
	signed, err := (&Checkpoint{At: time.Now(), Heads: []Head{{Topic: "a/b", Partition: 3, Offset: 7, Rows: 2}}}).Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Open(signed, public); err != nil || c.Heads[0].Topic != "a/b" || c.Heads[0].Offset != 7 {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := Open(signed, other); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(bytes.Replace(signed, []byte(" 7 2 "), []byte(" 6 2 "), 1), public); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("changed: %v", err)
	}
}

// verify runs the third party's script.
func verify(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	for _, program := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	out, err := exec.CommandContext(t.Context(), "python3", append([]string{"../../../docs/verify-audit.py"}, args...)...).CombinedOutput()
	return string(out), err == nil
}

func TestAThirdPartyVerifiesAnExportWithoutOurCode(t *testing.T) {
	db := written(t, 4)
	private, public := key(t)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	then, err := Walk(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	note, err := then.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	add(t, db, 4, 6)
	var export bytes.Buffer
	if rows, err := Export(t.Context(), db, &export, private); err != nil || rows != 12 {
		t.Fatal(rows, err)
	}
	pub, old := file("site.pub", []byte(public)), file("then.note", note)
	if out, ok := verify(t, file("good.jsonl", export.Bytes()), pub, old); !ok || !strings.Contains(out, "12 rows in 2 chains, signed by example.org") {
		t.Errorf("%s", out)
	}
	lines := bytes.SplitAfter(export.Bytes(), []byte("\n"))
	for name, broken := range map[string][]byte{
		"a row changed":      bytes.Replace(export.Bytes(), []byte(`"offset":4`), []byte(`"offset":5`), 1),
		"a row removed":      append(append([]byte{}, bytes.Join(lines[:2], nil)...), bytes.Join(lines[3:], nil)...),
		"the end removed":    bytes.Join(lines[:6], nil),
		"the last row gone":  append(append([]byte{}, bytes.Join(lines[:11], nil)...), lines[12]...),
		"the signature gone": bytes.Replace(export.Bytes(), []byte("example.org "), []byte("example.com "), 1),
	} {
		if out, ok := verify(t, file("broken.jsonl", broken), pub); ok || !strings.Contains(out, "FAILED") {
			t.Errorf("%s: %s", name, out)
		}
	}
	later := *then
	later.Heads[0].Hash[0] ^= 1
	forged, err := later.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := verify(t, file("good.jsonl", export.Bytes()), pub, file("forged.note", forged)); ok {
		t.Errorf("it goes on from a checkpoint that it does not go on from: %s", out)
	}
}
