package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// server is a real Vault in development mode, set up as a site would be: audit
// device, AppRole for agents, PKI, the token role, and the enforcer's own
// AppRole with exactly PolicyHCL. The root token is for the set-up alone.
type server struct {
	root *api.Client
	addr string
	dir  string
}

func realVault(t *testing.T) *server {
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
	s := &server{addr: "http://" + listen, dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	cmd.Env = []string{"HOME=" + s.dir, "VAULT_DEV_ROOT_TOKEN_ID=root-for-setup"}
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get(s.addr + "/v1/sys/health")
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
	conf := api.DefaultConfig()
	conf.Address = s.addr
	if s.root, err = api.NewClient(conf); err != nil {
		t.Fatal(err)
	}
	s.root.SetToken("root-for-setup")
	s.setUp(t)
	return s
}

func (s *server) setUp(t *testing.T) {
	t.Helper()
	s.write(t, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": filepath.Join(s.dir, "audit.log")}})
	s.write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	s.write(t, "sys/mounts/pki", map[string]any{"type": "pki"})
	s.write(t, "pki/root/generate/internal", map[string]any{"common_name": "test", "ttl": "8760h"})
	s.write(t, "pki/roles/plain", map[string]any{"allow_any_name": true, "ttl": "1h"})
	s.write(t, "pki/roles/leased", map[string]any{"allow_any_name": true, "ttl": "1h", "generate_lease": true})
	s.write(t, "auth/token/roles/leastwise", map[string]any{"allowed_policies_glob": []string{"leastwise-*"}, "orphan": true, "renewable": true, "token_explicit_max_ttl": "24h"})
	s.policy(t, "broad", `
path "secret/data/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "secret/data/admin/*" { capabilities = ["deny"] }
path "secret/data/other/*" { capabilities = ["read"] }`)
	s.write(t, "auth/approle/role/ingest", map[string]any{"token_policies": []string{"broad"}, "token_ttl": "4h"})
	s.policy(t, "the-enforcer", PolicyHCL())
	s.write(t, "auth/approle/role/enforcer", map[string]any{"token_policies": []string{"the-enforcer"}, "token_period": "1h", "token_no_default_policy": true})
}

func (s *server) write(t *testing.T, path string, data map[string]any) *api.Secret {
	t.Helper()
	secret, err := s.root.Logical().Write(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (s *server) policy(t *testing.T, name, text string) {
	t.Helper()
	s.write(t, "sys/policies/acl/"+name, map[string]any{"policy": text})
}

// config is the enforcer's, with an AppRole login from files.
func (s *server) config(t *testing.T) Config {
	t.Helper()
	roleID, err := s.root.Logical().Read("auth/approle/role/enforcer/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secretID := s.write(t, "auth/approle/role/enforcer/secret-id", nil)
	dir := t.TempDir()
	file := func(name string, value any) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(fmt.Sprint(value)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return Config{
		Address: s.addr,
		AppRole: &AppRole{RoleIDFile: file("role_id", roleID.Data["role_id"]), SecretIDFile: file("secret_id", secretID.Data["secret_id"])},
		Reissue: ReissueConfig{Directory: filepath.Join(dir, "delivery")},
	}
}

func (s *server) target(t *testing.T) *Target { return open(t, s.config(t)) }

func open(t *testing.T, c Config) *Target {
	t.Helper()
	target, err := Open(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// as is a client with another token.
func (s *server) as(t *testing.T, token string) *api.Client {
	t.Helper()
	c, err := s.root.Clone()
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(token)
	return c
}

// token makes a live token and tells whether it works.
func (s *server) token(t *testing.T) (accessor string, works func() bool) {
	t.Helper()
	secret := s.write(t, "auth/token/create", map[string]any{"policies": []string{"broad"}, "ttl": "1h"})
	c := s.as(t, secret.Auth.ClientToken)
	return secret.Auth.Accessor, func() bool {
		_, err := c.Auth().Token().LookupSelf()
		return err == nil
	}
}

// login is an agent's login by its AppRole.
func (s *server) login(t *testing.T) *api.Secret {
	t.Helper()
	roleID, err := s.root.Logical().Read("auth/approle/role/ingest/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secretID := s.write(t, "auth/approle/role/ingest/secret-id", nil)
	return s.write(t, "auth/approle/login", map[string]any{"role_id": roleID.Data["role_id"], "secret_id": secretID.Data["secret_id"]})
}

func (s *server) hash(t *testing.T, text string) string {
	t.Helper()
	return s.write(t, "sys/audit-hash/file", map[string]any{"input": text}).Data["hash"].(string)
}

// readJSON reads a delivered parcel.
func readJSON(t *testing.T, path string) parcel {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p parcel
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	return p
}
