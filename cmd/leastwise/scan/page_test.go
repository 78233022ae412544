package scan

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/html"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// small is a Vault log of three tokens: one lives long and is refused, one is short and ended, one was issued before the
// log begins.
func small(name string) string {
	plain, _ := json.Marshal(name)
	name = strings.Trim(string(plain), `"`) // as it stands within a JSON string
	line := func(at, request, operation, path, accessor, more string) string {
		return fmt.Sprintf(`{"type":"response","time":"2026-09-01T%s:00Z","auth":{"accessor":"%s","policy_results":{"allowed":%t}},"request":{"id":"%s","operation":"%s","path":"%s","client_token_accessor":"%s"}%s}`,
			at, accessor, !strings.Contains(more, "denied"), request, operation, path, accessor, more) + "\n"
	}
	made := func(accessor string, seconds int) string {
		return fmt.Sprintf(`,"response":{"auth":{"accessor":"%s","policies":["default"],"token_ttl":%d,"token_type":"service"}}`, accessor, seconds)
	}
	return line("06:00", "r1", "update", "auth/token/create", "parent", made(name, 90*24*3600)) +
		line("06:05", "r2", "update", "auth/token/create", "parent", made("short", 600)) +
		line("07:00", "r3", "read", "secret/data/"+name, name, `,"response":{}`) +
		line("08:00", "r4", "update", "sys/policies/acl/"+name, name, `,"error":"permission denied"`) +
		line("09:00", "r5", "read", "secret/data/b", "parent", `,"response":{}`)
}

// reported scans a log with a policy that its long-lived token violates.
func reported(t *testing.T, log string, hold limits) *Report {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"audit.log": log, "policies/long.yaml": `policy_id: "long-lived"
description: "A token lives longer than a day."
rationale: "What lives long is stolen once and used for long."
metrics:
  - {name: "lifetime", source: "any", threshold: "1d", condition: "greater_than"}
action:
  - {severity: "high", channel: "team", remediation_hint: "Ask for an hour, and renew."}
`} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(t.Context(), Options{Paths: []string{"audit.log"}, Policies: "policies", Places: true, hold: hold,
		AsOf: time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC), Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(report.Close)
	return report
}

func golden(t *testing.T, dir, name string, got []byte) {
	t.Helper()
	path := filepath.Join(dir, "testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (look, then go test -run %s -rewrite): %s", name, t.Name(), firstDifference(string(got), string(want)))
	}
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestThePageAndSARIFSayWhatStandsWhere(t *testing.T) {
	dir := here(t)
	report := reported(t, small("long"), limits{})
	var page, sarif bytes.Buffer
	if err := report.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := report.SARIF(&sarif, "1.0"); err != nil {
		t.Fatal(err)
	}
	golden(t, dir, "page.golden.html", page.Bytes())
	golden(t, dir, "sarif.golden.json", sarif.Bytes())
	for _, want := range []string{"audit.log:1", "audit.log:4"} { // issued, refused
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not point to %s", want)
		}
	}
}

func sarifOf(t *testing.T, r *Report) (document any, text string) {
	t.Helper()
	var out bytes.Buffer
	if err := r.SARIF(&out, "1.0"); err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return document, out.String()
}

func TestSARIFIsValidByItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	files := history(t)
	everything, err := Run(t.Context(), Options{Paths: append(files, recorded+"agentusage/testdata/usage.jsonl", recorded+"cloudtrail/testdata/trail.json"),
		Policies: "../../../examples/policies", Catalog: "../../../examples/catalog.yaml", Places: true, Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer everything.Close()
	if everything.findings.n == 0 || len(everything.summary.usage.found) == 0 {
		t.Fatal("the history shows nothing, so nothing is checked")
	}
	nothing, err := Run(t.Context(), Options{Paths: files[:1], Places: true, Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	for _, r := range []*Report{everything, nothing, reported(t, small(hostile), limits{})} {
		document, _ := sarifOf(t, r)
		if err := schema.Validate(document); err != nil {
			t.Error(err)
		}
	}
}

// What is known of a finding changes from run to run, and its line moves; it is the same finding.
func TestFingerprintsStayWhenTheLogMoves(t *testing.T) {
	prints := func(log string) string {
		_, text := sarifOf(t, reported(t, log, limits{}))
		return strings.Join(regexp.MustCompile(`"leastwiseFinding/v1":"[0-9a-f]{32}"`).FindAllString(text, -1), "\n")
	}
	before := prints(small("long"))
	if before == "" {
		t.Fatal("no fingerprint")
	}
	after := prints("\n\n" + small("long"))
	if before != after {
		t.Errorf("fingerprints changed:\n%s\n%s", before, after)
	}
	if other := prints(small("other")); other == before {
		t.Error("another credential has the same fingerprint")
	}
}

func TestPlacesAreTheSameWhetherTheReportFitsInMemoryOrNot(t *testing.T) {
	_, want := sarifOf(t, reported(t, small("long"), limits{}))
	_, got := sarifOf(t, reported(t, small("long"), little))
	if got != want {
		t.Error(firstDifference(got, want))
	}
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}'javascript:alert(3)` + "\u202e\x1b[31m</style></svg>"

// Agents choose what stands in logs.
func TestHostileTextIsTextOnThePage(t *testing.T) {
	var page bytes.Buffer
	report := reported(t, small(hostile), limits{})
	if err := report.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "alert(1)") {
		t.Fatal("the hostile text is not on the page, so nothing is checked")
	}
	if strings.ContainsAny(page.String(), "\u202e\x1b") {
		t.Error("text that turns the reading direction, or a terminal's colour, is on the page")
	}
	tokens := html.NewTokenizer(&page)
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			if !allowed[token.Data] {
				t.Errorf("the page has an element %s", token.String())
			}
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "href" || a.Key == "src" || a.Key == "style" && strings.Contains(a.Val, "alert") {
					t.Errorf("the page has %s=%q on %s", a.Key, a.Val, token.Data)
				}
			}
		}
	}
}

// allowed are the elements of the page.
var allowed = func() map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields("html head meta title style body svg defs pattern circle rect line text header h1 h2 h3 p ul ol li b " +
		"section div span article code table thead tbody tr th td") {
		out[name] = true
	}
	return out
}()

func TestThePageShowsTheFirstOfMany(t *testing.T) {
	var log strings.Builder
	for i := range 100 {
		fmt.Fprintf(&log, `{"type":"response","time":"2026-09-01T06:00:00Z","auth":{"accessor":"p","policy_results":{"allowed":true}},"request":{"id":"m%d","operation":"update",`+
			`"path":"auth/token/create","client_token_accessor":"p"},"response":{"auth":{"accessor":"t%03d","policies":["default"],"token_ttl":900000,"token_type":"service"}}}`+"\n", i, i)
	}
	report := reported(t, log.String(), limits{})
	var page bytes.Buffer
	if err := report.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(page.String(), "<article>"); got != findingsShown {
		t.Errorf("%d findings are shown, want %d", got, findingsShown)
	}
	for _, want := range []string{"and 80 more of the same owner", "and 71 more, nearer to policy"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	document, _ := sarifOf(t, report)
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), `"leastwiseFinding/v1"`); got != 100 {
		t.Errorf("SARIF holds %d results, want all 100", got)
	}
}
