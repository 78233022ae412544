package rego

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// example is the policy form of the field, as it is written there.
const example = `# Example Alerting Policy (YAML)
policy_id: "ephemeral-agent-token"
description: "Alert on agent tokens exceeding expected parameters."
metrics:
  - name: "credential_age"
    source: "vault"
    threshold: "1h"
    condition: "greater_than"
  - name: "permission_scope_complexity"
    source: "iam"
    threshold: "5"
    condition: "greater_than" # More than 5 distinct permissions
action:
  - severity: "high"
    channel: "security_team"
    remediation_hint: "Rotate token; review agent task definition for necessary scope reduction."
`

func TestExampleOfTheFieldLoadsAsItIs(t *testing.T) {
	policies, err := ParsePolicies("example.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p := policies[0]
	if p.ID != "ephemeral-agent-token" || p.MatchAll || p.Line != 2 || len(p.Metrics) != 2 || len(p.Actions) != 1 {
		t.Errorf("%+v", p)
	}
	if m := p.Metrics[0]; m.Metric != CredentialAge || m.Value != 3600 || m.Condition != GreaterThan || m.Source != "vault" {
		t.Errorf("%+v", m)
	}
	if m := p.Metrics[1]; m.Metric != ScopeComplexity || m.Value != 5 || m.Source != "iam" {
		t.Errorf("%+v", m)
	}
	if e := p.Enforcement; e.Mode != Observe || e.Grace != 24*time.Hour || e.Revoke || e.Reissue {
		t.Errorf("a policy without enforcement does more than observe: %+v", e)
	}
}

func TestOptionalKeys(t *testing.T) {
	policies, err := ParsePolicies("p.yaml", []byte(example+`rationale: "Because."
match: any
applies_to:
  types: [token]
  sources: [vault]
  identities: ["vault/*/entity/*", "ingest-*"]
  owners: payments
  policies: ["*-write"]
  labels: {role_name: "in*", shard: 7}
enforcement:
  mode: enforce
  grace: "1h30m"
  remind: ["10m", "1h", "10m"]
  reissue: true
  revoke_untold: "Incident response decided so in writing."
  approval: true
exception: {max_duration: 30d, approvers: ["security"]}
---
policy_id: second
metrics: [{name: utilization_ratio, source: any, threshold: 0.1, condition: less_than}]
action: [{severity: low}]
enforcement: {mode: enforce, revoke: false}
`))
	if err != nil {
		t.Fatal(err)
	}
	e := policies[0].Enforcement
	if e.Mode != Enforce || e.Grace != 90*time.Minute || !e.Revoke || !e.Reissue || !e.Approval || e.RevokeUntold == "" {
		t.Errorf("%+v", e)
	}
	if fmt.Sprint(e.Remind) != "[1h0m0s 10m0s]" {
		t.Errorf("reminders %v; expected each once, the earliest first", e.Remind)
	}
	if x := policies[0].Exception; x.MaxDuration != 30*24*time.Hour || x.Approvers[0] != "security" {
		t.Errorf("%+v", x)
	}
	if !policies[0].AppliesTo.Labels["shard"].Match("7") {
		t.Error("a number as a label is not matched as it is written")
	}
	if second := policies[1]; second.Metrics[0].Value != 0.1 || second.Enforcement.Revoke {
		t.Errorf("%+v", second)
	}
}

func TestBadPoliciesAreRefusedWithLineKeyAndWhatWasExpected(t *testing.T) {
	swap := func(old, with string) string { return strings.Replace(example, old, with, 1) }
	for name, c := range map[string]struct {
		text string
		line int
		says []string
	}{
		"condition":                {swap(`"greater_than"`, `"bigger"`), 8, []string{`"condition"`, `"bigger"`, "greater_or_equal"}},
		"metric":                   {swap("credential_age", "credential_rage"), 5, []string{`"name"`, "credential_rage", "credential_age"}},
		"threshold in words":       {swap(`"1h"`, `"one hour"`), 7, []string{`"threshold"`, "one hour", "15m"}},
		"threshold without a unit": {swap(`"1h"`, `"3600"`), 7, []string{`"threshold"`, "duration"}},
		"threshold of wrong unit":  {swap(`"5"`, `"5m"`), 11, []string{`"threshold"`, "number"}},
		"negative threshold":       {swap(`"5"`, `"-5"`), 11, []string{"number"}},
		"percent of a count":       {swap(`"5"`, `"5%"`), 11, []string{"number"}},
		"empty threshold":          {swap(`"5"`, ``), 11, []string{"empty"}},
		"threshold is a list":      {swap(`"5"`, `[5]`), 11, []string{"list"}},
		"infinite threshold":       {swap(`"5"`, `.inf`), 11, []string{"number"}},
		"unknown key":              {swap("description:", "desciption:"), 3, []string{`"desciption"`, "unknown", "description"}},
		"key given twice":          {swap("description:", "policy_id:"), 3, nil},
		"unknown key of a metric":  {swap(`    source: "vault"`, `    from: "vault"`), 6, []string{`"from"`, "source"}},
		"source":                   {swap(`"vault"`, `"vualt"`), 6, []string{"vualt", "spire"}},
		"severity":                 {swap(`"high"`, `"hihg"`), 14, []string{"hihg", "critical"}},
		"no metrics":               {"policy_id: p\naction: [{severity: low}]\n", 1, []string{`"metrics" is missing`}},
		"empty metrics":            {"policy_id: p\nmetrics: []\naction: [{severity: low}]\n", 2, []string{"at least one"}},
		"metrics is a mapping":     {"policy_id: p\nmetrics: {name: x}\naction: [{severity: low}]\n", 2, []string{"list"}},
		"missing condition":        {swap("    condition: \"greater_than\"\n", ""), 5, []string{"condition is missing"}},
		"id with spaces":           {swap(`"ephemeral-agent-token"`, `"Ephemeral Token"`), 2, []string{"lower-case"}},
		"id is a number":           {swap(`"ephemeral-agent-token"`, `5`), 2, []string{"text in quotes"}},
		"indentation":              {swap(`  - name: "perm`, `   - name: "perm`), 0, []string{"not YAML"}},
		"a list at the top":        {"- policy_id: p\n", 1, []string{"mapping"}},
		"a text at the top":        {"hello\n", 1, []string{"mapping"}},
		"empty file":               {"", 1, []string{"at least one policy"}},
		"only a comment":           {"# nothing\n", 1, []string{"at least one policy"}},
		"NUL byte":                 {swap("Alert on", "Al\x00ert"), 3, []string{"UTF-8"}},
		"invalid UTF-8":            {swap("Alert on", "Al\xffert"), 3, []string{"UTF-8"}},
		"tab in a key":             {swap("description", "descrip\ttion"), 3, []string{"tab"}},
		"anchor":                   {swap(`"vault"`, `&a "vault"`), 6, []string{"anchor"}},
		"tag":                      {swap(`"vault"`, `!!str "vault"`), 6, []string{"tag"}},
		"deep nesting":             {swap(`"vault"`, strings.Repeat("[", 100_000)), 6, []string{"nested too deep"}},
		"mode":                     {example + "enforcement: {mode: kill}\n", 17, []string{"kill", "observe, notify, enforce"}},
		"revoke as text":           {example + "enforcement: {mode: enforce, revoke: \"yes\"}\n", 17, []string{"true or false"}},
		"grace":                    {example + "enforcement:\n  mode: enforce\n  grace: soon\n", 19, []string{`"grace"`, "soon"}},
		"reminder before notice":   {example + "enforcement: {mode: enforce, grace: 1h, remind: [2h]}\n", 17, []string{"less than the grace period of 1h"}},
		"untold without a reason":  {example + "enforcement: {mode: enforce, revoke_untold: yes}\n", 17, []string{"reason in words"}},
		"reissue without revoke":   {example + "enforcement: {mode: enforce, revoke: false, reissue: true}\n", 17, []string{"revoke: true"}},
		"bad pattern":              {example + "applies_to: {owners: [\"[a\"]}\n", 17, []string{"pattern"}},
		"no pattern":               {example + "applies_to: {owners: []}\n", 17, []string{"at least one"}},
		"applies to any source":    {example + "applies_to: {sources: [any]}\n", 17, []string{"no source"}},
		"all of disjoint sources":  {example + "match: all\n", 17, []string{"sources in common"}},
		"clock stands still":       {swap(`"greater_than"`, `"equals"`), 8, []string{"moves with the clock"}},
		"long text":                {strings.Repeat("#", 2<<20), 1, []string{"bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePolicies("dir/example.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			where := "dir/example.yaml:"
			if c.line > 0 {
				where += fmt.Sprint(c.line) + ":"
			}
			if !strings.Contains(err.Error(), where) {
				t.Errorf("%v\ndoes not name %s", err, where)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v\ndoes not say %s", err, text)
				}
			}
		})
	}
}

func TestThresholdsThatHoldForEverythingOrNothingAreRefused(t *testing.T) {
	for _, c := range []struct {
		metric, threshold, condition string
		ok                           bool
	}{
		{"novelty", "0", "greater_or_equal", false}, {"novelty", "0", "less_than", false}, {"novelty", "0", "greater_than", true},
		{"credential_age", "0s", "greater_or_equal", false}, {"remaining_validity", "0s", "less_or_equal", true},
		{"unused_permission_ratio", "100%", "greater_than", false}, {"unused_permission_ratio", "100%", "greater_or_equal", true},
		{"unused_permission_ratio", "120%", "greater_than", false}, {"utilization_ratio", "150%", "greater_than", true},
		{"unresolved_identity", "true", "equals", true}, {"unresolved_identity", "maybe", "equals", false},
		{"unresolved_identity", "true", "greater_than", false}, {"unused_permission_ratio", "1", "less_or_equal", false},
	} {
		text := fmt.Sprintf("policy_id: p\nmetrics: [{name: %s, source: any, threshold: %s, condition: %s}]\naction: [{severity: low}]\n",
			c.metric, c.threshold, c.condition)
		_, err := ParsePolicies("p.yaml", []byte(text))
		if (err == nil) != c.ok {
			t.Errorf("%s %s %s: %v", c.metric, c.condition, c.threshold, err)
		}
	}
}

func TestAllProblemsOfAFileAreToldInTheOrderOfTheirLines(t *testing.T) {
	text := strings.NewReplacer("credential_age", "credential_rage", `"5"`, `"five"`, `"high"`, `"hihg"`).Replace(example)
	_, err := ParsePolicies("p.yaml", []byte(text))
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "p.yaml:5:") || !strings.HasPrefix(lines[1], "p.yaml:11:") ||
		!strings.HasPrefix(lines[2], "p.yaml:14:") {
		t.Errorf("%v", err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "1h": time.Hour, "30d": 720 * time.Hour, "500ms": 500 * time.Millisecond,
		"2w": 336 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "0s": 0, "1m500ms": 60500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; expected %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "h", "1", "1 h", "-1h", "+1h", "1y", "1h1h", "1m1h", "1..5h", "1e3s", "999999999999d", "1h ", "١h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q gives %v; expected an error", text, got)
		}
	}
}

func TestValuesReadAsAPersonReadsThem(t *testing.T) {
	for _, c := range []struct {
		metric Metric
		value  float64
		want   string
	}{
		{CredentialAge, 7384, "2h3m"}, {CredentialAge, 45, "45s"}, {CredentialAge, 0.5, "500ms"}, {CredentialAge, 1.25, "1.25s"},
		{CredentialAge, 30*86400 + 4*3600 + 59, "30d4h"}, {CredentialAge, 86400 + 60, "1d"}, {CredentialAge, 0, "0s"},
		{Lifetime, inf(unbounded), "never ends"}, {RemainingValidity, -60, "-1m"}, {ScopeComplexity, 7, "7"}, {ScopeWeight, 7.256, "7.26"},
		{UnusedPermissionRatio, 0.8, "80%"}, {UtilizationRatio, 1.255, "125.5%"}, {UnresolvedIdentity, 1, "yes"}, {UsedButUnissued, 0, "no"},
		{UtilizationRatio, inf(unbounded), "unbounded"},
	} {
		if got := Format(c.metric, c.value); got != c.want {
			t.Errorf("%s %v: %q; expected %q", c.metric, c.value, got, c.want)
		}
	}
}

// Whatever the file holds, it is either refused with its name and a line or gives policies that a set can be made of.
func FuzzParsePolicies(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(example + "enforcement: {mode: enforce, grace: 1h, remind: [10m]}\n---\n" + example))
	f.Add([]byte("policy_id: p\nmetrics: [{name: novelty, source: any, threshold: 1, condition: equals}]\naction: [{severity: low}]\n"))
	f.Add([]byte("a: &a [*a]\n? {b: c}\n: d\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, err := ParsePolicies("fuzz.yaml", data)
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.yaml:") {
				t.Fatalf("error names no place: %v", err)
			}
			return
		}
		if len(policies) == 0 {
			t.Fatal("neither policies nor an error")
		}
		for i := range policies {
			p := &policies[i]
			if p.ID == "" || len(p.Metrics) == 0 || len(p.Actions) == 0 {
				t.Fatalf("incomplete: %+v", p)
			}
			policyValue(p, p.thresholds())
		}
	})
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := dir + "/" + name
		if i := strings.LastIndexByte(path, '/'); i > 0 {
			if err := os.MkdirAll(path[:i], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
