package cloudtrail

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// tree is a directory of log files and a feed of it.
type tree struct {
	t    *testing.T
	dir  string
	data string
	now  time.Time
	feed *feed
	from *directory
}

func newTree(t *testing.T) *tree {
	tr := &tree{t: t, dir: t.TempDir(), data: filepath.Join(t.TempDir(), "state", "read"), now: time.Now()}
	tr.start()
	return tr
}

func (tr *tree) start() {
	tr.t.Helper()
	read, err := openReadFiles(tr.data)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.from = &directory{root: tr.dir, poll: time.Hour, read: read, now: func() time.Time { return tr.now }, given: map[string]bool{}}
	tr.feed = newFeed(tr.from, 0)
	tr.t.Cleanup(func() { tr.feed.Close() })
}

func (tr *tree) write(name string, text []byte) {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// read gives the event ids of what there is, ! and the reason for a dead letter, and commits if asked to.
func (tr *tree) read(limit int, commit bool) []string {
	tr.t.Helper()
	var got []string
	tr.from.looked = time.Time{} // one round
	for {
		n, done, err := tr.feed.Read(tr.t.Context(), limit, 0, func(rec source.Record, bad *source.Malformed) {
			if bad != nil {
				got = append(got, "!"+bad.Reason)
				return
			}
			_, id, _ := bytes.Cut(rec.Bytes, []byte(`"eventID":"`))
			id, _, _ = bytes.Cut(id, []byte(`"`))
			got = append(got, string(id))
		})
		if err != nil {
			tr.t.Fatal(err)
		}
		if commit && done != nil {
			if err := done(); err != nil {
				tr.t.Fatal(err)
			}
		}
		if n == 0 {
			return got
		}
	}
}

func (tr *tree) want(what string, got []string, want ...string) {
	tr.t.Helper()
	if !slices.Equal(got, want) {
		tr.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestDirectoryFilesAreReadOnce(t *testing.T) {
	tr := newTree(t)
	tr.write(key("eu-central-1", "2026/10/02", "a"), trail("a1", "a2", "a3"))
	tr.write("lines.jsonl", []byte(call("l1")+"\n"+call("l2")+"\n"))
	tr.write("single.json", []byte(call("s1")))
	tr.write("AWSLogs/1/CloudTrail-Digest/x.json", []byte(call("digest")))
	tr.write(".hidden", []byte(call("hidden")))
	got := tr.read(2, true)
	slices.Sort(got)
	tr.want("first", got, "a1", "a2", "a3", "l1", "l2", "s1")
	tr.want("nothing new", tr.read(2, true))
	tr.write(key("eu-central-1", "2026/10/02", "b"), trail("b1"))
	tr.write("lines.jsonl", []byte(call("l1")+"\n"+call("l2")+"\n"+call("l3")+"\n"))
	got = tr.read(2, true)
	slices.Sort(got)
	tr.want("new and grown", got, "b1", "l1", "l2", "l3")
	tr.feed.Close()
	tr.start()
	tr.want("after a restart", tr.read(2, true))
}

func TestFileIsRememberedOnlyAfterItsLastRecordIsPublished(t *testing.T) {
	tr := newTree(t)
	tr.write("a.json", []byte(`{"Records":[`+call("1")+","+call("2")+","+call("3")+`]}`))
	tr.want("read, nothing committed", tr.read(10, false), "1", "2", "3")
	tr.feed.Close()
	tr.start()
	n, done, err := tr.feed.Read(t.Context(), 2, 0, func(source.Record, *source.Malformed) {})
	if n != 2 || done != nil || err != nil {
		t.Fatalf("%d records, commit %v, error %v; want 2 and no commit in the middle of the file", n, done != nil, err)
	}
	tr.feed.Close()
	tr.start()
	tr.want("after a crash in its middle", tr.read(2, true), "1", "2", "3")
	tr.want("then", tr.read(2, true))
}

func TestFileBeingWrittenIsWaitedFor(t *testing.T) {
	tr := newTree(t)
	whole := trail("1", "2", "3")
	tr.write("packed.json.gz", whole[:len(whole)-12])
	tr.write("begun.gz", whole[:3])
	text := `{"Records":[` + call("4") + "," + call("5")
	tr.write("plain.json", []byte(text[:len(text)-20]))
	got := tr.read(100, true)
	if slices.ContainsFunc(got, func(id string) bool { return id[0] == '!' }) {
		t.Errorf("a dead letter for a file that is being written: %q", got)
	}
	tr.write("packed.json.gz", whole)
	tr.write("begun.gz", whole)
	tr.write("plain.json", []byte(text+"]}"))
	got = tr.read(100, true)
	slices.Sort(got)
	tr.want("written whole", slices.Compact(got), "1", "2", "3", "4", "5")

	tr.write("abandoned.json", []byte(text[:len(text)-20]))
	tr.write("abandoned.gz", whole[:len(whole)-12])
	tr.write("no.gz", []byte("\x1f\x8bno"))
	tr.now = tr.now.Add(2 * settled)
	var letters []string
	for _, id := range tr.read(100, true) {
		if id[0] == '!' {
			letters = append(letters, id)
		}
	}
	slices.Sort(letters)
	tr.want("never finished", letters, "!malformed", "!truncated", "!truncated")
	tr.want("and then left alone", tr.read(100, true))
}

func TestCheckpointSurvivesAndForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "read")
	r, err := openReadFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b\n\"", "c"} {
		if err := r.add(name, 7); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := os.ReadFile(path)
	if err := os.WriteFile(path, append(text, "9 \"half"...), 0o600); err != nil { // a crash while writing
		t.Fatal(err)
	}
	if r, err = openReadFiles(path); err != nil {
		t.Fatal(err)
	}
	if !r.has("a", 7) || !r.has("b\n\"", 7) || r.has("a", 8) || r.has("half", 9) {
		t.Errorf("remembered %q", r.names())
	}
	if err := r.forget(func(name string) bool { return name == "a" }); err != nil {
		t.Fatal(err)
	}
	if err := r.add("d", 1); err != nil {
		t.Fatal(err)
	}
	if r, err = openReadFiles(path); err != nil || !slices.Equal(r.names(), []string{"a", "d"}) {
		t.Errorf("remembered %q, %v", r.names(), err)
	}
	r.Close()
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = openReadFiles(path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a damaged checkpoint: %v", err)
	}
}

func TestCollectorReadsADirectory(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.json"), append(readTestdata(t, "trail.json"), "\nnot json\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Path: dir, Poll: 10 * time.Millisecond, BatchRecords: 7}
	broker := &sourcetest.Broker{}
	broker.Fail(1)
	run := func(broker *sourcetest.Broker) func() {
		return sourcetest.Start(t, broker, data, func(deps collect.Deps) (collect.Runner, error) { return New(cfg, deps) })
	}
	stop := run(broker)
	want := bytes.Count(readTestdata(t, "events.golden"), []byte("\n"))
	soon(t, "all is published", func() bool { return len(broker.Events()) == want && len(broker.DeadLetters()) == 1 })
	soon(t, "a heartbeat", func() bool { return broker.Facts()["heartbeat/cloudtrail/default"] != nil })
	stop()
	again := &sourcetest.Broker{}
	if err := os.WriteFile(filepath.Join(dir, "b.json"), []byte(call("later")), 0o600); err != nil {
		t.Fatal(err)
	}
	run(again)
	soon(t, "reading goes on", hasAll(again, "later"))
	if n := len(again.Events()); n != 1 {
		t.Errorf("%d events after a restart, want 1", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"empty":      {Config{}, "section is missing"},
		"nothing":    {Config{Instance: "x"}, "one of path, bucket and queue"},
		"two":        {Config{Path: "x", Queue: &QueueConfig{URL: "https://x"}}, "one of"},
		"bucket":     {Config{Bucket: &BucketConfig{}}, "name"},
		"queue":      {Config{Queue: &QueueConfig{URL: "x"}}, "url"},
		"visibility": {Config{Queue: &QueueConfig{URL: "https://x", Visibility: time.Second}}, "visibility"},
		"slash":      {Config{Path: "x", Instance: "a/b"}, "slash"},
		"digests":    {Config{Path: "x", Digests: &DigestConfig{PublicKeysFile: "k"}}, "metadata"},
		"no keys":    {Config{Bucket: &BucketConfig{Name: "b"}, Digests: &DigestConfig{}}, "list-public-keys"},
		"negative":   {Config{Path: "x", Poll: -1}, "negative"},
		"data dir":   {Config{Path: "x"}, "data_dir"},
	} {
		if _, err := New(c.cfg, collect.Deps{}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cloudtrail_collector: ") {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
	if err := (Config{}).Validate(); err == nil {
		t.Error("the empty section is valid")
	}
}
