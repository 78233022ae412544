package rego

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const nightly = `# METADATA
# title: Night work
# scope: package
# schemas:
#   - input: schema.decision_input
# custom:
#   leastwise:
#     ask_every: 1m
package leastwise.custom.night

violations contains {
	"severity": "high",
	"channel": "ops",
	"metric": "credential_age",
	"value": "long",
	"hint": "Why is it used at night?",
	"enforcement": {"mode": "enforce", "grace_ms": 60000, "asks": {"revoke": true}},
} if {
	input.subject.labels.role_name == "batch"
	input.values.credential_age > 60
}
`

func TestFreeFormRegoDecidesBesideTheYAML(t *testing.T) {
	set := load(t, map[string]string{"example.yaml": example, "night.rego": nightly})
	if set.AskEvery() != time.Minute {
		t.Errorf("asks every %v", set.AskEvery())
	}
	var v Values
	v.Set(CredentialAge, 100)
	batch := &Subject{Source: "vault", Labels: map[string]string{"role_name": "batch"}}
	r := evaluate(t, set, batch, &v)
	if len(r.Violations) != 1 || r.Violations[0].PolicyId != "night" || r.Violations[0].Reason != "rego" || r.Violations[0].Value != "long" {
		t.Fatalf("%v", r.Violations)
	}
	if l := r.Ladder; l.Mode != leastwisev1.Ladder_ENFORCE || !l.Revoke || l.RevokeUntold || l.GraceMs != 60000 {
		t.Errorf("%v", l)
	}
	v.Set(CredentialAge, 7200)
	if r := evaluate(t, set, batch, &v); !slices.Equal(violated(&r), []string{"ephemeral-agent-token", "night"}) {
		t.Errorf("%v", r.Violations)
	}
	if r := evaluate(t, set, &Subject{Source: "vault"}, &v); !slices.Equal(violated(&r), []string{"ephemeral-agent-token"}) {
		t.Errorf("%v", r.Violations)
	}
	now := time.Unix(1000, 0)
	if next := set.Index(batch).NextCrossing(&v, now); next != now.Add(time.Minute) {
		t.Errorf("asked again at %v; expected a minute later", next)
	}
}

func TestBadFreeFormRegoIsRefusedWithFileAndLine(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		says       []string
	}{
		"syntax":           {"a.rego", strings.Replace(nightly, "contains {", "contains {{{", 1), []string{"a.rego:", "rego_parse_error"}},
		"foreign package":  {"a.rego", strings.Replace(nightly, "leastwise.custom.night", "leastwise.decision", 1), []string{"a.rego:9:", "leastwise.custom.<name>"}},
		"no ask_every":     {"a.rego", strings.Replace(nightly, "#     ask_every: 1m", "#     other: 1m", 1), []string{"a.rego:9:", "ask_every"}},
		"bad ask_every":    {"a.rego", strings.Replace(nightly, "ask_every: 1m", "ask_every: soon", 1), []string{"a.rego:9:", "soon", "15m"}},
		"too often":        {"a.rego", strings.Replace(nightly, "ask_every: 1m", "ask_every: 1ms", 1), []string{"at least"}},
		"no violations":    {"a.rego", strings.Replace(nightly, "violations contains", "findings contains", 1), []string{"a.rego:9:", "violations"}},
		"misspelled input": {"a.rego", strings.Replace(nightly, "input.values.", "input.valeus.", 1), []string{"a.rego:20:", "rego_type_error"}},
		"the network":      {"a.rego", strings.Replace(nightly, "input.values.credential_age > 60", `http.send({"method": "get", "url": "http://127.0.0.1"})`, 1), []string{"a.rego:20:", "http.send"}},
		"the clock":        {"a.rego", strings.Replace(nightly, "input.values.credential_age > 60", "time.now_ns() > 60", 1), []string{"a.rego:20:", "time.now_ns"}},
		"environment":      {"a.rego", strings.Replace(nightly, "input.values.credential_age > 60", "opa.runtime().env.HOME", 1), []string{"a.rego:20:", "opa.runtime"}},
		"unused variable":  {"a.rego", strings.Replace(nightly, "input.values.credential_age > 60", "x := 1", 1), []string{"a.rego:20:", "unused"}},
		"duplicate id":     {"z.yaml", example, []string{"z.yaml:2:", "example.yaml:2", "ephemeral-agent-token"}},
		"bad YAML beside":  {"z.yaml", strings.Replace(example, "1h", "1x", 1), []string{"z.yaml:7:", "1x"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"example.yaml": example, c.file: c.text})
			_, err := New(context.Background(), Options{PolicyDir: dir})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v\ndoes not say %s", err, text)
				}
			}
		})
	}
}

func TestFailingFreeFormRegoGivesAnErrorAndNoDecision(t *testing.T) {
	for name, with := range map[string]string{
		"unknown severity":    strings.Replace(nightly, `"high"`, `"hihg"`, 1),
		"unknown mode":        strings.Replace(nightly, `"enforce"`, `"kill"`, 1),
		"failing builtin":     strings.Replace(nightly, "input.values.credential_age > 60", `to_number(input.subject.labels.role_name) > 1`, 1),
		"violation is a text": "# METADATA\n# scope: package\n# custom: {leastwise: {ask_every: 1m}}\npackage leastwise.custom.night\n\nviolations contains \"x\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			set := load(t, map[string]string{"night.rego": with})
			var v Values
			v.Set(CredentialAge, 100)
			_, err := set.Evaluate(context.Background(), &Subject{Labels: map[string]string{"role_name": "batch"}}, &v)
			if !errors.Is(err, ErrEvaluation) {
				t.Errorf("%v; expected ErrEvaluation", err)
			}
		})
	}
}
