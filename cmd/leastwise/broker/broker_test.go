package broker

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
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

// authority signs certificates of tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign gives certificate and key (PEM) of a SPIFFE ID, or of 127.0.0.1.
func (a *authority) sign(t *testing.T, id string) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if id == "" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// vaultServer is a real Vault in development mode.
type vaultServer struct{ addr string }

const root = "root-for-setup"

func realVault(t *testing.T) *vaultServer {
	t.Helper()
	binary := os.Getenv("LEASTWISE_VAULT")
	if binary == "" {
		t.Skip("LEASTWISE_VAULT is not set: the real Vault is not tested (make vault builds it)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	v := &vaultServer{addr: "http://" + listen}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	cmd.Env = []string{"HOME=" + t.TempDir(), "VAULT_DEV_ROOT_TOKEN_ID=" + root}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get(v.addr + "/v1/sys/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("vault is not ready: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // polling a process for readiness
	}
	for path, body := range map[string]map[string]any{
		"sys/policies/acl/narrow":           {"policy": `path "secret/data/a" { capabilities = ["read"] }`},
		"sys/policies/acl/wide":             {"policy": `path "secret/*" { capabilities = ["create", "read", "update", "delete"] }`},
		"sys/policies/acl/the-broker":       {"policy": brokersPolicy},
		"auth/token/roles/leastwise-broker": {"allowed_policies": []string{"narrow", "wide", "other"}, "allowed_policies_glob": []string{"leastwise-issue-*"}, "orphan": true, "renewable": false},
		"sys/mounts/pki":                    {"type": "pki"},
	} {
		v.must(t, root, http.MethodPost, path, body)
	}
	v.must(t, root, http.MethodPost, "pki/root/generate/internal", map[string]any{"common_name": "test", "ttl": "8760h"})
	v.must(t, root, http.MethodPost, "pki/roles/web", map[string]any{"allow_any_name": true, "max_ttl": "24h"})
	return v
}

type secret struct {
	Auth *struct {
		Token    string   `json:"client_token"`
		TTL      int      `json:"lease_duration"`
		Policies []string `json:"policies"`
		Renews   bool     `json:"renewable"`
	} `json:"auth"`
	Data map[string]any `json:"data"`
}

func (v *vaultServer) ask(t *testing.T, token, method, path string, body any) (int, secret) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, v.addr+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out secret
	_ = json.NewDecoder(resp.Body).Decode(&out) // no body is an empty answer
	return resp.StatusCode, out
}

func (v *vaultServer) must(t *testing.T, token, method, path string, body any) secret {
	t.Helper()
	code, out := v.ask(t, token, method, path, body)
	if code/100 != 2 {
		t.Fatalf("%s: %d", path, code)
	}
	return out
}

func (v *vaultServer) accessors(t *testing.T) int {
	t.Helper()
	list, _ := v.must(t, root, "LIST", "auth/token/accessors", nil).Data["keys"].([]any)
	return len(list)
}

// bench is a broker that runs, with all that it stands on.
type bench struct {
	t     *testing.T
	vault *vaultServer
	log   *stream.Client
	ca    *authority
	addr  string
	dir   string
	out   *buffer
	seen  []string // secrets that nobody may find again
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, vault: realVault(t), log: kafkatest.New(t), ca: newAuthority(t), dir: t.TempDir(), out: &buffer{}}
	if err := b.log.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicExceptions, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	token := b.vault.must(t, root, http.MethodPost, "auth/token/create-orphan", map[string]any{"policies": []string{"the-broker"}, "ttl": "1h"}).Auth.Token
	b.seen = append(b.seen, token)
	cert, key := b.ca.sign(t, "")
	cfg := Config{Listen: "127.0.0.1:0", CertFile: file(t, b.dir, "cert.pem", cert), KeyFile: file(t, b.dir, "key.pem", key),
		TrustBundleFile: file(t, b.dir, "bundle.pem", b.ca.pem), TrustDomain: "example.org",
		Vault: VaultConfig{Address: b.vault.addr, TokenFile: file(t, b.dir, "token", []byte(token+"\n")), TokenRole: "leastwise-broker"},
		Offers: []Offer{{Agents: []string{"ingest"}, Policies: []string{"narrow", "wide"}, Rules: []Rule{{"secret/data/pay/*", []string{"read", "list"}}},
			Certificates: []Certificate{{"web", []string{"ingest.example.org"}}}}}}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	env := daemon.NewEnv("broker", slog.New(slog.NewJSONHandler(b.out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	broker, err := New(cfg, Deps{Env: env, Log: b.log, Rules: rulesOf(t), DataDir: b.dir})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	b.addr = "https://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- broker.serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) client(ca *authority, id string) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(b.ca.cert)
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if id != "" {
		pair, err := tls.X509KeyPair(ca.sign(b.t, id))
		if err != nil {
			b.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (b *bench) post(c *http.Client, key, body string, head ...string) (int, Answer) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.addr+"/v1/issue", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	if len(head) == 2 {
		req.Header.Set(head[0], head[1])
	}
	resp, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out Answer
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		b.t.Fatalf("%d: %v: %s", resp.StatusCode, err, text)
	}
	if out.WrappingToken != "" {
		b.seen = append(b.seen, out.WrappingToken)
	}
	return resp.StatusCode, out
}

// unwrap opens an answer, and sees that it opens once.
func (b *bench) unwrap(a Answer) secret {
	b.t.Helper()
	out := b.vault.must(b.t, a.WrappingToken, http.MethodPost, "sys/wrapping/unwrap", nil)
	if code, _ := b.vault.ask(b.t, a.WrappingToken, http.MethodPost, "sys/wrapping/unwrap", nil); code/100 == 2 {
		b.t.Error("it unwraps twice")
	}
	if out.Auth != nil {
		b.seen = append(b.seen, out.Auth.Token)
	}
	return out
}

func (b *bench) exceptions() []*pb.Exception {
	b.t.Helper()
	list, err := exception.List(b.t.Context(), b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// quiet proves that no secret is found again.
func (b *bench) quiet() {
	b.t.Helper()
	journal, err := os.ReadFile(filepath.Join(b.dir, "broker.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	text := b.out.String() + string(journal)
	for _, x := range b.exceptions() {
		text += x.String()
	}
	for _, s := range b.seen {
		if strings.Contains(text, s) {
			b.t.Error("a token is in log, journal or Kafka")
		}
	}
	if len(b.seen) < 2 || !strings.Contains(text, "issuance") {
		b.t.Fatal("nothing was looked for")
	}
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
