package jwtregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A real Vault issues identity tokens to an entity; its own key set verifies them, also after the key was rotated.
func TestIdentityTokensOfARealVault(t *testing.T) {
	binary := os.Getenv("LEASTWISE_VAULT")
	if binary == "" {
		t.Skip("set LEASTWISE_VAULT to the path of a vault binary to test against a real server")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root-of-the-test", "-dev-listen-address="+address)
	server.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = server.Wait() })
	call := func(method, path, token string, body any) []byte {
		t.Helper()
		text, _ := json.Marshal(body)
		request, err := http.NewRequest(method, "http://"+address+"/v1/"+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Vault-Token", token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		out, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode >= 300 {
			t.Fatalf("%s %s: status %d %s %v", method, path, answer.StatusCode, out, err)
		}
		return out
	}
	sourcetest.Eventually(t, "Vault runs", func() bool {
		answer, err := http.Get("http://" + address + "/v1/sys/health")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	const root = "root-of-the-test"
	call("POST", "identity/oidc/key/agents", root, map[string]any{"allowed_client_ids": "*", "algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "1h"})
	call("POST", "identity/oidc/role/agent", root, map[string]any{"key": "agents", "ttl": "10m", "template": `{"agent":{{identity.entity.name}}}`})
	call("POST", "sys/policies/acl/oidc", root, map[string]any{"policy": `path "identity/oidc/token/agent" { capabilities = ["read"] }`})
	call("POST", "sys/auth/userpass", root, map[string]any{"type": "userpass"})
	call("POST", "auth/userpass/users/agent-7", root, map[string]any{"password": "CANARY-password", "token_policies": "oidc"})
	var login struct {
		Auth struct {
			Token  string `json:"client_token"`
			Entity string `json:"entity_id"`
		} `json:"auth"`
	}
	if err := json.Unmarshal(call("POST", "auth/userpass/login/agent-7", "", map[string]any{"password": "CANARY-password"}), &login); err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeySet(JWKSConfig{URL: "http://" + address + "/v1/identity/oidc/.well-known/keys"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := call("GET", "identity/oidc/token/agent", login.Auth.Token, nil)
	check := func(answer []byte, want signature) {
		t.Helper()
		if !Recognise(answer) {
			t.Errorf("not recognised: %s", answer)
		}
		var told struct {
			ID   string `json:"request_id"`
			Data struct {
				Token  string `json:"token"`
				Client string `json:"client_id"`
			} `json:"data"`
		}
		if err := json.Unmarshal(answer, &told); err != nil {
			t.Fatal(err)
		}
		ev := decodeOne(t, Options{Keys: keys, VaultInstance: "prod"}, string(answer))
		if ev.Kind != leastwisev1.Event_ISSUED || ev.RecordId != told.ID || ev.Labels["verified"] != string(want) ||
			ev.Credential != "jwtregistry/default/jwt/"+jsonrecord.HashOf([]byte(told.Data.Token)) ||
			ev.Labels["vault_entity"] != "vault/prod/entity/"+login.Auth.Entity || ev.Labels["oauth_client"] != told.Data.Client {
			t.Errorf("verified=%s, event %v", ev.Labels["verified"], ev)
		}
		if life := ev.Lifetime.ExpiresAt.AsTime().Sub(ev.Lifetime.IssuedAt.AsTime()); life != 10*time.Minute {
			t.Errorf("it lives %v, want 10m", life)
		}
		wire, _ := ev.MarshalVT()
		for _, part := range strings.Split(told.Data.Token, ".") {
			if bytes.Contains(wire, []byte(part)) {
				t.Errorf("a part of the token in %v", ev)
			}
		}
	}
	check(first, signatureRight)
	call("POST", "identity/oidc/key/agents/rotate", root, map[string]any{})
	// Vault publishes the next key before it signs with it, so nobody has to ask again.
	check(call("GET", "identity/oidc/token/agent", login.Auth.Token, nil), signatureRight)
	check(first, signatureRight)
}
