package gcpaudit

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/internal/daemon"
)

const (
	topicName = "projects/acme-prod/topics/audit"
	subName   = "projects/acme-prod/subscriptions/leastwise"
)

// queue is a Pub/Sub server in this process, with a topic and a subscription.
func queue(t *testing.T) *pstest.Server {
	t.Helper()
	srv := pstest.NewServer()
	t.Cleanup(func() { srv.Close() })
	t.Setenv("PUBSUB_EMULATOR_HOST", srv.Addr)
	ctx := context.Background()
	if _, err := srv.GServer.CreateTopic(ctx, &pubsubpb.Topic{Name: topicName}); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.GServer.CreateSubscription(ctx, &pubsubpb.Subscription{Name: subName, Topic: topicName, AckDeadlineSeconds: 10}); err != nil {
		t.Fatal(err)
	}
	return srv
}

func start(t *testing.T, broker *sourcetest.Broker, dir string, cfg Config) (stop func()) {
	t.Helper()
	return sourcetest.Start(t, broker, dir, func(deps collect.Deps) (collect.Runner, error) { return New(cfg, deps) })
}

func acked(srv *pstest.Server) (n int) {
	for _, m := range srv.Messages() {
		if m.Acks > 0 {
			n++
		}
	}
	return n
}

func TestMessagesAreAcknowledgedOnlyWhenPublished(t *testing.T) {
	srv, broker := queue(t), &sourcetest.Broker{}
	broker.Fail(1 << 30)
	entries, _ := history(3, 20)
	stop := start(t, broker, t.TempDir(), Config{Subscription: subName})
	for _, entry := range entries {
		srv.Publish(topicName, []byte(entry), nil)
	}
	srv.Publish(topicName, []byte("no log entry"), nil)
	sourcetest.Eventually(t, "messages are delivered", func() bool {
		for _, m := range srv.Messages() {
			if m.Deliveries > 0 {
				return true
			}
		}
		return false
	})
	if n := acked(srv); n != 0 || len(broker.Events()) != 0 {
		t.Fatalf("%d messages were acknowledged while the broker was away", n)
	}
	broker.Fail(0)
	sourcetest.Eventually(t, "all are acknowledged", func() bool { return acked(srv) == len(entries)+1 })
	stop()
	want := map[string]bool{}
	for _, entry := range entries {
		for _, ev := range decode(t, entry) {
			want[fmt.Sprintf("%x", ev.Id)] = true
		}
	}
	got := broker.Events()
	for id := range want {
		if got[id] == nil {
			t.Errorf("event %s is lost", id)
		}
	}
	if len(got) != len(want) || len(broker.DeadLetters()) != 1 {
		t.Errorf("%d events, want %d; %d dead letters", len(got), len(want), len(broker.DeadLetters()))
	}
}

func TestNoMoreMessagesAreHeldThanAllowed(t *testing.T) {
	srv, broker := queue(t), &sourcetest.Broker{}
	broker.Fail(1 << 30)
	c, err := New(Config{Subscription: subName, MaxOutstanding: 5}, collect.Deps{Stream: broker, DataDir: t.TempDir(), Env: daemon.NewEnv("test", nil)})
	if err != nil {
		t.Fatal(err)
	}
	feed, err := subscribe(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	for n := range 50 {
		srv.Publish(topicName, []byte(call{id: fmt.Sprint(n)}.String()), nil)
	}
	given := 0
	read := func() (commit func() error) {
		n, commit, err := feed.Read(t.Context(), 1000, 300*time.Millisecond, noTake)
		if err != nil {
			t.Fatal(err)
		}
		given += n
		return commit
	}
	var commits []func() error
	sourcetest.Eventually(t, "five messages", func() bool { commits = append(commits, read()); return given >= 5 })
	if commit := read(); commit != nil || given != 5 {
		t.Fatalf("%d messages are held, the limit is 5", given)
	}
	for _, commit := range commits {
		if commit != nil {
			if err := commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sourcetest.Eventually(t, "more after these are published", func() bool { read(); return given > 5 })
}

func TestWhatWasNotPublishedComesAgain(t *testing.T) {
	srv := queue(t)
	var later atomic.Int64
	srv.SetTimeNowFunc(func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	cfg := Config{Subscription: subName}.withDefaults()
	for n := range 5 {
		srv.Publish(topicName, []byte(call{id: fmt.Sprint(n)}.String()), nil)
	}
	for range 2 {
		feed, err := subscribe(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		given := 0
		sourcetest.Eventually(t, "all five", func() bool {
			n, _, err := feed.Read(t.Context(), 10, 100*time.Millisecond, noTake)
			if err != nil {
				t.Fatal(err)
			}
			given += n
			return given >= 5
		})
		if err := feed.Close(); err != nil { // nothing was committed
			t.Fatal(err)
		}
		// What was given back to a stream while it closed comes when its deadline has passed.
		later.Add(int64(2 * time.Minute))
	}
	if n := acked(srv); n != 0 {
		t.Errorf("%d messages were acknowledged", n)
	}
}

func TestMissingSubscriptionIsSaid(t *testing.T) {
	queue(t)
	c, err := New(Config{Subscription: subName + "-of-another-name"}, collect.Deps{Stream: &sourcetest.Broker{}, DataDir: t.TempDir(), Env: daemon.NewEnv("test", nil)})
	if err != nil {
		t.Fatal(err)
	}
	feed, err := subscribe(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	for range 2 { // and asked again
		sourcetest.Eventually(t, "an error", func() bool {
			_, _, err = feed.Read(t.Context(), 10, time.Second, noTake)
			return err != nil
		})
		if !strings.Contains(err.Error(), "leastwise-of-another-name") {
			t.Error(err)
		}
	}
}

func TestGrantsArePublishedBeforeTheMessageIsAcknowledged(t *testing.T) {
	srv, broker := queue(t), &sourcetest.Broker{}
	start(t, broker, t.TempDir(), Config{Subscription: subName, Instance: "acme"})
	srv.Publish(topicName, []byte(setPolicy(`{"action":"ADD","role":"roles/editor","member":"user:a@b.c"}`).String()), nil)
	sourcetest.Eventually(t, "the message is acknowledged", func() bool { return acked(srv) == 1 })
	found := 0
	for key, fact := range broker.Facts() {
		if g := fact.GetGrant(); g != nil && g.Principal == "user:a@b.c" && g.Id == key && strings.HasPrefix(key, "gcpaudit/acme/binding/") {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%v", broker.Facts())
	}
}

func TestGrowingFileIsFollowedAndResumed(t *testing.T) {
	dir, broker := t.TempDir(), &sourcetest.Broker{}
	path := filepath.Join(dir, "audit.jsonl")
	entries, _ := history(5, 12)
	write := func(lines []string) {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	records := func() int {
		ids := map[string]bool{}
		for _, ev := range broker.Events() {
			ids[ev.RecordId+ev.OccurredAt.String()] = true
		}
		return len(ids)
	}
	write(entries[:10])
	stop := start(t, broker, dir, Config{File: path})
	sourcetest.Eventually(t, "the first ten", func() bool { return records() >= 10 })
	stop()
	write(entries[10:])
	broker.Fail(1)
	start(t, broker, dir, Config{File: path})
	sourcetest.Eventually(t, "all", func() bool { return records() == len(entries) })
}

// box is a directory with files in it, all of them settled.
type box struct {
	t   *testing.T
	dir string
	at  time.Time
}

func (b *box) put(name string, text []byte) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.at = b.at.Add(time.Second)
	if err := os.Chtimes(path, b.at, b.at); err != nil {
		b.t.Fatal(err)
	}
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return out.Bytes()
}

func TestDirectoryOfExportsIsReadFileByFile(t *testing.T) {
	b := &box{t: t, dir: t.TempDir(), at: time.Now().Add(-time.Hour)}
	broker, data := &sourcetest.Broker{}, t.TempDir()
	one := func(id string) string { return call{id: id}.String() }
	b.put("activity/2026/10/02/a.json", []byte(one("1")+"\n"+one("2")+"\n"))
	b.put("b.json", []byte("["+one("3")+",\n"+one("4")+"]"))
	b.put("c.json.gz", packed(t, `{"entries":[`+one("5")+`]}`))
	b.put(".hidden", []byte(one("6")))
	cfg := Config{Directory: b.dir, Poll: time.Millisecond, BatchRecords: 2}
	stop := start(t, broker, data, cfg)
	sourcetest.Eventually(t, "five records", func() bool { return len(broker.Events()) == 5 })
	b.put("d.json", []byte(one("7")))
	sourcetest.Eventually(t, "a new file", func() bool { return len(broker.Events()) == 6 })
	b.put("b.json", []byte("["+one("3")+",\n"+one("4")+","+one("8")+"]"))
	sourcetest.Eventually(t, "a changed file", func() bool { return len(broker.Events()) == 7 })
	whole := packed(t, one("9")+"\n"+one("10")+"\n"+strings.Repeat(one("11")+"\n", 200))
	b.put("e.json.gz", whole[:len(whole)-20])
	sourcetest.Eventually(t, "a damaged file's rest is a dead letter", func() bool { return len(broker.DeadLetters()) >= 1 })
	if events := broker.Events(); len(events) < 9 {
		t.Errorf("%d events: the whole records of the damaged file are missing", len(events))
	}
	stop()
	// Another run over the same data directory reads nothing that was read before.
	again := &sourcetest.Broker{}
	start(t, again, data, cfg)
	b.put("f.json", []byte(one("12")))
	sourcetest.Eventually(t, "the newest file", func() bool { return len(again.Events()) == 1 })
}

func TestFileThatStillChangesIsLeftAlone(t *testing.T) {
	b := &box{t: t, dir: t.TempDir(), at: time.Now()}
	b.put("a.json", []byte(call{}.String()))
	clock := b.at
	f, err := newFolder(Config{Directory: b.dir, Poll: time.Second, Settle: 10 * time.Second}, filepath.Join(t.TempDir(), "c"), func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{9 * time.Second, 0}, {9500 * time.Millisecond, 0}, {11 * time.Second, 1}, {20 * time.Second, 0}} {
		clock = b.at.Add(step.after)
		n, _, err := f.Read(t.Context(), 10, time.Millisecond, noTake)
		if err != nil || n != step.want {
			t.Errorf("after %s: %d records, %v, want %d", step.after, n, err, step.want)
		}
	}
}

func TestDamagedCheckpointIsSaid(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "gcpaudit-default.checkpoint.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Directory: t.TempDir()}, collect.Deps{Stream: &sourcetest.Broker{}, DataDir: data, Env: daemon.NewEnv("test", nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Error(err)
	}
}

func TestAssetExportIsPublishedAndWithdrawn(t *testing.T) {
	dir, broker := t.TempDir(), &sourcetest.Broker{}
	path := filepath.Join(dir, "assets.jsonl")
	write := func(text string, at time.Time) {
		// In one step: the collector must not see half of it.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+".new", at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-time.Hour)
	write(export, at)
	start(t, broker, dir, Config{File: filepath.Join(dir, "log"), Assets: path, AssetsInterval: time.Millisecond})
	const ann, x = "gcpaudit/default/principal/user:ann@b.c", "gcpaudit/default/principal/serviceAccount:x@p.iam.gserviceaccount.com"
	sourcetest.Eventually(t, "the export", func() bool {
		facts := broker.Facts()
		return len(facts[ann].GetGrant().GetAttached()) == 4 && len(facts[x].GetGrant().GetAttached()) == 1
	})
	write(strings.Replace(export, `,"serviceAccount:x@p.iam.gserviceaccount.com"`, "", 1), at.Add(time.Minute))
	sourcetest.Eventually(t, "a member has nothing left", func() bool {
		grant := broker.Facts()[x].GetGrant()
		return grant != nil && len(grant.Attached) == 0 && !grant.Deleted
	})
}

func TestConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	for want, cfg := range map[string]Config{
		"is missing":             {},
		"set subscription":       {Instance: "x"},
		"one of subscription":    {File: "a", Directory: "b"},
		"is not projects/":       {Subscription: "leastwise"},
		"for subscription alone": {File: "a", CredentialsFile: "k"},
		"for file alone":         {Directory: "a", Backlog: true},
		"max_outstanding":        {Subscription: subName, MaxOutstanding: -1},
		"settle":                 {Directory: "a", Settle: -1},
		"batch_wait":             {File: "a", BatchWait: -1},
	} {
		if _, err := New(cfg, collect.Deps{DataDir: "x"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want …%s…", cfg, err, want)
		}
	}
	if _, err := New(Config{File: "a"}, collect.Deps{}); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Error(err)
	}
}

func TestCredentialsThatRunProgramsOrAreNoneAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.json")
	for text, want := range map[string]string{
		`{"type":"external_account_authorized_user"}`:                          "not one of",
		`{"type":"service_account","private_key":"CANARY"`:                     "not JSON",
		`{"type":"CANARY"}`:                                                    "not one of",
		`{"type":"service_account","private_key":"CANARY","client_email":"x"}`: "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := credentials(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
