package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/figures/amplify"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// little makes memory hold next to nothing, so that everything goes over the disk.
var little = limits{ids: 1 << 8, credentials: 7, bytes: 200, rows: 500}

// history writes CloudTrail and Vault logs, the latter with tokens that end with their parents, and some of both twice.
func history(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	trail, err := amplify.Write(amplify.Options{Dir: dir, Seed: 5, Bytes: 600 << 10, FileCopies: 2})
	if err != nil {
		t.Fatal(err)
	}
	files := append(trail.Files, trail.Files[0])
	log, err := os.Create(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := fleet.WriteAudit(log, fleet.AuditOptions{Seed: 2, Credentials: 60, Calls: 600, DeniedShare: 0.05, RenewShare: 0.1}); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "tree.log")
	if err := os.WriteFile(tree, []byte(family(40)), 0o600); err != nil {
		t.Fatal(err)
	}
	return append(files, log.Name(), tree, tree)
}

// family is a log of tokens that were made with one another, generation by generation. Some expire, and some are revoked.
func family(n int) string {
	var out strings.Builder
	record := func(format string, args ...any) {
		out.WriteString(`{"type":"response",` + fmt.Sprintf(format, args...) + "}\n")
	}
	began := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		at := began.Add(time.Duration(i) * time.Minute)
		record(`"time":%q,"auth":{"accessor":"p%d","policy_results":{"allowed":true}},"request":{"id":"made-%d","operation":"update",`+
			`"path":"auth/token/create","client_token_accessor":"p%d"},"response":{"auth":{"accessor":"p%d","policies":["default"],`+
			`"token_ttl":%d,"token_type":"service"}}`, at.Format(time.RFC3339), i/2, i, i/2, i+1, 3600*(1+i%3))
		if i%7 == 3 {
			record(`"time":%q,"auth":{"accessor":"root","policy_results":{"allowed":true}},"request":{"id":"end-%d","operation":"update",`+
				`"path":"auth/token/revoke-accessor","data":{"accessor":"p%d"}},"response":{}`, at.Add(time.Hour/2).Format(time.RFC3339), i, i)
		}
	}
	return out.String()
}

// told is all that a report says but for its inputs, as text and as JSON.
func told(t *testing.T, opts Options) (text, all string) {
	t.Helper()
	opts.Policies = t.TempDir()
	policy := "policy_id: idle\nmetrics:\n  - {name: idle_time, source: any, threshold: 10m, condition: greater_than}\n" +
		"action:\n  - {severity: high, channel: team, remediation_hint: Give it back.}\n"
	if err := os.WriteFile(filepath.Join(opts.Policies, "idle.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.Warn = func(string, ...any) {}
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	report.Inputs = nil
	var words, document bytes.Buffer
	if err := errors.Join(report.Text(&words), report.JSON(&document)); err != nil {
		t.Fatal(err)
	}
	return words.String(), document.String()
}

func TestAReportIsTheSameWhetherItFitsInMemoryOrNot(t *testing.T) {
	files := history(t)
	wantText, want := told(t, Options{Paths: files})
	for _, has := range []string{`"state":"expired"`, `"policy_id"`,
		`{"key":"vault/default/token/p7","type":"token","source":"vault","state":"revoked"`} { // with p3, which made it
		if !strings.Contains(want, has) {
			t.Errorf("nothing is %s, so it is not compared", has)
		}
	}
	rng := rand.New(rand.NewSource(1))
	for range 4 {
		gotText, got := told(t, Options{Paths: files, hold: little})
		if got != want {
			t.Errorf("JSON differs: %s", firstDifference(got, want))
		}
		if gotText != wantText {
			t.Errorf("text differs: %s", firstDifference(gotText, wantText))
		}
		rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
}

func firstDifference(got, want string) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	part := func(s string) string { return s[max(0, min(at, len(s))-120):min(len(s), at+120)] }
	return fmt.Sprintf("\n got …%s…\nwant …%s…", part(got), part(want))
}

func TestTheJSONDocumentHoldsWhatTheReportDoes(t *testing.T) {
	report, err := Run(t.Context(), Options{Paths: history(t), Warn: func(string, ...any) {}, hold: little})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	var out bytes.Buffer
	if err := report.JSON(&out); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Records     int
		Inputs      []Input
		Credentials []Credential
		Links       []Link
		Findings    []Finding
		Conflicts   []Conflict
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, c := range report.Credentials {
		if document.Credentials[i].Key != c.Key || n != i {
			t.Fatalf("credential %d is %s, not %s", i, document.Credentials[i].Key, c.Key)
		}
		n++
	}
	if n == 0 || n != len(document.Credentials) || document.Records != report.Records || len(document.Inputs) != len(report.Inputs) ||
		len(document.Links) != report.links.n || document.Findings == nil || document.Conflicts == nil {
		t.Errorf("%d credentials; the document has %d, and %d links", n, len(document.Credentials), len(document.Links))
	}
}

func TestNothingIsLeftOnDiskEvenWhileAScanRuns(t *testing.T) {
	files := history(t)
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	seen := 0
	look := func() {
		seen++
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("%v %v", left, err)
		}
	}
	report, err := Run(t.Context(), Options{Paths: files, Warn: func(string, ...any) {}, hold: little, Progress: func(int64) { look() }})
	if err != nil {
		t.Fatal(err)
	}
	look()
	report.Close()
	if seen < 3 || len(report.credentials.runs) == 0 {
		t.Errorf("looked %d times, %d runs", seen, len(report.credentials.runs))
	}
}

func TestADiskThatIsNotThereIsSaid(t *testing.T) {
	files := history(t)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	_, err := Run(t.Context(), Options{Paths: files, Warn: func(string, ...any) {}, hold: little})
	if err == nil || !strings.Contains(err.Error(), "scratch file") {
		t.Errorf("error %v", err)
	}
}

func TestEventsComeInTheOrderOfTheFiles(t *testing.T) {
	files := history(t)
	var first bytes.Buffer
	for n := range 3 {
		var out bytes.Buffer
		report, err := Run(t.Context(), Options{Paths: files, Warn: func(string, ...any) {}, Events: &out})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = out
			if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != report.Events {
				t.Errorf("%d lines of %d events", lines, report.Events)
			}
		} else if !bytes.Equal(out.Bytes(), first.Bytes()) {
			t.Error("another order")
		}
	}
	if !bytes.Contains(first.Bytes(), []byte(filepath.Base(files[0])+":")) {
		t.Error("no event tells where it stood")
	}
}

func TestAnInterruptEndsTheScan(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	batches := 0
	_, err := Run(ctx, Options{Paths: history(t), Warn: func(string, ...any) {}, hold: little, Progress: func(int64) {
		if batches++; batches == 3 {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) || batches > 10 {
		t.Errorf("error %v after %d batches", err, batches)
	}
}

func TestTheFirstOfManyAreTheSameInAnyOrder(t *testing.T) {
	var all []Credential
	for n := range 100 {
		all = append(all, Credential{Key: fmt.Sprintf("k%03d", n), State: "active", Denied: 1, DeniedPermissions: uint64(n % 7)})
	}
	var want summary
	for round := range 5 {
		s := summary{states: map[string]int{}}
		for _, c := range all {
			s.add(c)
		}
		if round == 0 {
			want = s
		}
		keys := func(l leaders) (out []string) {
			for _, c := range l.first {
				out = append(out, c.Key)
			}
			return out
		}
		if !slices.Equal(keys(s.probing), keys(want.probing)) || !slices.Equal(keys(s.active), keys(want.active)) ||
			s.probing.n != 100 || len(s.probing.first) != listed || s.probing.first[0].Key != "k006" || s.active.first[0].Key != "k000" {
			t.Errorf("round %d: %v %v", round, keys(s.probing), keys(s.active))
		}
		rand.New(rand.NewSource(int64(round))).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
}

func TestMemoryHoldsNoMoreThanItsLimits(t *testing.T) {
	opts := Options{Warn: func(string, ...any) {}, hold: little}
	looked := 0
	var s *scanner
	opts.Progress = func(int64) {
		looked++
		switch {
		case s.shelf.core.Len() > little.credentials:
			t.Errorf("%d credentials", s.shelf.core.Len())
		case len(s.seen.held) > little.ids:
			t.Errorf("%d ids", len(s.seen.held))
		case cap(s.shelf.away.held) > 100*little.bytes:
			t.Errorf("%d bytes of credentials put away", cap(s.shelf.away.held))
		}
	}
	s = newScanner(opts, nil, nil)
	defer s.close()
	if err := s.files(t.Context(), history(t), s.batch); err != nil {
		t.Fatal(err)
	}
	report, err := s.finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	if looked == 0 || report.credentials.bytes > little.rows || report.credentials.n < 10*little.credentials || len(s.shelf.at) != report.credentials.n {
		t.Errorf("looked %d times; %d bytes of %d credentials; %d away", looked, report.credentials.bytes, report.credentials.n, len(s.shelf.at))
	}
}
