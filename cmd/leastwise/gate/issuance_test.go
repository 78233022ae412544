package gate

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/rego"
)

const issuancePolicies = `policy_id: "long"
description: "Lives for longer than its task."
metrics:
  - {name: "lifetime", source: "any", threshold: "1h", condition: "greater_than"}
action:
  - {severity: "high", channel: "security", remediation_hint: "An hour is enough."}
enforcement: {mode: enforce}
---
policy_id: "broad"
description: "More than one agent needs."
metrics:
  - {name: "permission_scope_complexity", source: "any", threshold: "3", condition: "greater_than"}
action:
  - {severity: "medium", channel: "security", remediation_hint: "Name the paths."}
enforcement: {mode: enforce}
---
policy_id: "nobodys"
description: "Nobody answers for it."
metrics:
  - {name: "unresolved_identity", source: "any", threshold: "true", condition: "equals"}
action:
  - {severity: "high", channel: "security", remediation_hint: "Add it to the catalog."}
enforcement: {mode: enforce}
---
policy_id: "long-and-broad"
description: "Both."
match: all
metrics:
  - {name: "lifetime", source: "any", threshold: "1m", condition: "greater_than"}
  - {name: "permission_scope_complexity", source: "any", threshold: "2", condition: "greater_than"}
action:
  - {severity: "medium", channel: "security", remediation_hint: "One of them."}
enforcement: {mode: enforce}
`

func issuanceGate(t *testing.T, exceptions string) *Gate {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "p.yaml", issuancePolicies)
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(withoutMover(), "      - agent_id: uuid-of-ingest\n", "      - agent_id: uuid-of-ingest\n      - vault_role: {mount: auth/approle, role: ingest}\n", 1)
	opts := Options{Catalog: LoadCatalog(writeFile(t, dir, "catalog.txt", text)), Rules: engine.Current, Now: func() time.Time { return now }}
	if err := opts.Catalog.Problem(); err != nil {
		t.Fatal(err)
	}
	if exceptions != "" {
		x, err := LoadExceptions(writeFile(t, t.TempDir(), "exceptions.yaml", exceptions))
		if err != nil {
			t.Fatal(err)
		}
		opts.Exceptions = x.InForce
	}
	return New(opts)
}

func rulings(t *testing.T, g *Gate, files ...string) map[string]*Ruling {
	t.Helper()
	report, err := g.Check(t.Context(), files, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, all := map[string]*Ruling{}, true
	for _, r := range report.Issuances {
		out[r.Name] = r
		all = all && r.Allowed
	}
	if report.Allowed != all {
		t.Errorf("the report says allowed %v, its rulings %v", report.Allowed, all)
	}
	var b bytes.Buffer
	if err := report.Text(&b); err != nil || strings.Contains(b.String(), "CANARY") {
		t.Errorf("%v\n%s", err, b.String())
	}
	return out
}

func TestPlansAndRegistrationsMeetTheSamePolicies(t *testing.T) {
	got := rulings(t, issuanceGate(t, ""), filepath.Join("testdata", "issuance"))
	for name, wants := range map[string][]string{
		"vault_policy.wide":                        {"plan.json:", "permission scope complexity is 4; past the policy: greater than 3; policy broad"},
		"vault_approle_auth_backend_role.ingest":   nil,
		"vault_approle_auth_backend_role.stranger": {"lifetime is never ends", "complexity is 5", "unresolved identity is yes", "policy long-and-broad"},
		"vault_token_auth_backend_role.any":        {"no allowed_policies: a token may hold all that its creator has"},
		"aws_iam_policy.all":                       {"policy broad"},
		"aws_iam_role_policy.later":                {"known only after the plan is applied"},
		"aws_iam_access_key.robot":                 {"lifetime is never ends"},
		"all-workloads":                            nil,
		"long":                                     {"x509_svid by ClusterSPIFFEID long", "clusterspiffeids.yaml:9", "lifetime is 12h; past the policy: greater than 1h; policy long ("},
		"operators":                                {"administrators of SPIRE", "sign SVIDs as downstream", "unresolved identity is yes"},
	} {
		r := got[name]
		if r == nil {
			t.Errorf("%s is not judged", name)
			continue
		}
		delete(got, name)
		if r.Allowed != (wants == nil) {
			t.Errorf("%s: allowed %v, %+v", name, r.Allowed, r.Problems)
		}
		var b strings.Builder
		for _, p := range r.Problems {
			b.WriteString(p.Text + "\n")
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, b.String())
			}
		}
	}
	if len(got) > 0 {
		t.Errorf("judged besides: %v", got)
	}
}

func TestWhatAPolicyDoesNotDecideIsNotHeldAgainstIt(t *testing.T) {
	got := rulings(t, issuanceGate(t, ""), filepath.Join("testdata", "issuance", "plan.json"))["vault_policy.wide"]
	if len(got.Problems) != 1 || !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "long-and-broad") }) {
		t.Errorf("%+v, %q", got.Problems, got.Warnings)
	}
}

func TestAnExceptionOfTheSPIFFEIDLetsARegistrationPass(t *testing.T) {
	var list strings.Builder
	list.WriteString("exceptions:\n")
	for i, x := range [][2]string{{"ns/payments/sa/ingest", "long"}, {"operator", "spire-admin"}} {
		list.WriteString("  - {id: x" + string(rune('0'+i)) + ", identity: \"spire/default/spiffe_id/spiffe://example.org/" + x[0] + "\", policy_id: " + x[1] +
			", reason: r, until: 2026-12-31, requested_by: ann, approved_by: bob}\n")
	}
	got := rulings(t, issuanceGate(t, list.String()), filepath.Join("testdata", "issuance", "clusterspiffeids.yaml"))
	if r := got["long"]; !r.Allowed || r.Owner != "payments" {
		t.Errorf("%+v", r)
	}
	for _, p := range got["operators"].Problems {
		if p.Code == "spire-admin" {
			t.Errorf("refused although excepted: %+v", p)
		}
	}
	if got["operators"].Allowed {
		t.Error("an exception for admin lets a downstream server pass")
	}
}

func TestWithoutPoliciesTheReportSaysWhatWasNotJudged(t *testing.T) {
	g := gateOf(t, withoutMover(), Config{}, "")
	got := rulings(t, g, filepath.Join("testdata", "issuance"))
	if r := got["vault_policy.wide"]; !r.Allowed || !strings.Contains(strings.Join(r.Warnings, " "), "--policies") {
		t.Errorf("%+v", r)
	}
	if got["operators"].Allowed {
		t.Error("an administrator passes without policies")
	}
}

func TestBadPlansAndRegistrationsAreToldWithTheirPlace(t *testing.T) {
	const head = "{\"format_version\": \"1.2\",\n\"resource_changes\": [\n"
	resource := func(kind, after string) string {
		return head + `{"address": "x.y", "type": "` + kind + `", "change": {"actions": ["create"],` + "\n" + `"after": ` + after + "}}]}"
	}
	spiffe := func(spec string) string {
		return "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: a}\nspec:\n  className: c\n" + spec
	}
	for _, c := range []struct{ name, text, want string }{
		{"another format", `{"format_version": "2.0", "resource_changes": []}`, "f.json:1: a plan of a format_version"},
		{"changes that are no list", `{"format_version": "1.0", "resource_changes": {}}`, "expected a list"},
		{"no type", head + `{"address": "a"}]}`, "f.json:3: a resource without type"},
		{"no actions", head + `{"address": "a", "type": "b", "change": {}}]}`, "f.json:3: a resource without change.actions"},
		{"a policy that is no HCL", resource("vault_policy", `{"name": "n", "policy": "path {{{ CANARY"}`), "f.json:4: x.y: policy: the policy is not valid HCL"},
		{"a policy that is no text", resource("vault_policy", `{"name": "n", "policy": 1}`), "f.json:4: x.y: policy: a single value; expected a text"},
		{"a document that is no policy", resource("aws_iam_policy", `{"policy": "{\"CANARY\": 1}"}`), "f.json:4: x.y: policy:"},
		{"a TTL that is no number", resource("vault_approle_auth_backend_role", `{"role_name": "r", "token_policies": [], "token_max_ttl": "CANARY"}`), "f.json:4: x.y: token_max_ttl: expected a number of seconds"},
		{"a TTL below 0", resource("vault_approle_auth_backend_role", `{"role_name": "r", "token_max_ttl": -1}`), "expected a number of seconds"},
		{"a TTL of all time", resource("vault_approle_auth_backend_role", `{"role_name": "r", "token_max_ttl": 99999999999999}`), "expected a number of seconds"},
		{"policies that are no list", resource("vault_token_auth_backend_role", `{"role_name": "r", "allowed_policies": "CANARY"}`), "allowed_policies: a single value; expected a list"},
		{"no spec", "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: a}\n", "f.json:1: spec is missing"},
		{"no template", spiffe("  ttl: 1h\n"), "f.json:5: spec.spiffeIDTemplate is missing"},
		{"no SPIFFE ID", spiffe("  spiffeIDTemplate: nobody\n"), "f.json:6: spec.spiffeIDTemplate is no SPIFFE ID"},
		{"no duration", spiffe("  spiffeIDTemplate: spiffe://a/b\n  ttl: long\n"), "f.json:7: spec.ttl: expected a duration"},
		{"no flag", spiffe("  spiffeIDTemplate: spiffe://a/b\n  admin: maybe\n"), "f.json:7: spec.admin: expected true or false"},
	} {
		_, err := issuanceGate(t, "").Check(t.Context(), []string{writeFile(t, t.TempDir(), "f.json", c.text)}, nil)
		if !errors.Is(err, ErrManifests) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
