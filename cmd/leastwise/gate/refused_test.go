package gate

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func TestManifestsThatCanNotBeReadAreTold(t *testing.T) {
	for name, c := range map[string]struct{ manifest, says string }{
		"broken YAML":          {"apiVersion: v1\nkind: Pod\nmetadata: {name: p\nspec: {}\n", "app.yaml:3: not a manifest"},
		"broken second":        {"apiVersion: v1\nkind: ConfigMap\n---\na: b\n c: d\n", "app.yaml:5: not a manifest"},
		"a template":           {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.name }}\n", "helm template"},
		"tab":                  {"apiVersion: v1\n\tkind: Pod\n", "app.yaml:2"},
		"no kind":              {"a: b\n", "app.yaml:1: no apiVersion or no kind"},
		"a list":               {"- a\n", "app.yaml:1: a list"},
		"a text":               {"hello\n", "app.yaml:1: a single value"},
		"empty":                {"# nothing\n", "app.yaml:1: empty"},
		"NUL":                  {"a: b\nc: \x00\n", "app.yaml:2: a byte that is no text"},
		"no UTF-8":             {"a: b\n\nc: \xff\n", "app.yaml:3: a byte that is no text"},
		"number as account":    {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  serviceAccountName: 7\n", "app.yaml:5: 7; expected a text in quotes"},
		"boolean annotation":   {deployment("payments", "ingest", "vault.hashicorp.com/agent-inject: true"), "app.yaml:11: true; expected a text in quotes"},
		"annotations as list":  {"apiVersion: v1\nkind: Pod\nmetadata:\n  annotations: [a]\nspec: {}\n", "app.yaml:4"},
		"spec given twice":     {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: a}\nspec: {serviceAccountName: b}\n", "app.yaml:5"},
		"account given twice":  {"apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      serviceAccountName: a\n      serviceAccountName: b\n", "app.yaml:7"},
		"no template":          {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {}\n", "app.yaml:1: spec.template is missing"},
		"no pod spec":          {"apiVersion: v1\nkind: Pod\nmetadata: {name: d}\n", "app.yaml:1: spec is missing"},
		"JSON cut off":         {"{\"apiVersion\": \"v1\",\n\"kind\":", "app.yaml:2: not a manifest: it ends too early"},
		"JSON with two kinds":  {"{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\"kind\": \"Pod\"}", "app.yaml:2"},
		"deep JSON":            {strings.Repeat("[", 100_000), "app.yaml:1"},
		"deep YAML":            {strings.Repeat("- ", 100_000), "app.yaml"},
		"own, unknown key":     {"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nidentites: []\n", `app.yaml:4: key "identites": unknown`},
		"own, nothing":         {"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\n", "app.yaml:1: no identities"},
		"own, two in one":      {"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nidentities:\n  - spiffe_id: a\n    aws_role: b\n", "app.yaml:5: identities[0]: expected one of"},
		"own, unknown kind":    {"apiVersion: leastwise.dev/v1\nkind: Agent\n", `app.yaml:2: kind "Agent"`},
		"own, alias":           {"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n, labels: {a: &a [{agent_id: x}]}}\nidentities: *a\n", "app.yaml:"},
		"own, account no name": {"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nidentities:\n  - kubernetes_service_account: {namespace: a}\n", "app.yaml:5"},
		"lists within lists": {"apiVersion: v1\nkind: List\nitems: &i\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: " +
			"[{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: []}]}]}]}]\n", "lists within lists"},
		"list within itself": {"apiVersion: v1\nkind: List\nitems: &i\n- apiVersion: v1\n  kind: List\n  items: *i\n", "app.yaml:"},
		"alias bomb": {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\napiVersion: v1\nkind: Pod\nspec: {}\n", "app.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := check(t, gateOf(t, testCatalog, Config{}, ""), c.manifest)
			if !errors.Is(err, ErrManifests) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; expected %s", err, c.says)
			}
		})
	}
	if _, err := gateOf(t, testCatalog, Config{}, "").Check(context.Background(), []string{"/nowhere/a.yaml"}, nil); !errors.Is(err, ErrManifests) {
		t.Errorf("%v", err)
	}
}

func TestBadExceptionsAreRefusedWithLine(t *testing.T) {
	good := exceptionFor(sharedKey, "2026-12-01", "bob")
	for name, c := range map[string]struct{ text, says string }{
		"no end":         {strings.Replace(good, "    until: 2026-12-01\n", "", 1), "exceptions.yaml:2"},
		"no reason":      {strings.Replace(good, "    reason: migration\n", "", 1), "reason is missing"},
		"no date":        {strings.Replace(good, "2026-12-01", "soon", 1), `exceptions.yaml:6: key "until": "soon"`},
		"no key":         {strings.Replace(good, sharedKey, "ingest", 1), "system/instance/type/id"},
		"unknown key":    {strings.Replace(good, "reason", "resaon", 1), `key "resaon"`},
		"the same twice": {good + strings.TrimPrefix(good, "exceptions:\n"), "is there twice"},
		"both subjects":  {strings.Replace(good, "    reason", "    credential: a/b/c/d\n    reason", 1), "one of identity and credential"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadExceptions(writeFile(t, t.TempDir(), "exceptions.yaml", c.text))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; expected %s", err, c.says)
			}
		})
	}
	if _, err := LoadExceptions("/nowhere/exceptions.yaml"); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	for says, cfg := range map[string]Config{
		"fail":               {Fail: "ajar"},
		"cluster":            {Cluster: "a/b"},
		"vault.instance":     {Vault: VaultConfig{Instance: "a/b"}},
		"trust_domain":       {SPIFFE: SPIFFEConfig{TrustDomain: "spiffe://example.org"}},
		"{{pod}} is unknown": {SPIFFE: SPIFFEConfig{TrustDomain: "a", Template: "spiffe://a/{{pod}}"}},
		"without }}":         {SPIFFE: SPIFFEConfig{TrustDomain: "a", Template: "spiffe://a/{{name"}},
		"begin with":         {SPIFFE: SPIFFEConfig{TrustDomain: "a", Template: "{{trust_domain}}/x"}},
		"too":                {SPIFFE: SPIFFEConfig{Template: "spiffe://{{trust_domain}}/x"}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; expected %s", err, says)
		}
	}
}

func TestHostileTextStaysBounded(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	report, err := check(t, gateOf(t, withoutMover(), Config{}, ""), deployment(`"a\u001b[2Jb"`, `"evil\u0000\n{{}}"`,
		"leastwise.dev/agent: "+long, `spiffe.io/spiffeId: "spiffe://x/\u202e"`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_ = report.Text(&out)
	if report.Allowed || out.Len() > 6000 || strings.ContainsAny(out.String(), "\x1b\x00") {
		t.Errorf("%d bytes\n%q", out.Len(), cut(out.String(), 3000))
	}
}
