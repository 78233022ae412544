package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const testCatalog = `owners:
  - id: payments
  - id: sre
systems:
  - id: registry
  - id: cmdb
agents:
  - id: ingest
    owner: payments
    system: registry
    match:
      - kubernetes_service_account: {namespace: payments, name: ingest}
      - spiffe_id: spiffe://example.org/ns/payments/sa/ingest
      - aws_role: arn:aws:iam::111122223333:role/ingest
      - gcp_service_account: ingest@pay.iam.gserviceaccount.com
      - vault_role: {mount: auth/kubernetes, role: ingest}
      - agent_id: uuid-of-ingest
  - id: backup
    owner: sre
    system: registry
    match:
      - kubernetes_service_account: {namespace: ops, name: backup}
      - vault_role: {mount: auth/ops, role: backup}
  - id: reader
    owner: payments
    match:
      - kubernetes_service_account: {namespace: payments, name: reader}
  - id: mover
    owner: payments
    system: cmdb
    match:
      - kubernetes_service_account: {namespace: payments, name: mover}
      - vault_role: {mount: auth/kubernetes, role: ingest}
  - id: shared
    owner: sre
    system: registry
    match:
      - kubernetes_service_account: {namespace: payments, name: shared}
  - id: shared-too
    owner: payments
    system: registry
    match:
      - kubernetes_service_account: {namespace: payments, name: shared}
`

// now of all tests.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// gateOf has the test's catalog without the agent mover, unless told otherwise.
func gateOf(t testing.TB, catalogText string, cfg Config, exceptions string) *Gate {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	opts := Options{Config: cfg, Catalog: LoadCatalog(writeFile(t, dir, "catalog.yaml", catalogText)), Now: func() time.Time { return now }}
	if exceptions != "" {
		x, err := LoadExceptions(writeFile(t, dir, "exceptions.yaml", exceptions))
		if err != nil {
			t.Fatal(err)
		}
		opts.Exceptions = x.InForce
	}
	return New(opts)
}

func withoutMover() string {
	before, after, _ := strings.Cut(testCatalog, "  - id: mover")
	_, after, _ = strings.Cut(after, "  - id: shared\n")
	return before + "  - id: shared\n" + after
}

func check(t testing.TB, g *Gate, manifest string) (*Report, error) {
	t.Helper()
	return g.Check(context.Background(), []string{writeFile(t, t.TempDir(), "app.yaml", manifest)}, nil)
}

// pod is a Deployment's manifest with the account and further lines for its template's metadata.
func deployment(namespace, account string, annotations ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\n  namespace: %s\nspec:\n  template:\n    metadata:\n      annotations:\n        x: \"y\"\n", namespace)
	for _, a := range annotations {
		fmt.Fprintf(&b, "        %s\n", a)
	}
	fmt.Fprintf(&b, "    spec:\n      serviceAccountName: %s\n      containers: [{name: a, image: b}]\n", account)
	return b.String()
}

const vaultOn = `vault.hashicorp.com/agent-inject: "true"`

func exceptionFor(key, until, approver string) string {
	return fmt.Sprintf(`exceptions:
  - id: ex-1
    identity: %q
    policy_id: gate
    reason: migration
    until: %s
    requested_by: ann
    approved_by: %s
`, key, until, approver)
}

const sharedKey = "kubernetes/default/serviceaccount/system:serviceaccount:payments:nobody"

func TestManifestsAreJudgedByTheIdentitiesTheyGive(t *testing.T) {
	example := Config{SPIFFE: SPIFFEConfig{TrustDomain: "example.org"}}
	for name, c := range map[string]struct {
		manifest   string
		cfg        Config
		exceptions string
		catalog    string   // without mover if empty
		codes      []string // of the problems of all workloads; none: allowed
		says       []string // all of them in the text report
		not        []string
	}{
		"owned": {manifest: deployment("payments", "ingest"), says: []string{"allowed  Deployment payments/app",
			"owner payments, system of record registry", "catalog.yaml:12"}},
		"owned in all ways": {cfg: example, manifest: deployment("payments", "ingest", vaultOn, "vault.hashicorp.com/role: ingest",
			"leastwise.dev/agent: uuid-of-ingest", "spiffe.io/spiffeId: ns/payments/sa/ingest") +
			"---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: ingest\n  namespace: payments\n  annotations:\n" +
			"    eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/ingest\n    iam.gke.io/gcp-service-account: ingest@pay.iam.gserviceaccount.com\n",
			says: []string{"SPIFFE ID spiffe://example.org/ns/payments/sa/ingest", "AWS role arn:aws:iam::111122223333:role/ingest",
				"Google service account ingest@pay", "Vault role ingest@auth/kubernetes/", "agent uuid-of-ingest"}, not: []string{"is not among the files"}},
		"no owner": {manifest: deployment("payments", "nobody"), codes: []string{"no-owner"}, says: []string{"REFUSED",
			"app.yaml:12", "kubernetes_service_account: {namespace: \"payments\", name: \"nobody\"}", `owner: "OWNER"`, "the catalog has payments, sre",
			"the catalog has cmdb, registry"}},
		"the namespace's default account": {manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\nspec: {containers: []}\n",
			codes: []string{"no-owner"}, says: []string{"service account payments/default", "not given"}},
		"no namespace": {manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: a}\n",
			codes: []string{"no-owner"}, says: []string{"service account default/a"}},
		"another namespace by configuration": {cfg: Config{Namespace: "payments"}, manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: ingest}\n"},
		"the old name of the field":          {manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\nspec: {serviceAccount: ingest}\n"},
		"the new name wins": {manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\nspec: {serviceAccount: ingest, serviceAccountName: nobody}\n",
			codes: []string{"no-owner"}},
		"two owners of one identity": {manifest: deployment("payments", "shared"), codes: []string{"two-owners"},
			says: []string{"owner sre by agent shared", "owner payments by agent shared-too", "catalog.yaml:32", "catalog.yaml:37"}},
		"two owners between identities": {manifest: deployment("payments", "ingest", vaultOn, "vault.hashicorp.com/role: backup", "vault.hashicorp.com/auth-path: auth/ops"),
			codes: []string{"two-owners"}, says: []string{"different owners (payments, sre)", "by agent ingest", "by agent backup", "catalog.yaml:12", "catalog.yaml:23"}},
		"two systems of record of one identity": {catalog: testCatalog, codes: []string{"two-systems"},
			manifest: deployment("payments", "mover", vaultOn, "vault.hashicorp.com/role: ingest"), says: []string{"in system cmdb", "in system registry"}},
		"no system of record": {manifest: deployment("payments", "reader"), codes: []string{"no-system"},
			says: []string{`- id: "reader" # at `, `system: "SYSTEM"`}},
		"mislabelled": {manifest: deployment("payments", "ingest", "leastwise.dev/agent: backup"), codes: []string{"mislabelled"},
			says: []string{"says agent backup", "owner sre", "service account payments/ingest is owner payments by agent ingest", "set it to ingest"}},
		"mislabelled within one owner": {manifest: deployment("payments", "ingest", "leastwise.dev/agent: shared-too"), codes: []string{"mislabelled"}},
		"label that nobody knows": {manifest: deployment("payments", "ingest", "leastwise.dev/agent: ingets"), codes: []string{"no-owner"},
			says: []string{"agent ingets", "correct it", `agent_id: "ingets"`, `- id: "ingest" # at `}},
		"two labels": {manifest: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  namespace: payments\n  labels: {leastwise.dev/agent: ingest}\n" +
			"  annotations: {leastwise.dev/agent: backup}\nspec: {serviceAccountName: ingest}\n", codes: []string{"mislabelled", "mislabelled"}},
		"exception": {manifest: deployment("payments", "nobody"), exceptions: exceptionFor(sharedKey, "2026-12-01", "bob"),
			says: []string{"excepted", "exception ex-1, until 2026-12-02"}},
		"exception on its last day": {manifest: deployment("payments", "nobody"), exceptions: exceptionFor(sharedKey, "2026-11-21", "bob")},
		"exception that ended":      {manifest: deployment("payments", "nobody"), exceptions: exceptionFor(sharedKey, "2026-11-20", "bob"), codes: []string{"no-owner"}, says: []string{"exception ex-1 ended at 2026-11-21"}},
		"exception approved by who asked": {manifest: deployment("payments", "nobody"), exceptions: exceptionFor(sharedKey, "2026-12-01", "Ann"),
			codes: []string{"no-owner"}, says: []string{"not approved by somebody else"}},
		"exception from another policy": {manifest: deployment("payments", "nobody"), codes: []string{"no-owner"},
			exceptions: strings.Replace(exceptionFor(sharedKey, "2026-12-01", "bob"), "policy_id: gate", "policy_id: other", 1), not: []string{"ex-1"}},
		"exception of another identity": {manifest: deployment("payments", "shared"), exceptions: exceptionFor(sharedKey, "2026-12-01", "bob"), codes: []string{"two-owners"}},
		"excepted side is left out": {manifest: deployment("payments", "ingest", vaultOn, "vault.hashicorp.com/role: backup", "vault.hashicorp.com/auth-path: auth/ops"),
			exceptions: exceptionFor("vault/default/role/auth/ops:backup", "2026-12-01", "bob")},
		"List": {manifest: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: p, namespace: payments}\n  spec: {serviceAccountName: ingest}\n" +
			"- apiVersion: v1\n  kind: Pod\n  metadata: {name: q, namespace: payments}\n  spec: {serviceAccountName: nobody}\n", codes: []string{"no-owner"}, says: []string{"app.yaml:8", "2 workloads judged"}},
		"CronJob": {manifest: "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c, namespace: payments}\nspec:\n  jobTemplate:\n    spec:\n      template:\n        metadata:\n" +
			"          labels: {leastwise.dev/agent: backup}\n        spec: {serviceAccountName: nobody}\n", codes: []string{"no-owner", "mislabelled"}[:1],
			says: []string{"CronJob payments/c", "spec.jobTemplate.spec.template.spec.serviceAccountName, ", "app.yaml:10"}},
		"workload of a kind nobody knows": {manifest: "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r, namespace: payments}\nspec:\n  template:\n    spec: {serviceAccountName: nobody, containers: []}\n",
			codes: []string{"no-owner"}},
		"kinds without pods": {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nobody}\n", says: []string{"0 workloads judged", "2 documents hold no identity"}},
		"ServiceAccount with a role of nobody": {manifest: "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: ingest\n  namespace: payments\n  annotations:\n    eks.amazonaws.com/role-arn: arn:aws:iam::1:role/x\n",
			codes: []string{"no-owner"}, says: []string{"app.yaml:7", `aws_role: "arn:aws:iam::1:role/x"`}},
		"role set by hand": {manifest: strings.Replace(deployment("payments", "ingest"), "image: b", "image: b, env: [{name: AWS_ROLE_ARN, value: \"arn:aws:iam::1:role/x\"}]", 1),
			codes: []string{"no-owner"}, says: []string{"spec.template.spec.containers[0].env AWS_ROLE_ARN"}},
		"no ARN": {manifest: strings.Replace(deployment("payments", "ingest"), "image: b", "image: b, env: [{name: AWS_ROLE_ARN, value: ingest}]", 1),
			codes: []string{"invalid"}, says: []string{"no role's ARN"}},
		"injector off":             {manifest: deployment("payments", "ingest", `vault.hashicorp.com/agent-inject: "false"`, "vault.hashicorp.com/role: nobody")},
		"injector's own ConfigMap": {manifest: deployment("payments", "ingest", vaultOn, "vault.hashicorp.com/agent-configmap: cm"), says: []string{"ConfigMap cm"}},
		"injector's other path":    {cfg: Config{Vault: VaultConfig{AuthPath: "auth/ops"}}, manifest: deployment("ops", "backup", vaultOn, "vault.hashicorp.com/role: backup")},
		"SPIFFE template with a label": {cfg: Config{SPIFFE: SPIFFEConfig{TrustDomain: "example.org", Template: "spiffe://{{ trust_domain }}/{{cluster}}/{{label:app}}"}},
			manifest: deployment("payments", "ingest"), says: []string{"the pod has no label app"}},
		"own manifest": {manifest: "apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nagent: ingest\nidentities:\n" +
			"  - spiffe_id: spiffe://example.org/ns/payments/sa/ingest\n  - vault_role: {role: ingest}\n  - kubernetes_service_account: {namespace: payments, name: ingest}\n" +
			"  - aws_role: arn:aws:iam::111122223333:role/ingest\n  - gcp_service_account: ingest@pay.iam.gserviceaccount.com\n"},
		"own manifest of nobody": {manifest: "apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nidentities:\n  - identity: jwt/keycloak/client/n\n",
			codes: []string{"no-owner"}, says: []string{`vault_entity: "jwt/keycloak/client/n"`}},
		"JSON": {manifest: "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"\\ud83d\\ude00\", \"namespace\": \"payments\"},\n\t\"spec\": {\"serviceAccountName\":\n\t\t\"nobody\"}}\n",
			codes: []string{"no-owner"}, says: []string{"app.yaml:5"}},
		"flow style that is no JSON": {manifest: "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: payments}, spec: {serviceAccountName: ingest}}\n"},
		"anchors and merges": {manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\nx: &x {serviceAccountName: nobody}\nspec:\n  <<: *x\n",
			codes: []string{"no-owner"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.catalog
			if text == "" {
				text = withoutMover()
			}
			report, err := check(t, gateOf(t, text, c.cfg, c.exceptions), c.manifest)
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, v := range report.Workloads {
				for _, p := range v.Problems {
					codes = append(codes, p.Code)
				}
				if v.Allowed != (len(v.Problems) == 0) {
					t.Errorf("allowed %v with %d problems", v.Allowed, len(v.Problems))
				}
			}
			var out bytes.Buffer
			if err := report.Text(&out); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(codes, c.codes) || report.Allowed != (len(c.codes) == 0) {
				t.Errorf("problems %v; expected %v\n%s", codes, c.codes, out.String())
			}
			for _, text := range c.says {
				if !strings.Contains(out.String(), text) {
					t.Errorf("the report does not say %q:\n%s", text, out.String())
				}
			}
			for _, text := range c.not {
				if strings.Contains(out.String(), text) {
					t.Errorf("the report says %q:\n%s", text, out.String())
				}
			}
			if _, err := json.Marshal(report); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a refusal tells to add is what makes it pass.
func TestWhatIsToldToAddMakesItPass(t *testing.T) {
	cfg := Config{SPIFFE: SPIFFEConfig{TrustDomain: "example.org"}}
	manifest := deployment("new", "mailer", vaultOn, "vault.hashicorp.com/role: mailer", "leastwise.dev/agent: mailer") +
		"---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: mailer\n  namespace: new\n  annotations:\n" +
		"    eks.amazonaws.com/role-arn: arn:aws:iam::1:role/mailer\n    iam.gke.io/gcp-service-account: mailer@x.iam.gserviceaccount.com\n"
	report, err := check(t, gateOf(t, withoutMover(), cfg, ""), manifest)
	if err != nil || report.Allowed {
		t.Fatalf("%v, %+v", err, report)
	}
	add := report.Workloads[0].Add
	if n := strings.Count(add, "\n      - "); n != 5 {
		t.Errorf("%d entries; expected 5:\n%s", n, add)
	}
	_, entry, _ := strings.Cut(add, "agents:\n")
	if report, err = check(t, gateOf(t, withoutMover()+entry, cfg, ""), manifest); err == nil && report.Allowed {
		t.Error("passes before anybody said who the owner is")
	}
	entry = strings.NewReplacer("OWNER", "sre", "SYSTEM", "cmdb").Replace(entry)
	if report, err = check(t, gateOf(t, withoutMover()+entry, cfg, ""), manifest); err != nil || !report.Allowed {
		t.Errorf("%v\n%s\n%+v", err, entry, report.Workloads[0].Problems)
	}
}

func TestDirectoriesAreReadWholeAndStandardInputToo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The account stands in another file than the workload.
	writeFile(t, dir, "a.yaml", deployment("payments", "ingest"))
	writeFile(t, filepath.Join(dir, "sub"), "sa.yml", "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: ingest\n  namespace: payments\n  annotations: {eks.amazonaws.com/role-arn: \"arn:aws:iam::1:role/x\"}\n")
	writeFile(t, dir, "values.yaml", "image: x\n")
	writeFile(t, dir, ".hidden.yaml", "[")
	writeFile(t, dir, "README.md", "[")
	g := gateOf(t, withoutMover(), Config{}, "")
	report, err := g.Check(context.Background(), []string{dir, "-"}, strings.NewReader(deployment("payments", "ingest")))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Workloads) != 3 || report.Allowed || report.Others != 1 {
		t.Errorf("%+v", report)
	}
	for _, v := range report.Workloads {
		if v.Allowed || !slices.ContainsFunc(v.Identities, func(s Standing) bool { return s.Kind == AWSRole }) {
			t.Errorf("%s does not have the role of its account: %+v", v.Workload, v.Identities)
		}
	}
	if _, err := g.Check(context.Background(), []string{t.TempDir()}, nil); !errors.Is(err, ErrManifests) {
		t.Errorf("an empty directory passes: %v", err)
	}
}

type deafDirectory struct{}

func (deafDirectory) Name() string { return "identity graph" }
func (deafDirectory) Claims(context.Context, Identity) ([]Claim, error) {
	return nil, errors.New("connection refused")
}

type oneClaim Claim

func (oneClaim) Name() string                                        { return "identity graph" }
func (c oneClaim) Claims(context.Context, Identity) ([]Claim, error) { return []Claim{Claim(c)}, nil }

func TestWhatCanNotBeReadIsDecidedByConfigurationAndSaid(t *testing.T) {
	for _, fail := range []string{"", FailClosed, FailOpen} {
		for what, opts := range map[string]Options{
			"catalog":        {Catalog: LoadCatalog("/nowhere/catalog.yaml")},
			"identity graph": {Catalog: gateOf(t, testCatalog, Config{}, "").catalog, Graph: deafDirectory{}},
		} {
			opts.Config = Config{Fail: fail}
			report, err := check(t, New(opts), deployment("payments", "ingest"))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			_ = report.Text(&out)
			if report.Allowed != (fail == FailOpen) || report.Workloads[0].Open != (fail == FailOpen) {
				t.Errorf("fail %q, %s: allowed %v", fail, what, report.Allowed)
			}
			if want := "the gate fails " + or(fail, FailClosed) + ": the " + what + " can not be read"; !strings.Contains(out.String(), want) {
				t.Errorf("fail %q, %s does not say %q:\n%s", fail, what, want, out.String())
			}
		}
	}
	// What can be read is judged, though the gate fails open.
	g := New(Options{Config: Config{Fail: FailOpen}, Catalog: gateOf(t, testCatalog, Config{}, "").catalog, Graph: deafDirectory{}})
	if report, err := check(t, g, deployment("payments", "nobody")); err != nil || report.Allowed {
		t.Errorf("%v: passes with no owner because the graph is away", err)
	}
}

func TestGraphAddsTheSecondOwnerAndTheSystemOfRecord(t *testing.T) {
	dir := gateOf(t, withoutMover(), Config{}, "").catalog
	other := New(Options{Catalog: dir, Graph: oneClaim{Owner: "sre", System: "registry", Evidence: "link 4711"}})
	report, err := check(t, other, deployment("payments", "ingest"))
	if err != nil || report.Allowed || !strings.Contains(report.Workloads[0].Problems[0].Text, "owner sre in system registry (link 4711)") {
		t.Errorf("%v %+v", err, report.Workloads[0].Problems)
	}
	same := New(Options{Catalog: dir, Graph: oneClaim{Owner: "payments", System: "registry", Evidence: "link 4711"}})
	if report, err = check(t, same, deployment("payments", "reader")); err != nil || !report.Allowed {
		t.Errorf("%v %+v", err, report.Workloads[0].Problems)
	}
}

func TestReportIsAsRecorded(t *testing.T) {
	g := gateOf(t, withoutMover(), Config{SPIFFE: SPIFFEConfig{TrustDomain: "example.org"}}, exceptionFor(sharedKey, "2026-12-01", "bob"))
	r := newReader(&g.cfg, "default", true)
	for name, text := range map[string]string{"app.yaml": deployment("payments", "ingest", "leastwise.dev/agent: backup", vaultOn, "vault.hashicorp.com/role: mailer") +
		"---\n" + deployment("payments", "nobody")} {
		nodes, err := documents(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			r.document(name, n)
		}
	}
	report := &Report{Fail: FailClosed, Workloads: []*Verdict{}, Notes: unseen, Catalog: CatalogStatus{Path: "catalog.yaml"}}
	for _, w := range r.finish() {
		report.Workloads = append(report.Workloads, g.Judge(context.Background(), w))
	}
	var out bytes.Buffer
	if err := report.Text(&out); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.golden", strings.ReplaceAll(out.String(), filepath.Dir(g.catalog.Path)+"/", ""))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -rewrite writes it anew):\n%s", path, got)
	}
}

// What a manifest holds reaches reports only bounded and without control characters.
