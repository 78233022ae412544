package kv

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/leastwise/leastwise/enforcer/target"
)

// realVault is a server in development mode, whose mount secret is of KV
// version 2.
func realVault(t *testing.T) *api.Client {
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
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	cmd.Env = []string{"HOME=" + t.TempDir(), "VAULT_DEV_ROOT_TOKEN_ID=root-for-setup"}
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	conf := api.DefaultConfig()
	conf.Address = "http://" + listen
	root, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	root.SetToken("root-for-setup")
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := root.KVv2("secret").Put(t.Context(), "probe", map[string]any{"x": "y"})
		if err == nil {
			return root
		}
		if time.Now().After(deadline) {
			t.Fatalf("vault is not ready: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // polling a process for readiness
	}
}

func TestRealVaultGivesWhatIsBelowThePrefixAndNothingElse(t *testing.T) {
	root := realVault(t)
	put := func(path string, data map[string]any) {
		if _, err := root.KVv2("secret").Put(t.Context(), path, data); err != nil {
			t.Fatal(err)
		}
	}
	put("registry/jwt/one", map[string]any{"access_token": "a", "refresh_token": "r", "expires_in": 60})
	put("registry/jwt/gone", map[string]any{"access_token": "b"})
	put("elsewhere/jwt/one", map[string]any{"access_token": "c"})
	if err := root.KVv2("secret").Delete(t.Context(), "registry/jwt/gone"); err != nil {
		t.Fatal(err)
	}
	if err := root.Sys().PutPolicy("registry", `path "secret/data/registry/*" { capabilities = ["read"] }
path "secret/metadata/registry/*" { capabilities = ["list"] }`); err != nil {
		t.Fatal(err)
	}
	token, err := root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"registry"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Auth.ClientToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := func(prefix string) *Store {
		s, err := Open(Config{Address: root.Address(), TokenFile: file, Prefix: prefix}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := store("/registry/")
	if got, err := s.Read(t.Context(), "jwt/one"); err != nil || got["access_token"] != "a" || got["refresh_token"] != "r" {
		t.Errorf("Read = %v fields, %v", len(got), err)
	}
	for _, name := range []string{"jwt/gone", "jwt/never"} {
		if got, err := s.Read(t.Context(), name); err != nil || got != nil {
			t.Errorf("Read of %s = %v fields, %v", name, len(got), err)
		}
	}
	if names, err := s.List(t.Context(), "jwt"); err != nil || !slices.Contains(names, "one") {
		t.Errorf("List = %v, %v", names, err)
	}
	_, err = store("elsewhere").Read(t.Context(), "jwt/one")
	if target.KindOf(err) != target.Permission || !strings.Contains(err.Error(), "secret/data/elsewhere/jwt/one") {
		t.Errorf("Read elsewhere = %v", err)
	}
	if strings.Contains(err.Error(), token.Auth.ClientToken) {
		t.Error("the token is in the error")
	}
}

func TestWithoutAnAnswerNothingIsConcluded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Address: "http://127.0.0.1:1", TokenFile: file, Prefix: "p"}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context(), "jwt/one"); err == nil || got != nil || target.KindOf(err) != target.Retryable {
		t.Errorf("Read = %v, %v", got, err)
	}
}
