package broker

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

const policies = `policy_id: "long"
description: "A token lives for longer than its task."
metrics:
  - {name: "lifetime", source: "vault", threshold: "1h", condition: "greater_than"}
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
exception: {max_duration: 1h}
`

const agents = `owners: [{id: "payments"}]
agents:
  - id: "ingest"
    owner: "payments"
    match: [{spiffe_id: "spiffe://example.org/ingest"}, {agent_id: "ingest-client"}]
`

// brokersPolicy is all that docs/issue.md tells to give the broker.
const brokersPolicy = `
path "auth/token/create/leastwise-broker" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "sys/policies/acl/*" { capabilities = ["read"] }
path "sys/policies/acl/leastwise-issue-*" { capabilities = ["create", "update", "read"] }
path "pki/issue/web" { capabilities = ["update"] }
`

type inForce struct {
	set   *rego.Set
	known *catalog.Catalog
}

func (f inForce) Rules() *rego.Set          { return f.set }
func (f inForce) Catalog() *catalog.Catalog { return f.known }

func file(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func rulesOf(t *testing.T) inForce {
	t.Helper()
	dir := t.TempDir()
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: filepath.Dir(file(t, dir, "p.yaml", []byte(policies)))})
	if err != nil {
		t.Fatal(err)
	}
	known, err := catalog.Load(file(t, t.TempDir(), "c.yaml", []byte(agents)))
	if err != nil {
		t.Fatal(err)
	}
	return inForce{engine.Current(), known}
}

const ingest = "spiffe://example.org/ingest"

func TestRealVaultIssuesWithinPolicyAtOnce(t *testing.T) {
	b := start(t, nil)
	c := b.client(b.ca, ingest)
	code, a := b.post(c, "one", `{"policies": ["narrow"], "lifetime": "30m", "reason": "import"}`)
	if code != http.StatusOK || a.Status != done || a.WrappingToken == "" || a.Admission == nil || !a.Admission.Allowed {
		t.Fatalf("%d %+v", code, a)
	}
	s := b.unwrap(a)
	if s.Auth == nil || !slices.Equal(s.Auth.Policies, []string{"narrow"}) || s.Auth.TTL > 1800 || s.Auth.TTL < 1700 || s.Auth.Renews {
		t.Errorf("%+v", s.Auth)
	}
	if code, again := b.post(c, "one", `{"policies": ["narrow"], "lifetime": "30m", "reason": "import"}`); code != http.StatusConflict || again.WrappingToken != "" || again.Accessor != a.Accessor {
		t.Errorf("the same request again: %d %+v", code, again)
	}
	if code, _ := b.post(c, "one", `{"policies": ["narrow"], "lifetime": "31m", "reason": "import"}`); code != http.StatusUnprocessableEntity {
		t.Errorf("another wish under its key: %d", code)
	}

	code, a = b.post(c, "rules", `{"rules": [{"path": "secret/data/pay/x", "capabilities": ["read"]}], "lifetime": "5m", "reason": "import"}`)
	if code != http.StatusOK {
		t.Fatalf("%d %+v", code, a)
	}
	if s := b.unwrap(a); len(s.Auth.Policies) != 1 || !strings.HasPrefix(s.Auth.Policies[0], "leastwise-issue-") {
		t.Errorf("%+v", s.Auth)
	} else if text, _ := b.vault.must(t, root, http.MethodGet, "sys/policies/acl/"+s.Auth.Policies[0], nil).Data["policy"].(string); !strings.Contains(text, "secret/data/pay/x") {
		t.Error(text)
	}

	code, a = b.post(c, "cert", `{"role": "web", "name": "ingest.example.org", "lifetime": "30m", "reason": "serves"}`)
	if code != http.StatusOK {
		t.Fatalf("%d %+v", code, a)
	}
	issued, _ := b.unwrap(a).Data["certificate"].(string)
	block, _ := pem.Decode([]byte(issued))
	if block == nil {
		t.Fatal("no certificate")
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err != nil || cert.Subject.CommonName != "ingest.example.org" || time.Until(cert.NotAfter) > 30*time.Minute {
		t.Errorf("%v %v", cert, err)
	}

	for name, c := range map[string]struct {
		client *http.Client
		body   string
		want   int
	}{
		"nobody's SVID":              {b.client(b.ca, "spiffe://example.org/stranger"), `{"policies": ["narrow"], "lifetime": "5m", "reason": "r"}`, http.StatusForbidden},
		"another trust domain":       {b.client(b.ca, "spiffe://example.com/ingest"), `{"policies": ["narrow"], "lifetime": "5m", "reason": "r"}`, http.StatusUnauthorized},
		"no certificate":             {b.client(b.ca, ""), `{"policies": ["narrow"], "lifetime": "5m", "reason": "r"}`, http.StatusUnauthorized},
		"a policy nobody offers":     {c, `{"policies": ["the-broker"], "lifetime": "5m", "reason": "r"}`, http.StatusForbidden},
		"root":                       {c, `{"policies": ["root"], "lifetime": "5m", "reason": "r"}`, http.StatusUnprocessableEntity},
		"a path nobody offers":       {c, `{"rules": [{"path": "secret/data/*", "capabilities": ["read"]}], "lifetime": "5m", "reason": "r"}`, http.StatusForbidden},
		"a capability not offered":   {c, `{"rules": [{"path": "secret/data/pay/x", "capabilities": ["delete"]}], "lifetime": "5m", "reason": "r"}`, http.StatusForbidden},
		"a rule that writes another": {c, `{"rules": [{"path": "secret/data/pay/x\" {}", "capabilities": ["read"]}], "lifetime": "5m", "reason": "r"}`, http.StatusUnprocessableEntity},
		"another's name":             {c, `{"role": "web", "name": "other.example.org", "lifetime": "5m", "reason": "r"}`, http.StatusForbidden},
		"no reason":                  {c, `{"policies": ["narrow"], "lifetime": "5m", "reason": " "}`, http.StatusUnprocessableEntity},
		"no end":                     {c, `{"policies": ["narrow"], "reason": "r"}`, http.StatusUnprocessableEntity},
		"an unknown field":           {c, `{"policies": ["narrow"], "lifetime": "5m", "reason": "r", "period": "1h"}`, http.StatusBadRequest},
	} {
		if code, a := b.post(c.client, name, c.body); code != c.want || a.WrappingToken != "" || a.Status != refused || a.Detail == "" {
			t.Errorf("%s: %d %+v", name, code, a)
		}
	}
	if resp, err := b.client(newAuthority(t), ingest).Post(b.addr+"/v1/issue", "", nil); err == nil {
		resp.Body.Close()
		t.Errorf("an SVID of another authority: %d", resp.StatusCode)
	}
	b.quiet()
}

func TestRealVaultWaitsForSomebodyElseBeyondPolicy(t *testing.T) {
	b := start(t, nil)
	c := b.client(b.ca, ingest)
	const long = `{"policies": ["narrow"], "lifetime": "2h", "reason": "the migration"}`
	code, a := b.post(c, "long", long)
	if code != http.StatusAccepted || a.Status != waiting || a.Exceptions["long"] == "" || len(a.Exceptions) != 1 {
		t.Fatalf("%d %+v", code, a)
	}
	id := a.Exceptions["long"]
	if code, again := b.post(c, "long", long); code != http.StatusAccepted || again.Exceptions["long"] != id || len(b.exceptions()) != 1 {
		t.Errorf("asked again: %d %+v", code, again)
	}
	x := b.exceptions()[0]
	if of := x.Issuance; of.GetRequest() != a.Request || of.Agent != "ingest" || of.Owner != "payments" || of.Type != "token" || !slices.Equal(of.Policies, []string{"narrow"}) ||
		of.LifetimeSeconds != 7200 || of.Reason != "the migration" || len(of.Objections) != 1 || !strings.Contains(of.Objections[0], "2h") {
		t.Errorf("%v", of)
	}
	if x.RequestedBy != ingest || !strings.Contains(x.Reason, "the migration") || x.Identity != "spire/default/spiffe_id/"+ingest {
		t.Errorf("%v", x)
	}
	if _, err := exception.Approve(t.Context(), b.log, id, ingest, exception.Limits{}, time.Now()); !errors.Is(err, exception.ErrSelfApproval) {
		t.Fatalf("who asked approves: %v", err)
	}
	if code, _ := b.post(c, "long", long); code != http.StatusAccepted {
		t.Errorf("issued unapproved: %d", code)
	}
	none := func(string) (exception.Limits, error) { return exception.Limits{}, nil }
	if _, err := exception.ApproveIssuance(t.Context(), b.log, a.Request, "bob", "CHG-7", none, time.Now()); err != nil {
		t.Fatal(err)
	}
	if code, other := b.post(c, "longer", `{"policies": ["narrow"], "lifetime": "20h", "reason": "more"}`); code != http.StatusAccepted || other.Exceptions["long"] == id {
		t.Errorf("another request lives on that approval: %d %+v", code, other)
	}
	code, a = b.post(c, "long", long)
	if code != http.StatusOK {
		t.Fatalf("approved, and: %d %+v", code, a)
	}
	for _, x := range b.exceptions() { // who approved it sees what came of it
		if of := x.Issuance; (of.GetAccessor() != "") != (x.Id == id) || x.Id == id && (of.Accessor != a.Accessor || !of.EndsAt.AsTime().Equal(*a.Ends) || x.ApprovedBy != "bob") {
			t.Errorf("%v", x)
		}
	}
	if s := b.unwrap(a); s.Auth.TTL > 7200 || s.Auth.TTL < 7100 || !slices.Equal(s.Auth.Policies, []string{"narrow"}) {
		t.Errorf("%+v", s.Auth)
	}
	if code, _ := b.post(c, "long", long); code != http.StatusConflict {
		t.Errorf("issued twice: %d", code)
	}

	code, a = b.post(c, "wide", `{"policies": ["wide"], "lifetime": "10m", "reason": "r"}`)
	if code != http.StatusAccepted || a.Exceptions["broad"] == "" {
		t.Fatalf("%d %+v", code, a)
	}
	if _, err := exception.RefuseIssuance(t.Context(), b.log, a.Request, "bob", "take narrow", time.Now()); err != nil {
		t.Fatal(err)
	}
	if code, a := b.post(c, "wide", `{"policies": ["wide"], "lifetime": "10m", "reason": "r"}`); code != http.StatusForbidden || !strings.Contains(a.Detail, "(by bob: take narrow)") {
		t.Errorf("refused by a person, and: %d %+v", code, a)
	}
	if code, a := b.post(c, "wide-long", `{"policies": ["wide"], "lifetime": "1h", "reason": "r"}`); code != http.StatusForbidden || !strings.Contains(a.Detail, "no exception last longer") {
		t.Errorf("longer than the policy lets an exception last: %d %+v", code, a)
	}
	b.quiet()
}

// A role's settings may win over a request's. What Vault says of the token it made is told otherwise here.
func TestRealVaultTokenThatIsMoreThanAskedIsTakenBack(t *testing.T) {
	for says, want := range map[string]string{
		`{"data": {"ttl": 86400, "policies": ["narrow"]}}`:                                         "would live longer than was asked",
		`{"data": {"ttl": 600, "period": 86400, "policies": ["narrow"]}}`:                          "would live longer than was asked",
		`{"data": {"ttl": 600, "renewable": true, "explicit_max_ttl": 0, "policies": ["narrow"]}}`: "would live longer than was asked",
		`{"data": {"ttl": 600, "policies": ["narrow", "default"]}}`:                                "would hold policy default",
	} {
		b := start(t, func(c *Config) {
			to, err := url.Parse(c.Vault.Address)
			if err != nil {
				t.Fatal(err)
			}
			through := httputil.NewSingleHostReverseProxy(to)
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/auth/token/lookup-accessor" {
					_, _ = io.WriteString(w, says)
					return
				}
				through.ServeHTTP(w, r)
			}))
			t.Cleanup(proxy.Close)
			c.Vault.Address = proxy.URL
		})
		before := b.vault.accessors(t)
		const wish = `{"policies": ["narrow"], "lifetime": "10m", "reason": "r"}`
		code, a := b.post(b.client(b.ca, ingest), "k", wish)
		if code != http.StatusServiceUnavailable || a.WrappingToken != "" {
			t.Fatalf("%s: %d %+v", says, code, a)
		}
		if !strings.Contains(b.out.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, b.out.String())
		}
		if after := b.vault.accessors(t); after > before+1 { // the wrapping token is left; what it wraps opens nothing any more
			t.Errorf("%d tokens before, %d after", before, after)
		}
		if code, a := b.post(b.client(b.ca, ingest), "k", wish); code != http.StatusConflict {
			t.Errorf("begun, and asked again: %d %+v", code, a)
		}
	}
}

func TestBearerTokensAreHeldAgainstIssuerAudienceAndTime(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.RS256}}}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	provider.SetIssuer(server.URL)
	c := &callers{cfg: Config{OIDC: &OIDCConfig{Issuer: server.URL, Audience: "leastwise"}}.withDefaults()}
	for _, x := range []struct {
		name, claims string
		ok           bool
	}{
		{"good", `{"iss": %q, "aud": "leastwise", "sub": "ingest-client", "exp": %d}`, true},
		{"another audience", `{"iss": %q, "aud": "another", "sub": "ingest-client", "exp": %d}`, false},
		{"another issuer", `{"iss": "x%q", "aud": "leastwise", "sub": "ingest-client", "exp": %d}`, false},
		{"no subject", `{"iss": %q, "aud": "leastwise", "exp": %d}`, false},
		{"over", `{"iss": %q, "aud": "leastwise", "sub": "ingest-client", "exp": 1, "was": %d}`, false},
	} {
		claims := strings.Replace(fmt.Sprintf(x.claims, server.URL, time.Now().Add(time.Hour).Unix()), `"x"`, `"x`, 1)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/issue", nil)
		r.Header.Set("Authorization", "Bearer "+oidctest.SignIDToken(key, "k", oidc.RS256, claims))
		who, err := c.of(r)
		if (err == nil) != x.ok {
			t.Errorf("%s: %+v, %v", x.name, who, err)
		}
		if x.ok && (who.Name != "ingest-client" || who.Labels["agent_id"] != "ingest-client" || !strings.HasPrefix(who.Principal, "jwt/")) {
			t.Errorf("%+v", who)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/issue", nil)
	if _, err := c.of(r); err == nil {
		t.Error("nobody is somebody")
	}
	m := rulesOf(t).known.Resolve(catalog.Query{Principal: "jwt/i/client/ingest-client", Source: "vault", Type: "token", Labels: map[string]string{"agent_id": "ingest-client"}})
	if m.Agent == nil || m.Agent.ID != "ingest" {
		t.Errorf("the catalog does not find who signed in: %+v", m)
	}
}

func TestJournalSurvivesATornLineAndForgetsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.jsonl")
	for i := range 3 {
		j, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range i {
			if e, ok := j.get(fmt.Sprint("r", n)); !ok || e.State != done {
				t.Errorf("after %d starts r%d is %+v", i, n, e)
			}
		}
		for _, state := range []string{begun, done} {
			if err := j.append(entry{ID: fmt.Sprint("r", i), State: state, Wish: &Wish{}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.file.WriteString(`{"id":"torn","sta`); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}
