package enforcer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The whole loop against a real Vault behind a proxy that breaks what a case
// says: nothing is done twice, forgotten, or recorded as done when it was not.
func TestRealVaultFaultsEndAsPromised(t *testing.T) {
	v := startVault(t)
	deny := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
	}
	cases := map[string]struct {
		fault fault
		// via is a state the ladder goes through; the end is always the same.
		via  pb.LadderState_State
		text string
	}{
		"answers 500 twice": {fault{path: "revoke-accessor", times: 2, instead: func(w http.ResponseWriter) { w.WriteHeader(500) }}, retrying, "500"},
		"times out after doing it": {fault{path: "revoke-accessor", times: 1, after: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }}, retrying,
			"no answer"},
		"does it and answers 500": {fault{path: "revoke-accessor", times: 1, after: func(w http.ResponseWriter) { w.WriteHeader(500) }}, retrying, "500"},
		"permission denied":       {fault{path: "revoke-accessor", times: 3, instead: deny}, escalatedState, `capability "update" on "auth/token/revoke-accessor"`},
		"refuses connections when it is due": {fault{path: "lookup-accessor", times: 3, instead: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }}, held,
			"no answer"},
		"cut off while verifying":   {fault{path: "lookup-accessor", skip: 1, times: 2, instead: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }}, retrying, "no answer"},
		"policy can not be written": {fault{path: "sys/policies/acl/leastwise-", times: 2, instead: func(w http.ResponseWriter) { w.WriteHeader(500) }}, reissueIntent, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			cfg := fastConfig()
			delivery := t.TempDir()
			proxy := newProxy(t, v.addr, c.fault)
			cfg.Vault = []vault.Config{v.config(t, proxy.URL, delivery)}
			token, accessor := v.token(t)
			credential := "vault/default/token/" + v.hash(t, accessor)
			d := scaled(credential)
			d.Proposal.Rules = []*pb.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}
			s.start(cfg, nil)
			s.until(d, reissued)
			entries := s.journal(credential)
			seen, intents := false, 0
			for i, e := range entries {
				if i > 0 {
					if err := checkEntry(entries[i-1], e); err != nil {
						t.Errorf("%v\n%v", err, e)
					}
				}
				if e.State == c.via && (strings.Contains(e.Waiting, c.text) || strings.Contains(e.GetAttempt().GetError(), c.text)) {
					seen = true
				}
				if e.State == revokeIntended {
					intents++
				}
			}
			if !seen {
				t.Errorf("no %v with %q among %v", c.via, c.text, entries)
			}
			if proxy.left() != 0 {
				t.Errorf("the fault was not met: %d left", proxy.left())
			}
			if v.works(token) {
				t.Error("the token still works")
			}
			// What the fault did after doing it is not done again.
			if c.fault.after != nil && (intents != 1 || proxy.passed("revoke-accessor") != 1) {
				t.Errorf("%d intents, %d calls reached Vault", intents, proxy.passed("revoke-accessor"))
			}
			v.checkNoSecrets(t, s, delivery, token, credential)
		})
	}
}

// checkNoSecrets looks for tokens where none may be.
func (v *realServer) checkNoSecrets(t *testing.T, s *site, delivery, token, credential string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(delivery, "ingest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var parcel struct {
		WrappingToken string `json:"wrapping_token"`
	}
	if err := json.Unmarshal(raw, &parcel); err != nil || parcel.WrappingToken == "" {
		t.Fatalf("%v in %s", err, raw)
	}
	text := s.log.String() + fmt.Sprint(s.journal(credential))
	if !strings.Contains(text, "REISSUED") {
		t.Error("the search looks at the wrong place")
	}
	for what, secret := range map[string]string{"wrapping token": parcel.WrappingToken, "revoked token": token, "own secret id": v.secretID} {
		if strings.Contains(text, secret) {
			t.Errorf("the %s is in the log or the journal", what)
		}
	}
}

// fault breaks calls whose path contains path: the first skip pass, then times
// are broken. With instead they do not reach Vault; with after they do.
type fault struct {
	path        string
	skip, times int
	instead     func(w http.ResponseWriter)
	after       func(w http.ResponseWriter)
}

type proxy struct {
	*httptest.Server
	mu      sync.Mutex
	fault   fault
	reached map[string]int
}

func newProxy(t *testing.T, addr string, f fault) *proxy {
	t.Helper()
	to, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{fault: f, reached: map[string]int{}}
	forward := httputil.NewSingleHostReverseProxy(to)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		broken := p.take(r)
		if broken && f.instead != nil {
			f.instead(w)
			return
		}
		p.mu.Lock()
		p.reached[r.URL.Path]++
		p.mu.Unlock()
		if !broken {
			forward.ServeHTTP(w, r)
			return
		}
		forward.ServeHTTP(httptest.NewRecorder(), r)
		f.after(w)
	}))
	p.Config.ErrorLog = nil
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) take(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(r.URL.Path, p.fault.path) || r.Method == http.MethodGet {
		return false
	}
	if p.fault.skip > 0 {
		p.fault.skip--
		return false
	}
	if p.fault.times == 0 {
		return false
	}
	p.fault.times--
	return true
}

func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault.times
}

func (p *proxy) passed(path string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for reached, times := range p.reached {
		if strings.Contains(reached, path) {
			n += times
		}
	}
	return n
}

// realServer is a real Vault with the enforcer's AppRole and exactly its policy.
type realServer struct {
	addr     string
	audit    string // file of the audit log
	secretID string
}

func startVault(t *testing.T) *realServer {
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
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	cmd.Env = []string{"HOME=" + dir, "VAULT_DEV_ROOT_TOKEN_ID=root-for-setup"}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	v := &realServer{addr: "http://" + listen, audit: filepath.Join(dir, "audit.log")}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(v.addr + "/v1/sys/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("vault is not ready")
		}
	}
	v.do(t, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": v.audit}})
	v.do(t, "sys/auth/approle", map[string]any{"type": "approle"})
	v.do(t, "auth/token/roles/leastwise", map[string]any{"allowed_policies_glob": "leastwise-*", "orphan": true, "renewable": true})
	v.do(t, "sys/policies/acl/broad", map[string]any{"policy": `path "secret/data/*" { capabilities = ["create", "read", "update"] }`})
	v.do(t, "sys/policies/acl/the-enforcer", map[string]any{"policy": vault.PolicyHCL()})
	v.do(t, "auth/approle/role/enforcer", map[string]any{"token_policies": "the-enforcer", "token_period": "1h"})
	return v
}

func (v *realServer) call(token, method, path string, body any) (map[string]any, int, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequest(method, v.addr+"/v1/"+path, strings.NewReader(string(raw)))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&answer) // a 204 has none
	return answer, resp.StatusCode, nil
}

func (v *realServer) do(t *testing.T, path string, body any) map[string]any {
	t.Helper()
	answer, code, err := v.call("root-for-setup", http.MethodPost, path, body)
	if err != nil || code/100 != 2 {
		t.Fatalf("%s: %d %v %v", path, code, answer, err)
	}
	return answer
}

func (v *realServer) token(t *testing.T) (token, accessor string) {
	t.Helper()
	auth := v.do(t, "auth/token/create", map[string]any{"policies": []string{"broad"}, "ttl": "1h"})["auth"].(map[string]any)
	return auth["client_token"].(string), auth["accessor"].(string)
}

func (v *realServer) works(token string) bool {
	_, code, err := v.call(token, http.MethodGet, "auth/token/lookup-self", nil)
	return err != nil || code == http.StatusOK
}

func (v *realServer) hash(t *testing.T, text string) string {
	t.Helper()
	return v.do(t, "sys/audit-hash/file", map[string]any{"input": text})["data"].(map[string]any)["hash"].(string)
}

func (v *realServer) config(t *testing.T, addr, delivery string) vault.Config {
	t.Helper()
	answer, _, err := v.call("root-for-setup", http.MethodGet, "auth/approle/role/enforcer/role-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	v.secretID = v.do(t, "auth/approle/role/enforcer/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	dir := t.TempDir()
	file := func(name, value string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return vault.Config{Address: addr, AppRole: &vault.AppRole{
		RoleIDFile:   file("role", answer["data"].(map[string]any)["role_id"].(string)),
		SecretIDFile: file("secret", v.secretID),
	}, Reissue: vault.ReissueConfig{Directory: delivery}}
}
