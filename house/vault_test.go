package house

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRealVaultIsSetUpByTheScript runs deploy/vault/setup.sh twice on a real
// Vault and logs in with what it wrote.
func TestRealVaultIsSetUpByTheScript(t *testing.T) {
	binary := os.Getenv("LEASTWISE_VAULT")
	if binary == "" {
		t.Skip("needs a real Vault: make e2e, or set LEASTWISE_VAULT to its binary")
	}
	dir := t.TempDir()
	address := startVault(t, binary, dir)
	if err := os.Symlink(binary, filepath.Join(dir, "vault")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "root"), []byte("root-of-this-test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := []string{"VAULT_ADDR=" + address, "HOME=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH"), "VAULT_TOKEN="}
	setup := slices.Concat(client, []string{"VAULT_TOKEN_FILE=" + filepath.Join(dir, "root"), "AUDIT_LOG=" + filepath.Join(dir, "audit.log"),
		"COLLECTOR_DIR=" + filepath.Join(dir, "collector"), "ENFORCER_DIR=" + filepath.Join(dir, "enforcer"), "BROKER_DIR=" + filepath.Join(dir, "broker")})
	script := filepath.Join(top(t), "deploy", "vault", "setup.sh")
	for range 2 {
		said := output(t, dir, setup, "sh", script)
		for _, role := range []string{"collector", "enforcer", "broker"} {
			if secret := string(readAt(t, dir, role, "secret_id")); strings.Contains(said, secret) {
				t.Errorf("the script prints the secret id of %s", role)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "audit.log")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("audit log: %v %v, want mode 0640", info, err)
	}

	for role, forbidden := range map[string]string{"collector": "auth/token/revoke-accessor", "enforcer": "secret/data/x", "broker": "secret/data/x"} {
		info, err := os.Stat(filepath.Join(dir, role, "secret_id"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: secret_id: %v %v, want mode 0600", role, info, err)
		}
		token := strings.TrimSpace(output(t, dir, client, binary, "write", "-field=token", "auth/approle/login",
			"role_id=@"+filepath.Join(dir, role, "role_id"), "secret_id=@"+filepath.Join(dir, role, "secret_id")))
		may := func(path string) string {
			cmd := exec.CommandContext(t.Context(), binary, "token", "capabilities", path)
			cmd.Env = slices.Concat(os.Environ(), client, []string{"VAULT_TOKEN=" + token})
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("capabilities of %s on %s: %v\n%s", role, path, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		if role == "broker" {
			if got := may("auth/token/create/leastwise-broker"); got != "update" {
				t.Errorf("%s on its token role: %s", role, got)
			}
		} else if got := may("auth/token/accessors"); !strings.Contains(got, "list") || !strings.Contains(got, "sudo") {
			t.Errorf("%s on auth/token/accessors: %s", role, got)
		}
		if got := may(forbidden); got != "deny" {
			t.Errorf("%s on %s: %s, want deny", role, forbidden, got)
		}
	}
}

func readAt(t *testing.T, parts ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(raw)
}

// startVault runs a development server until the test ends and returns its URL.
func startVault(t *testing.T, binary, dir string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	_ = listener.Close()
	server := exec.Command(binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root-of-this-test", "-dev-listen-address="+at)
	server.Env = append(os.Environ(), "HOME="+dir)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/v1/sys/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(ask); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return "http://" + at
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("vault does not become ready:\n%s", log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
