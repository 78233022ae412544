package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const recorded = "../../../collectors/"

// usageTold scans and gives the credentials with what is said of their use, and the text report.
func usageTold(t *testing.T, paths ...string) (report struct {
	Credentials []Credential `json:"credentials"`
	UnnamedUse  []UnnamedUse `json:"unnamed_use"`
}, text string) {
	t.Helper()
	r, err := Run(t.Context(), Options{Paths: paths, Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var asJSON, asText bytes.Buffer
	if err := r.JSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if err := r.Text(&asText); err != nil {
		t.Fatal(err)
	}
	return report, asText.String()
}

// judged gives a credential's verdicts, an unknown one with what it is about.
func judged(c Credential) string {
	var out []string
	if c.Usage == nil {
		return ""
	}
	for _, f := range c.Usage.Findings {
		verdict := f.Verdict
		if f.Verdict != f.About {
			verdict = "?" + f.About
		}
		out = append(out, verdict+":"+f.Reason)
	}
	return strings.Join(out, " ")
}

// Two people's sessions of one role called a model through an application's profile; it was answered on other continents.
func TestTheRecordedBedrockCallsAreToldByRoleSessionAndRegion(t *testing.T) {
	report, text := usageTold(t, recorded+"agentusage/testdata/bedrock.ndjson")
	if len(report.Credentials) != 0 || len(report.UnnamedUse) != 1 {
		t.Fatalf("%+v", report)
	}
	u := report.UnnamedUse[0]
	if u.Holder != "arn:aws:iam::387769110234:role/bedrock-inference-role" || u.Calls != 2 || u.Denied != 0 ||
		!slices.Equal(u.Sessions, []string{"ak@foo.com", "vg@foo.com"}) || !slices.Equal(u.Elsewhere, []string{"eu-north-1", "us-east-2"}) {
		t.Errorf("%+v", u)
	}
	for _, want := range []string{u.Holder + "  2 calls", "ak@foo.com, vg@foo.com", "eu-north-1, us-east-2: not where the calls were made", "what to do"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "shadow") { // it stands in a prompt
		t.Error("a prompt is shown")
	}
}

// agents writes what they say of credentials, one call a second.
type agents struct{ lines strings.Builder }

func (a *agents) say(kind, id, outcome string, calls int, at time.Time) {
	for n := range calls {
		fmt.Fprintf(&a.lines, `{"agent_usage":1,"id":"%s-%s-%d-%d","time":%d,"agent_id":"agent-7","credential_kind":%q,"credential_id":%q,"action":"read","permission":"read secret/data/a","outcome":%q}`+"\n",
			id, outcome, at.Unix(), n, at.Unix()+int64(n), kind, id, outcome)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A registry of forty days, a token a day; agents use two of them, one that nobody issued, and one after its end.
func TestATokenThatOnlyAgentsNameIsFound(t *testing.T) {
	dir := t.TempDir()
	first := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	at := func(day int, after time.Duration) time.Time {
		return first.Add(time.Duration(day)*24*time.Hour + after)
	}
	var registry strings.Builder
	for day := range 41 {
		issued := at(day, 0).Unix()
		fmt.Fprintf(&registry, `{"version":1,"event":"issued","id":"r-%d","jti":"t-%d","iss":"https://issuer.example.org","sub":"u","scope":"read","iat":%d,"exp":%d}`+"\n",
			day, day, issued, issued+7200)
	}
	var a agents
	a.say("jti", "t-38", "success", 3, at(38, time.Minute))
	a.say("jti", "t-39", "success", 1, at(39, 3*time.Hour))
	a.say("jti", "forged", "success", 2, at(39, time.Hour))
	a.say("jti", "early", "success", 2, at(3, time.Hour))
	a.say("jti", "t-40", "success", 1, at(40, 0))
	write(t, dir, "registry.jsonl", registry.String())
	write(t, dir, "agents.jsonl", a.lines.String())
	report, text := usageTold(t, dir)
	want := map[string]string{"t-38": "", "t-39": "usage_contradiction:reported_after_end", "forged": "used_but_unissued:no_issuance",
		"t-37": "?issued_but_unused:no_source_tells_of_use", "t-40": ""}
	for _, c := range report.Credentials {
		name := c.Key[strings.LastIndexByte(c.Key, '/')+1:]
		if verdict, ok := want[name]; ok && judged(c) != verdict {
			t.Errorf("%s: %q, want %q", name, judged(c), verdict)
		}
		delete(want, name)
		switch name {
		case "t-38":
			if r := c.Usage.Reported; r.Uses != 3 || c.Uses != 0 || !r.FirstAt.Equal(at(38, time.Minute)) || !slices.Equal(r.Sources, []string{"agentusage/default"}) {
				t.Errorf("%+v", r)
			}
		case "early": // the registry was read for three days, and a token may live for a month
			if got := judged(c); got != "" {
				t.Errorf("early, out of the window: %q", got)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not in the report: %v", want)
	}
	unissued, ended, unknown := strings.Index(text, "jwtregistry/default/jwt/forged"), strings.Index(text, "jwtregistry/default/jwt/t-39"),
		strings.Index(text, "USAGE NOT KNOWN")
	if unissued < 0 || ended < unissued || unknown < ended || !strings.Contains(text, "Treat it as forged") {
		t.Errorf("not worst first:\n%s", text)
	}
}

// A real Vault's log, and agents that tell the truth, too much, and of a token that Vault never saw.
func TestAgentsAreComparedWithARecordedVaultLog(t *testing.T) {
	dir := t.TempDir()
	log, err := os.ReadFile(recorded + "vault/testdata/recorded/audit.log")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "audit.log", string(log))
	alone, _ := usageTold(t, dir)
	var honest, boasting *Credential
	for i := range alone.Credentials {
		c := &alone.Credentials[i]
		if c.Type != "token" || c.Uses == 0 || c.IssuedAt == nil || c.LastUsedAt == nil {
			continue
		}
		if honest == nil {
			honest = c
		} else {
			boasting = c
		}
	}
	if boasting == nil {
		t.Fatal("the recording has fewer than two tokens in use")
	}
	id := func(c *Credential) string { return strings.TrimPrefix(c.Key, "vault/default/token/") }
	var a agents
	a.say("vault_accessor", id(honest), "success", int(honest.Uses), *honest.LastUsedAt)
	a.say("vault_accessor", id(boasting), "success", int(boasting.Uses)+60, boasting.LastUsedAt.Add(-time.Minute))
	late := boasting.LastUsedAt.Add(6 * time.Minute) // the log had begun for long
	a.say("vault_accessor", "hmac-sha256:nobody-knows-it", "success", 1, late)
	a.say("vault_accessor", "Z8u0dmPl9cUnCiCz1x9vQ2aT", "success", 1, late) // which the log would hash
	write(t, dir, "agents.jsonl", a.lines.String())
	report, _ := usageTold(t, dir)
	got := map[string]string{}
	for _, c := range report.Credentials {
		got[c.Key] = judged(c)
	}
	for key, want := range map[string]string{honest.Key: "", boasting.Key: "usage_contradiction:more_reported_than_logged",
		"vault/default/token/hmac-sha256:nobody-knows-it": "?used_but_unissued:history_too_short usage_contradiction:reported_but_not_in_issuers_log",
		"vault/default/token/Z8u0dmPl9cUnCiCz1x9vQ2aT":    "?used_but_unissued:ids_not_comparable ?usage_contradiction:ids_not_comparable"} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
}
