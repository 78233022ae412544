package rego

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

const nightTest = `package leastwise.test.night

import data.leastwise.custom.night
import data.leastwise.decision

test_batch_at_length if {
	count(night.violations) == 1 with input as {"subject": {"labels": {"role_name": "batch"}}, "values": {"credential_age": 61}}
}

test_through_the_bundle if {
	result := decision.decision with input as {
		"subject": {"labels": {"role_name": "batch"}},
		"values": {"credential_age": 61},
		"policies": [],
	}
	result.ladder.mode == "enforce"
}
`

const cases = `name: "old token"
subject: {type: token, source: vault, owner: payments, policies: [ingest], labels: {role_name: ingest}}
values: {credential_age: "2h", lifetime: "never"}
violates: [ephemeral-agent-token]
mode: observe
---
name: "young token"
subject: {type: token, source: vault}
values: {credential_age: "59m"}
violates: []
`

func TestPolicyDirectoryTestsRunAndCount(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": example, "night.rego": nightly, "night_test.rego": nightTest, "tests/tokens.yaml": cases})
	var out bytes.Buffer
	if err := TestDir(context.Background(), dir, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "1 policies, 1 in Rego") || !strings.HasSuffix(out.String(), "4 passed, 0 failed\n") {
		t.Error(out.String())
	}
}

func TestFailingPolicyTestsAreNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": example, "night.rego": nightly,
		"night_test.rego":   strings.Replace(nightTest, "61}}", "59}}", 1),
		"tests/tokens.yaml": strings.Replace(strings.Replace(cases, `"2h"`, `"1h"`, 1), `"59m"`, `"61m"`, 1)})
	var out bytes.Buffer
	err := TestDir(context.Background(), dir, &out)
	if !errors.Is(err, ErrTestsFailed) {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, text := range []string{"night_test.rego:6 ", "test_batch_at_length", "tokens.yaml:1 old token: violates []; expected [ephemeral-agent-token]",
		"tokens.yaml:7 young token: violates [ephemeral-agent-token]; expected []", "1 passed, 3 failed"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%s\ndoes not say %q", out.String(), text)
		}
	}
}

func TestBadTestCasesAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		strings.Replace(cases, "violates: []\n", "", 1):         "tokens.yaml:7: violates is missing",
		strings.Replace(cases, "credential_age", "age", 1):      `tokens.yaml:3: key "age": unknown`,
		strings.Replace(cases, `"2h"`, "7200", 1):               `tokens.yaml:3: key "credential_age"`,
		strings.Replace(cases, "owner: payments", "team: x", 1): `tokens.yaml:2: key "team"`,
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.yaml": example, "tests/tokens.yaml": text})
		if err := TestDir(context.Background(), dir, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v\ndoes not say %q", err, says)
		}
	}
}

func TestExplainShowsEveryMetricAndTheConsequence(t *testing.T) {
	set := load(t, map[string]string{"a.yaml": strings.Replace(example, `"iam"`, "any", 1) + `enforcement:
  {mode: enforce, grace: 2h, remind: [30m], reissue: true}
applies_to: {types: [token]}
`, "b.yaml": strings.Replace(example, "ephemeral", "other", 1) + "applies_to: {types: [lease]}\n"})
	var v Values
	v.Set(CredentialAge, 7384)
	var out bytes.Buffer
	sub := &Subject{Credential: "vault/default/token/abc", Type: "token", Source: "vault"}
	if err := Explain(context.Background(), set, sub, &v, &out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"credential vault/default/token/abc (token of vault)", "revision " + set.Revision() + ", 2 loaded",
		"ephemeral-agent-token  VIOLATED  (any of, mode enforce,", "a.yaml:2)",
		"credential_age               2h3m     greater than 1h  true",
		"permission_scope_complexity  unknown  greater than 5   unknown",
		"do not apply: other-agent-token",
		"the owner would be told, and 2h later the credential revoked; a reminder 30m before; then one with the scope that was used is issued",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%s\ndoes not say %q", out.String(), text)
		}
	}
	v.Set(CredentialAge, 1)
	out.Reset()
	if err := Explain(context.Background(), set, sub, &v, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "nothing would be done") || strings.Contains(out.String(), "VIOLATED") {
		t.Error(out.String())
	}
}
