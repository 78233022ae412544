package broker

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

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
