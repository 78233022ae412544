package admit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const policies = `policy_id: "long-token"
description: "A token lives for longer than its task."
metrics:
  - {name: "lifetime", source: "vault", threshold: "1h", condition: "greater_than"}
applies_to: {types: ["token"]}
action:
  - {severity: "high", channel: "security", remediation_hint: "Ask for an hour."}
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
policy_id: "told"
description: "Shorter would be better."
metrics:
  - {name: "lifetime", source: "any", threshold: "10m", condition: "greater_than"}
action:
  - {severity: "low", channel: "security", remediation_hint: "Shorter."}
enforcement: {mode: notify}
---
policy_id: "idle"
description: "Nobody uses it."
metrics:
  - {name: "idle_time", source: "any", threshold: "7d", condition: "greater_than"}
action:
  - {severity: "low", channel: "security", remediation_hint: "Give it back."}
enforcement: {mode: enforce}
---
policy_id: "prod-only"
description: "Production."
metrics:
  - {name: "lifetime", source: "any", threshold: "1m", condition: "greater_than"}
applies_to: {labels: {env: "prod"}}
action:
  - {severity: "high", channel: "security", remediation_hint: "Shorter."}
enforcement: {mode: enforce}
`

const agents = `owners: [{id: "payments"}, {id: "sre"}]
agents:
  - id: "ingest"
    owner: "payments"
    match: [{spiffe_id: "spiffe://example.org/ingest"}, {vault_role: {mount: "auth/kubernetes", role: "ingest"}}]
  - id: "backup"
    owner: "sre"
    match: [{spiffe_id: "spiffe://example.org/backup"}]
`

const ingest = "spire/default/spiffe_id/spiffe://example.org/ingest"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func against(t *testing.T) Against {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "policies")
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{filepath.Join(rules, "p.yaml"): policies, filepath.Join(dir, "c.yaml"): agents} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: rules})
	if err != nil {
		t.Fatal(err)
	}
	known, err := catalog.Load(filepath.Join(dir, "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	grants := map[string]*pb.Grant{"vault/default/policy/wide": {Rules: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"create", "read", "update", "delete"}}}},
		"vault/default/policy/narrow": {Rules: []*pb.Rule{{Resource: "secret/data/a", Capabilities: []string{"read"}}}}}
	return Against{Rules: engine.Current(), Catalog: known, Grant: func(id string) *pb.Grant { return grants[id] }, LookedUp: true, Now: now}
}

func ids(list []contract.AdmissionFinding) string {
	var out []string
	for _, f := range list {
		out = append(out, f.Policy)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func TestTheAnswerIsThatOfRunTime(t *testing.T) {
	const head = "reason: \"a\"\n"
	for _, c := range []struct {
		name, request, verdict, justify, advise string
	}{
		{"within", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [narrow]}}\n", Allowed, "", ""},
		{"a stored policy is measured", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [wide]}}\n", Justified, "broad", ""},
		{"rules add to stored policies", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [narrow], rules: [{path: \"b\", capabilities: [read, list, delete]}]}}\n", Justified, "broad", ""},
		{"a policy nobody fetched is unknown", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [other]}}\n", Justified, "broad", ""},
		{"silence on the scope", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\n", Justified, "broad", ""},
		{"long", "agent: ingest\ntype: token\nsource: vault\nlifetime: 2h\nscope: {vault: {policies: [narrow]}}\n", Justified, "long-token", "told"},
		{"for ever", "agent: ingest\ntype: token\nsource: vault\nnever_expires: true\nscope: {vault: {policies: [narrow]}}\n", Justified, "long-token", "told"},
		{"root", "agent: ingest\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [root]}}\n", Justified, "broad", ""},
		{"an SVID grants nothing itself", "principal: \"" + ingest + "\"\ntype: x509_svid\nsource: spire\nlifetime: 5m\n", Allowed, "", ""},
		{"nobody's", "principal: \"spire/default/spiffe_id/spiffe://example.org/else\"\ntype: x509_svid\nsource: spire\nlifetime: 5m\n", Justified, "nobodys", ""},
		{"another's name", "agent: backup\nprincipal: \"" + ingest + "\"\ntype: x509_svid\nsource: spire\nlifetime: 5m\n", Justified, "nobodys", ""},
		{"a name for a stranger", "agent: backup\nprincipal: \"spire/default/spiffe_id/spiffe://example.org/else\"\ntype: x509_svid\nsource: spire\nlifetime: 5m\n", Justified, "nobodys", ""},
		{"by labels", "labels: {mount_point: \"auth/kubernetes/\", role_name: ingest}\ntype: token\nsource: vault\nlifetime: 5m\nscope: {vault: {policies: [narrow]}}\n", Allowed, "", ""},
		{"a label's policy", "agent: ingest\nlabels: {env: \"prod\"}\ntype: jwt_svid\nsource: spire\nlifetime: 5m\n", Justified, "prod-only", ""},
		{"AWS statements", "agent: ingest\ntype: access_key\nsource: aws\nlifetime: 5m\nscope: {aws: {statements: [{Effect: Allow, Action: [\"s3:GetObject\"], Resource: [\"*\"]}]}}\n", Allowed, "", ""},
		{"an AWS document", "agent: ingest\ntype: access_key\nsource: aws\nlifetime: 5m\nscope: {aws: {file: d.json}}\n", Justified, "broad", ""},
		{"Google roles", "agent: ingest\ntype: key\nsource: gcp\nlifetime: 5m\nscope: {gcp: [{role: \"roles/storage.admin\", resource: \"projects/p\"}]}\n", Justified, "broad", ""},
		{"a Google role nobody knows", "agent: ingest\ntype: key\nsource: gcp\nlifetime: 5m\nscope: {gcp: [{role: \"roles/none\", resource: \"projects/p\"}]}\n", Justified, "broad", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "d.json"), []byte(`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Parse("r.yaml", []byte(head+c.request), dir)
			if err != nil {
				t.Fatal(err)
			}
			a, err := Admit(t.Context(), r, against(t))
			if err != nil {
				t.Fatal(err)
			}
			if a.Verdict != c.verdict || a.Allowed != (c.verdict == Allowed) || ids(a.Justify) != c.justify || ids(a.Advise) != c.advise {
				t.Errorf("%s (%v); justify %q, advise %q; %+v", a.Verdict, a.Allowed, ids(a.Justify), ids(a.Advise), a)
			}
		})
	}
}

func TestAnExceptionOfTheIdentityLetsPassWhatItNames(t *testing.T) {
	r, err := Parse("r.yaml", []byte("principal: \""+ingest+"\"\ntype: token\nsource: vault\nlifetime: 2h\nscope: {vault: {policies: [wide]}}\nreason: \"a\"\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	except := func(policy, by string, until time.Time) *pb.Exception {
		return &pb.Exception{Id: policy + by, Identity: ingest, PolicyId: policy, Reason: "r", RequestedBy: "ada", ApprovedBy: by, ApprovedAt: timestamppb.New(now), Until: timestamppb.New(until)}
	}
	later := now.Add(time.Hour)
	for _, c := range []struct {
		name    string
		list    []*pb.Exception
		verdict string
	}{
		{"both", []*pb.Exception{except("long-token", "bob", later), except("broad", "bob", later)}, Excepted},
		{"all policies", []*pb.Exception{except("*", "bob", later)}, Excepted},
		{"one of two", []*pb.Exception{except("long-token", "bob", later)}, Justified},
		{"over", []*pb.Exception{except("*", "bob", now)}, Justified},
		{"approved by who asked", []*pb.Exception{except("*", "ada", later)}, Justified},
		{"none", nil, Justified},
	} {
		a := against(t)
		a.Exceptions = c.list
		out, err := Admit(t.Context(), r, a)
		if err != nil {
			t.Fatal(err)
		}
		if out.Verdict != c.verdict || out.Allowed != (c.verdict == Excepted) {
			t.Errorf("%s: %s, %+v", c.name, out.Verdict, out.Justify)
		}
	}
}

func TestTheAnswerNamesPolicyValueThresholdAndPlace(t *testing.T) {
	r, err := Parse("r.yaml", []byte("agent: ingest\ntype: token\nsource: vault\nlifetime: 2h\nscope: {vault: {policies: [gone]}}\nreason: \"moves\\e[31m\"\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	a := against(t)
	a.Grant, a.GrantsWhy, a.LookedUp, a.Why = nil, "no server", false, "no server"
	out, err := Admit(t.Context(), r, a)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Text(&b, out, r.Reason, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MUST BE JUSTIFIED: token of vault for agent ingest, owner payments", "lifetime is 2h; past the policy: greater than 1h", "p.yaml:1\n",
		"Ask for an hour.", "permission scope complexity is not known", "gone not fetched (no server)", "exceptions were not looked up: no server",
		"policy prod-only", "label env", "judged in use idle", "within        nobodys"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("an escape reaches the terminal")
	}
}

func TestABadRequestIsRefusedWithItsLine(t *testing.T) {
	const good = "type: token\nsource: vault\nlifetime: 1h\nreason: a\nagent: x\n"
	for _, c := range []struct{ text, want string }{
		{"type: token\nsource: vault\nreason: a\nagent: x\n", "r.yaml:1: no lifetime"},
		{"type: token\nsource: vault\nlifetime: 1h\nreason: a\n", "r.yaml:1: nobody"},
		{good + "ttl: 1h\n", `r.yaml:6: key "ttl": unknown`},
		{strings.Replace(good, "1h", "0s", 1), `r.yaml:3: key "lifetime"`},
		{strings.Replace(good, "1h", "-1h", 1), `r.yaml:3: key "lifetime"`},
		{good + "never_expires: true\n", `r.yaml:3: key "lifetime": given beside`},
		{strings.Replace(good, "vault", "vaulty", 1), `r.yaml:2: key "source"`},
		{good + "principal: \"nobody\"\n", `r.yaml:6: key "principal"`},
		{good + "scope: {aws: {document: \"{}\"}}\n", "another issuer"},
		{good + "scope: {vault: {rules: [{path: \"a\", capabilities: [reed]}]}}\n", `"reed"`},
		{good + "scope: {vault: {rules: [{path: \"a\"}]}}\n", "no capabilities"},
		{good + "scope: {vault: {file: \"../../etc/passwd\"}}\n", "beside the request"},
		{strings.Replace(good, "vault", "aws", 1) + "scope: {aws: {document: \"{\\\"Statement\\\":[{\\\"Effect\\\":\\\"Maybe\\\"}]}\"}}\n", "r.yaml:6"},
		{good + "---\n" + good, "2 documents"},
		{"", "0 documents"},
	} {
		_, err := Parse("r.yaml", []byte(c.text), t.TempDir())
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := Of(&contract.AdmissionRequest{Type: "token", Source: "vault", Agent: "x", Lifetime: "1h", Reason: "é <b>\u2028\n\U0001F600", Scope: &contract.AdmissionScope{Vault: &contract.AdmissionVault{Rules: []contract.AdmissionRule{{Path: "a", Capabilities: []string{"read"}}}}}}); err != nil {
		t.Errorf("the API's form: %v", err)
	}
	if _, err := Admit(t.Context(), &Request{Agent: "gone", Type: "token", Source: "vault"}, against(t)); !errors.Is(err, ErrRequest) {
		t.Errorf("an agent that is not there: %v", err)
	}
}
