package catalog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const small = `owners:
  - id: payments
    name: "Payments"
    channels: [alerts, mail]
  - id: sre
systems:
  - id: registry
agents:
  - id: ingest
    owner: payments
    system: registry
    match:
      - vault_role: {mount: auth/approle/, role: ingest}
      - vault_entity: e-1
        label: {namespace: ops/}
      - aws_role: arn:aws:iam::1:role/ingest
    expected_use: {per_day: 48}
  - id: reader
    owner: payments
    match:
      - metadata: {agent_id: reader, shard: 7}
      - vault_entity: vault/prod/entity/e-9
  - id: diagnostic
    owner: sre
    protected: true
    match:
      - spiffe_id: spiffe://example.org/diagnostic
      - display_name: approle-diag
`

func loadText(t testing.TB, text string) (*Catalog, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func mustLoad(t testing.TB, text string) *Catalog {
	t.Helper()
	c, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCredentialIsResolvedByWhatItsIssuerSays(t *testing.T) {
	c := mustLoad(t, small)
	for name, q := range map[string]struct {
		query Query
		agent string
		line  int
	}{
		"role":                     {Query{Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}}, "ingest", 13},
		"role, mount without auth": {Query{Labels: map[string]string{"role_name": "ingest", "mount_point": "approle"}}, "ingest", 13},
		"role on another mount":    {Query{Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/other/"}}, "", 0},
		"role without a mount":     {Query{Labels: map[string]string{"role_name": "ingest"}}, "", 0},
		"entity in its namespace":  {Query{Principal: "vault/default/entity/e-1", Labels: map[string]string{"namespace": "ops/"}}, "ingest", 14},
		"entity elsewhere":         {Query{Principal: "vault/default/entity/e-1"}, "", 0},
		"another type of that id":  {Query{Principal: "vault/default/user/e-1", Labels: map[string]string{"namespace": "ops/"}}, "", 0},
		"entity of one Vault":      {Query{Principal: "vault/prod/entity/e-9"}, "reader", 22},
		"entity of another Vault":  {Query{Principal: "vault/test/entity/e-9"}, "", 0},
		"role of AWS":              {Query{Principal: "aws/1/role/arn:aws:iam::1:role/ingest"}, "ingest", 16},
		"metadata":                 {Query{Labels: map[string]string{"meta.agent_id": "reader", "meta.shard": "7", "x": "y"}}, "reader", 21},
		"half of the metadata":     {Query{Labels: map[string]string{"meta.agent_id": "reader"}}, "", 0},
		"SPIFFE ID":                {Query{Principal: "spire/td/spiffe/spiffe://example.org/diagnostic"}, "diagnostic", 27},
		"longer SPIFFE ID":         {Query{Principal: "spire/td/spiffe/spiffe://example.org/diagnostic/2"}, "", 0},
		"display name":             {Query{Labels: map[string]string{"display_name": "approle-diag"}}, "diagnostic", 28},
		"nothing":                  {Query{}, "", 0},
		"a text that is no key":    {Query{Principal: "e-1"}, "", 0},
	} {
		got := c.Resolve(q.query)
		id := ""
		if got.Agent != nil {
			id = got.Agent.ID
		}
		if id != q.agent || got.Conflict != "" {
			t.Errorf("%s: agent %q (%s); expected %q", name, id, got.Conflict, q.agent)
		}
		if q.agent == "" {
			if got != (Match{}) {
				t.Errorf("%s: %+v; expected nothing", name, got)
			}
			continue
		}
		if got.Owner != got.Agent.Owner || !strings.HasSuffix(got.Evidence, fmt.Sprintf("catalog.yaml:%d", q.line)) {
			t.Errorf("%s: owner %v, evidence %s; expected line %d", name, got.Owner, got.Evidence, q.line)
		}
		if got.Protected != (q.agent == "diagnostic") {
			t.Errorf("%s: protected %v", name, got.Protected)
		}
	}
	ingest, _ := c.Agent("ingest")
	if ingest.ExpectedPerHour != 2 || ingest.System.ID != "registry" || ingest.Name != "" || len(c.Agents()) != 3 {
		t.Errorf("%+v", ingest)
	}
	if m := ingest.Owner.Message("x:1"); m.Id != "payments" || m.Name != "Payments" || len(m.Channels) != 2 || m.Evidence != "x:1" {
		t.Errorf("%v", m)
	}
	if c.Owners()[1].Name != "sre" {
		t.Error("an owner without a name is not called by its id")
	}
}

const accounts = `owners: [{id: o}, {id: p}]
systems: [{id: s}]
agents:
  - id: any
    owner: o
    match: [{kubernetes_service_account: {namespace: pay, name: in}}]
  - id: east
    owner: p
    match: [{kubernetes_service_account: {namespace: pay, name: out, cluster: east}}]
  - id: cloud
    owner: o
    match:
      - gcp_service_account: in@proj.iam.gserviceaccount.com
      - agent_id: "77"
`

func TestServiceAccountsAndAgentIDsAreRecognized(t *testing.T) {
	c := mustLoad(t, accounts)
	for name, q := range map[string]struct {
		query Query
		agent string
	}{
		"itself":                      {Query{Principal: "kubernetes/west/serviceaccount/system:serviceaccount:pay:in"}, "any"},
		"subject of a token":          {Query{Principal: "jwt/issuer/subject/system:serviceaccount:pay:in"}, "any"},
		"shown to AWS":                {Query{Labels: map[string]string{"web_identity_subject": "system:serviceaccount:pay:in"}}, "any"},
		"logged in at Vault":          {Query{Labels: map[string]string{"meta.service_account_namespace": "pay", "meta.service_account_name": "in"}}, "any"},
		"of another namespace":        {Query{Principal: "kubernetes/west/serviceaccount/system:serviceaccount:pa:in"}, ""},
		"namespace without name":      {Query{Labels: map[string]string{"meta.service_account_namespace": "pay"}}, ""},
		"name without namespace":      {Query{Labels: map[string]string{"meta.service_account_name": "in"}}, ""},
		"in the right cluster":        {Query{Principal: "kubernetes/east/serviceaccount/system:serviceaccount:pay:out"}, "east"},
		"in the wrong cluster":        {Query{Principal: "kubernetes/west/serviceaccount/system:serviceaccount:pay:out"}, ""},
		"in a cluster nobody names":   {Query{Labels: map[string]string{"web_identity_subject": "system:serviceaccount:pay:out"}}, ""},
		"account of Google":           {Query{Principal: "gcp/default/serviceaccount/in@proj.iam.gserviceaccount.com"}, "cloud"},
		"account in a policy":         {Query{Principal: "gcp/default/member/serviceAccount:in@proj.iam.gserviceaccount.com"}, "cloud"},
		"agent id as principal":       {Query{Principal: "agentusage/default/agent/77"}, "cloud"},
		"agent id as label":           {Query{Labels: map[string]string{"agent_id": "77"}}, "cloud"},
		"agent id as a session tag":   {Query{Source: "cloudtrail", Labels: map[string]string{"agent_id": "77"}}, ""},
		"that id of another type":     {Query{Principal: "agentusage/default/user/77"}, ""},
		"another label of that value": {Query{Labels: map[string]string{"shard": "77"}}, ""},
	} {
		got := c.Resolve(q.query)
		id := ""
		if got.Agent != nil {
			id = got.Agent.ID
		}
		if id != q.agent || got.Conflict != "" {
			t.Errorf("%s: agent %q (%s); expected %q", name, id, got.Conflict, q.agent)
		}
	}
}

func TestClaimsShowAllSidesOnceEach(t *testing.T) {
	c := mustLoad(t, small)
	claims := c.Claims(Query{Principal: "spire/td/spiffe/spiffe://example.org/diagnostic",
		Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/approle/", "display_name": "approle-diag"}})
	var got []string
	for _, claim := range claims {
		got = append(got, claim.Agent.ID+" "+filepath.Base(claim.Where))
	}
	if strings.Join(got, ", ") != "diagnostic catalog.yaml:27, ingest catalog.yaml:13" {
		t.Errorf("%v", got)
	}
	if n := len(new(Catalog).Claims(Query{Principal: "a/b/c/d"})) + len(c.Claims(Query{})); n != 0 {
		t.Error("claims of nobody")
	}
}

func TestTwoOwnersGetNeither(t *testing.T) {
	c := mustLoad(t, small)
	q := Query{Principal: "spire/td/spiffe/spiffe://example.org/diagnostic",
		Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}}
	first := c.Resolve(q)
	if first.Owner != nil || first.Agent != nil || !first.Protected {
		t.Errorf("%+v", first)
	}
	for _, text := range []string{"agent ingest of owner payments", "agent diagnostic of owner sre", "catalog.yaml:13", "catalog.yaml:27"} {
		if !strings.Contains(first.Conflict+first.Evidence, text) {
			t.Errorf("%s\ndoes not say %s", first.Conflict, text)
		}
	}
	for range 50 { // the order in which labels come must not matter
		if again := c.Resolve(q); again != first {
			t.Fatalf("%+v\nthen %+v", first, again)
		}
	}
}

func TestOwnersAloneMakeAConflict(t *testing.T) {
	got := mustLoad(t, small).Resolve(Query{Principal: "vault/prod/entity/e-9", Labels: map[string]string{"display_name": "approle-diag"}})
	if got.Owner != nil || !strings.Contains(got.Conflict, "owner payments") || !strings.Contains(got.Conflict, "owner sre") {
		t.Errorf("%+v", got)
	}
}

func TestEverythingWithinOneEntryMustHold(t *testing.T) {
	c := mustLoad(t, `owners: [{id: o}]
agents:
  - {id: a, owner: o, match: [{vault_entity: e, vault_role: {mount: approle, role: r}, label: {x: "1"}}]}
`)
	for want, labels := range map[bool][]map[string]string{
		true: {{"role_name": "r", "mount_point": "auth/approle/", "x": "1"}},
		false: {{"role_name": "r", "mount_point": "auth/other/", "x": "1"}, {"role_name": "q", "mount_point": "auth/approle/", "x": "1"},
			{"role_name": "r", "mount_point": "auth/approle/"}, {}},
	} {
		for _, l := range labels {
			if got := c.Resolve(Query{Principal: "vault/default/entity/e", Labels: l}); (got.Agent != nil) != want {
				t.Errorf("%v: %+v", l, got)
			}
		}
	}
}

func TestTwoSystemsOfRecordAreAConflict(t *testing.T) {
	c := mustLoad(t, strings.Replace(small, "  - id: reader\n    owner: payments\n", "  - id: reader\n    owner: payments\n    system: other\n", 1)+
		"---\nsystems: [{id: other}]\n")
	got := c.Resolve(Query{Principal: "vault/prod/entity/e-9", Labels: map[string]string{"role_name": "ingest", "mount_point": "approle"}})
	if got.Owner != nil || !strings.Contains(got.Conflict, "in system registry") || !strings.Contains(got.Conflict, "in system other") {
		t.Errorf("%+v", got)
	}
}

func TestOfTwoAgentsOfOneOwnerTheCloserRuleWins(t *testing.T) {
	c := mustLoad(t, `owners: [{id: o}]
agents:
  - {id: broad, owner: o, match: [{vault_role: {mount: approle, role: r}}]}
  - {id: exact, owner: o, match: [{vault_role: {mount: approle, role: r}, metadata: {shard: a}}]}
`)
	labels := map[string]string{"role_name": "r", "mount_point": "auth/approle/", "meta.shard": "a"}
	if got := c.Resolve(Query{Labels: labels}); got.Agent == nil || got.Agent.ID != "exact" || got.Conflict != "" {
		t.Errorf("%+v", got)
	}
	labels["meta.shard"] = "b"
	if got := c.Resolve(Query{Labels: labels}); got.Agent == nil || got.Agent.ID != "broad" {
		t.Errorf("%+v", got)
	}
}

func TestBadCatalogsAreRefusedWithLineAndKey(t *testing.T) {
	swap := func(old, with string) string { return strings.Replace(small, old, with, 1) }
	for name, c := range map[string]struct {
		text string
		line int
		says string
	}{
		"dangling owner":       {swap("owner: sre", "owner: nobody"), 24, `key "owner": "nobody" is no owner`},
		"dangling system":      {swap("system: registry", "system: other"), 11, `key "system": "other" is no system`},
		"duplicate owner":      {swap("id: sre", "id: payments"), 5, `owner "payments" is also at`},
		"duplicate agent":      {swap("id: diagnostic", "id: ingest"), 23, `agent "ingest" is also at`},
		"duplicate system":     {swap("  - id: registry", "  - id: registry\n  - id: registry"), 8, `system "registry" is also at`},
		"no owner":             {swap("    owner: sre\n", ""), 23, "has no owner"},
		"no match":             {small + "  - {id: x, owner: sre}\n", 29, "has no match"},
		"empty rule":           {small + "  - {id: x, owner: sre, match: [{}]}\n", 29, "at least one of"},
		"unknown key":          {swap("protected:", "protect:"), 25, `key "protect": unknown`},
		"unknown rule":         {swap("display_name:", "name:"), 28, `key "name": unknown`},
		"half a role":          {swap("{mount: auth/approle/, role: ingest}", "{role: ingest}"), 13, "mount or role is missing"},
		"no SPIFFE ID":         {swap("spiffe://example.org/", "example.org/"), 27, "spiffe://"},
		"no ARN":               {swap("arn:aws", "aws"), 16, "arn:"},
		"two identities":       {swap("        label: {namespace: ops/}", "        aws_role: arn:x"), 15, "second identity"},
		"no use at all":        {swap("per_day: 48", "per_day: 0"), 17, "above 0"},
		"two rates":            {swap("per_day: 48", "per_day: 48, per_hour: 2"), 17, "one of per_hour, per_day"},
		"id with spaces":       {swap("id: sre", `id: "s r e"`), 5, "letters"},
		"id is a number":       {swap("id: sre", "id: 7"), 5, "text in quotes"},
		"owners is a mapping":  {"owners: {id: x}\n", 1, "list"},
		"empty file":           {"", 1, "empty"},
		"not YAML":             {swap("  - id: sre", " - id: sre"), 0, "not YAML"},
		"protected in a text":  {swap("protected: true", "protected: maybe"), 25, "true or false"},
		"label is a list":      {swap("{namespace: ops/}", "{namespace: [a]}"), 15, "a list"},
		"half an account":      {small + "  - {id: x, owner: sre, match: [{kubernetes_service_account: {name: a}}]}\n", 29, "namespace or name is missing"},
		"account with a colon": {small + "  - {id: x, owner: sre, match: [{kubernetes_service_account: {namespace: \"a:b\", name: c}}]}\n", 29, "as Kubernetes has them"},
		"account as a text":    {small + "  - {id: x, owner: sre, match: [{kubernetes_service_account: a/b}]}\n", 29, "expected a mapping"},
		"no GCP email":         {small + "  - {id: x, owner: sre, match: [{gcp_service_account: me@example.org}]}\n", 29, "email of a service account"},
		"channels are numbers": {swap("[alerts, mail]", "[1]"), 4, "text in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, c.text)
			where := "catalog.yaml:"
			if c.line > 0 {
				where += fmt.Sprint(c.line) + ":"
			}
			if err == nil || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v\nexpected %s … %s", err, where, c.says)
			}
		})
	}
}

func TestCatalogMaySpreadOverFiles(t *testing.T) {
	dir := t.TempDir()
	owners, agents, _ := strings.Cut(small, "agents:\n")
	for name, text := range map[string]string{"b.yaml": owners, "a.yml": "agents:\n" + agents, "README.md": "no YAML: [", ".hidden.yaml": "["} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(dir)
	if err != nil || len(c.Agents()) != 3 || len(c.Systems()) != 1 {
		t.Errorf("%v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("an empty directory is accepted")
	}
	if _, err := Load(dir + "/nowhere"); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestExampleCatalogLoads(t *testing.T) {
	c, err := Load("../../examples/catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := c.Agent("backup"); !ok || !a.Protected {
		t.Errorf("%+v", a)
	}
	got := c.Resolve(Query{Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}})
	if got.Owner == nil || got.Owner.ID != "payments" {
		t.Errorf("%+v", got)
	}
}

func TestZeroCatalogKnowsNobody(t *testing.T) {
	var none *Catalog
	if got := none.Resolve(Query{Principal: "a/b/c/d"}); got != (Match{}) {
		t.Errorf("%+v", got)
	}
	if got := new(Catalog).Resolve(Query{Principal: "a/b/c/d"}); got != (Match{}) {
		t.Errorf("%+v", got)
	}
}

func TestChangedCatalogIsTakenOverAndABadOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(small)
	first, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done, changed, failed := make(chan error, 1), make(chan *Catalog, 8), make(chan error, 8)
	go func() {
		done <- Watch(ctx, path, first, func(c *Catalog) { changed <- c }, func(err error) { failed <- err })
	}()
	deadline := time.After(20 * time.Second)
	next := func() (*Catalog, error) {
		select {
		case c := <-changed:
			return c, nil
		case err := <-failed:
			return nil, err
		case <-deadline:
			t.Fatal("nothing came")
			return nil, nil
		}
	}
	put(strings.Replace(small, "owner: sre", "owner: nobody", 1))
	if _, err := next(); err == nil || !strings.Contains(err.Error(), "catalog.yaml:24") {
		t.Fatalf("%v", err)
	}
	put(strings.Replace(small, "owner: sre", "owner: payments", 1))
	if c, err := next(); c != nil || err != nil {
		t.Fatalf("%v, %v; expected to be told first that all is well", c, err)
	}
	c, _ := next()
	if a, _ := c.Agent("diagnostic"); a.Owner.ID != "payments" || c.Revision() == first.Revision() {
		t.Errorf("%+v", a)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func BenchmarkResolve(b *testing.B) {
	var text strings.Builder
	text.WriteString("owners: [{id: o}]\nagents:\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "  - {id: a%d, owner: o, match: [{vault_role: {mount: approle, role: r%d}}, {vault_entity: e%d}]}\n", i, i, i)
	}
	c := mustLoad(b, text.String())
	for name, q := range map[string]Query{
		"role": {Principal: "vault/default/entity/other", Labels: map[string]string{"role_name": "r77", "mount_point": "auth/approle/",
			"mount_type": "approle", "display_name": "approle", "namespace": ""}},
		"entity": {Principal: "vault/default/entity/e77", Labels: map[string]string{"mount_point": "auth/approle/", "display_name": "approle"}},
		"nobody": {Principal: "vault/default/entity/other", Labels: map[string]string{"mount_point": "auth/approle/", "display_name": "approle"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := c.Resolve(q); (got.Owner != nil) != (name != "nobody") {
					b.Fatal(got)
				}
			}
		})
	}
}
