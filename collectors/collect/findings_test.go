package collect

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// finder is a collector whose findings are handed over as a batch by each turn.
type finder struct {
	t *testing.T
	*Collector
	at time.Time
}

func newFinder(t *testing.T, dir string) *finder {
	t.Helper()
	f := &finder{t: t, at: time.Unix(1_800_000_000, 0)}
	env := daemon.NewEnv("test", nil)
	env.Now = func() time.Time { return f.at }
	c, err := New(Options{Source: "test", Instance: "x", Decoder: letters{}, Deps: Deps{Stream: &kafka{}, DataDir: dir, Env: env}})
	if err != nil {
		t.Fatal(err)
	}
	f.Collector = c
	if c.findings, err = loadFindings(c.findingsPath()); err != nil {
		t.Fatal(err)
	}
	return f
}

// turn gives what the next batch says, by subject.
func (f *finder) turn() map[string]*leastwisev1.Finding {
	f.t.Helper()
	messages, err := f.findings.news(f.Now(), f.handed)
	if err != nil {
		f.t.Fatal(err)
	}
	f.handed++
	return said(f.t, messages)
}

func said(t *testing.T, messages []stream.Message) map[string]*leastwisev1.Finding {
	out := map[string]*leastwisev1.Finding{}
	for _, m := range messages {
		fact := &leastwisev1.Fact{}
		if err := fact.UnmarshalVT(m.Value); err != nil {
			t.Fatal(err)
		}
		out[fact.GetFinding().Subject] = fact.GetFinding()
	}
	return out
}

func TestAFindingIsToldOnceUntilItChangesOrEnds(t *testing.T) {
	f := newFinder(t, t.TempDir())
	f.Found(Found{Kind: "ct_gap", Subject: "a", Detail: "one", Times: 1})
	first := f.turn()["a"]
	if first == nil || !first.Standing || first.Count != 1 || !first.Since.AsTime().Equal(f.at) {
		t.Fatalf("%v", first)
	}
	if got := f.turn(); len(got) != 0 {
		t.Errorf("told again without news: %v", got)
	}
	f.at = f.at.Add(time.Second)
	f.Found(Found{Kind: "ct_gap", Subject: "a", Detail: "one", Times: 2})
	if got := f.turn(); len(got) != 0 {
		t.Errorf("growth is told at once: %v", got)
	}
	f.at = f.at.Add(again)
	if got := f.turn()["a"]; got.GetCount() != 3 || !got.Since.AsTime().Equal(first.Since.AsTime()) {
		t.Errorf("growth: %v", got)
	}
	f.Found(Found{Kind: "ct_gap", Subject: "a", Detail: "two"})
	if got := f.turn()["a"]; got.GetDetail() != "two" {
		t.Errorf("another detail is no news: %v", got)
	}
	f.Withdraw("ct_gap", "b")
	f.Withdraw("ct_gap", "a")
	if got := f.turn(); len(got) != 1 || got["a"].GetStanding() {
		t.Errorf("withdrawn: %v", got)
	}
	f.turn()
	f.turn()
	if len(f.findings.entries) != 0 {
		t.Errorf("what stands no more is kept: %v", f.findings.entries)
	}
}

func TestAFindingWithoutFurtherWordsStandsForItsTime(t *testing.T) {
	f := newFinder(t, t.TempDir())
	f.Found(Found{Kind: "unverified_token", Subject: "a", Quiet: time.Hour})
	f.turn()
	f.at = f.at.Add(59 * time.Minute)
	f.Found(Found{Kind: "unverified_token", Subject: "a", Quiet: time.Hour})
	f.turn()
	f.at = f.at.Add(59 * time.Minute)
	if got := f.turn(); len(got) != 0 {
		t.Fatalf("too early: %v", got)
	}
	f.at = f.at.Add(time.Minute)
	if got := f.turn()["a"]; got == nil || got.Standing {
		t.Errorf("it still stands: %v", got)
	}
}

// A collector that dies anywhere leaves what its successor tells again, standing or withdrawn.
func TestFindingsOutliveTheCollector(t *testing.T) {
	dir := t.TempDir()
	f := newFinder(t, dir)
	f.Found(Found{Kind: "ct_gap", Subject: "a", Detail: "one", Evidence: []string{"e"}, About: []string{"k"}, Times: 4, Quiet: time.Hour})
	f.Found(Found{Kind: "ct_gap", Subject: "b"})
	f.turn() // written, and whether Kafka has it nobody knows
	f = newFinder(t, dir)
	got := f.turn()
	if a := got["a"]; len(got) != 2 || !a.GetStanding() || a.Count != 4 || a.Evidence[0] != "e" || a.About[0] != "k" {
		t.Fatalf("%v", got)
	}
	f.Withdraw("ct_gap", "b")
	f.turn()
	f.Found(Found{Kind: "ct_gap", Subject: "a", Detail: "more"})
	f.turn() // the file is written again while the batch before is on its way
	f = newFinder(t, dir)
	if got := f.turn(); len(got) != 2 || got["b"] == nil || got["b"].GetStanding() || !got["a"].GetStanding() {
		t.Fatalf("the withdrawal is lost: %v", got)
	}
	f.turn()
	f.turn()
	f.Found(Found{Kind: "ct_gap", Subject: "c", Quiet: time.Hour})
	f.turn()
	f = newFinder(t, dir)
	if got := f.turn(); len(got) != 2 || got["b"] != nil {
		t.Errorf("what was withdrawn and published is told for ever: %v", got)
	}
	f.at = f.at.Add(2 * time.Hour)
	if got := f.turn()["c"]; got == nil || got.Standing {
		t.Errorf("its time is forgotten: %v", got)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	f := newFinder(t, "")
	long := strings.Repeat("é\x00", 5000)
	for i := range 2 * maxSubjects {
		f.Found(Found{Kind: "ct_gap", Subject: strconv.Itoa(i), Detail: long, Evidence: strings.Split(long, ""), About: []string{long}})
	}
	if len(f.findings.entries) != maxSubjects {
		t.Errorf("%d are kept", len(f.findings.entries))
	}
	for _, one := range f.turn() {
		if size := one.SizeVT(); size > 8<<10 || strings.Contains(one.Detail, "\x00") || len(one.Evidence) > maxItems {
			t.Fatalf("%d bytes: %v", size, one)
		}
	}
}

func TestADamagedFileOfFindingsIsNamed(t *testing.T) {
	dir := t.TempDir()
	f := newFinder(t, dir)
	for _, text := range []string{"{", `[{"finding":"!"}]`, `[{"finding":"/////w=="}]`} {
		if err := os.WriteFile(f.findingsPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadFindings(f.findingsPath()); err == nil || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// reader says something beside each record, and notes at each commit what had been published by then.
type reader struct {
	*Collector
	records   []string
	published func() []string
	committed [][]string
}

func (r *reader) Read(ctx context.Context, _ int, wait time.Duration, take Take) (int, func() error, error) {
	if len(r.records) == 0 {
		Pause(ctx, wait)
		return 0, nil, nil
	}
	record := r.records[0]
	r.records = r.records[1:]
	if record != "" {
		take(source.Record{Bytes: []byte(record)}, nil)
	}
	r.Found(Found{Kind: "ct_gap", Subject: record})
	r.Tell(FactMessage("grant", &leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: &leastwisev1.Grant{Id: record}}}))
	if record == "" { // nothing was read, and it is told all the same
		return 0, nil, nil
	}
	return 1, func() error { r.committed = append(r.committed, r.published()); return nil }, nil
}

func (*reader) Close() error { return nil }

func TestWhatIsFoundIsPublishedBeforeItsRecordIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kafka{fail: 2}
		f := newFinder(t, t.TempDir())
		f.opts.Deps.Stream = k
		feed := &reader{Collector: f.Collector, records: []string{"", "a", "b"}, published: k.have}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx, feed) }()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, want := strings.Join(k.have(), " "), "grant: finding: a grant:a finding:a b grant:b finding:b"; got != want {
			t.Errorf("published %s, want %s", got, want)
		}
		for i, n := range []int{5, 8} {
			if len(feed.committed) != 2 || len(feed.committed[i]) < n {
				t.Errorf("commit %d came when %v was published", i, feed.committed)
			}
		}
	})
}
