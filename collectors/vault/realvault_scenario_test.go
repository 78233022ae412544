package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	defaultPolicy   = `path "auth/token/renew" { capabilities = ["update"] } path "auth/token/lookup-self" { capabilities = ["read"] }`
	collectorPolicy = `
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "sys/audit-hash/file" { capabilities = ["update"] }
path "sys/policies/acl/*" { capabilities = ["read"] }
path "auth/token/roles" { capabilities = ["list"] }
path "auth/token/roles/*" { capabilities = ["read"] }
path "auth/approle/role" { capabilities = ["list"] }
path "auth/approle/role/+" { capabilities = ["read"] }
path "sys/auth" { capabilities = ["read"] }
path "sys/mounts" { capabilities = ["read"] }
path "sys/mounts/*" { capabilities = ["read"] }
path "auth/+/role" { capabilities = ["list"] }
path "auth/+/role/+" { capabilities = ["read"] }
path "auth/+/certs" { capabilities = ["list"] }
path "auth/+/certs/+" { capabilities = ["read"] }
path "+/roles" { capabilities = ["list"] }
path "+/roles/+" { capabilities = ["read"] }
path "auth/approle/role/+/secret-id" { capabilities = ["list"] }
path "auth/approle/role/+/secret-id-accessor/lookup" { capabilities = ["update"] }
path "identity/entity-alias/id" { capabilities = ["list"] }
path "sys/leases/lookup/*" { capabilities = ["list", "sudo"] }
path "sys/leases/lookup" { capabilities = ["update"] }
`
)

// prepare sets up AppRole, PKI with leases and a role of orphans.
func (v *realVault) prepare() (roleID, secretID string) {
	v.must("PUT", "sys/policies/acl/renewer", rootToken, map[string]any{"policy": defaultPolicy})
	v.must("PUT", "sys/policies/acl/collector", rootToken, map[string]any{"policy": collectorPolicy})
	v.must("POST", "sys/auth/approle", rootToken, map[string]any{"type": "approle"})
	v.must("POST", "auth/approle/role/r", rootToken, map[string]any{"token_policies": "collector,renewer", "token_ttl": "1h"})
	v.must("POST", "auth/token/roles/orphans", rootToken, map[string]any{"orphan": true, "allowed_policies": "renewer"})
	v.must("POST", "sys/mounts/pki", rootToken, map[string]any{"type": "pki"})
	v.must("POST", "pki/root/generate/internal", rootToken, map[string]any{"common_name": "example.org", "ttl": "800h"})
	v.must("POST", "pki/roles/leased", rootToken, map[string]any{"allow_any_name": true, "generate_lease": true, "max_ttl": "72h"})
	return field(v.must("GET", "auth/approle/role/r/role-id", rootToken, nil), "data", "role_id"),
		field(v.must("POST", "auth/approle/role/r/secret-id", rootToken, map[string]any{}), "data", "secret_id")
}

func tellAll(events map[string]*leastwisev1.Event, credential string) string {
	kinds := []string{}
	for _, kind := range []leastwisev1.Event_Kind{leastwisev1.Event_ISSUED, leastwisev1.Event_RENEWED, leastwisev1.Event_USED, leastwisev1.Event_NOTED,
		leastwisev1.Event_DENIED, leastwisev1.Event_OBSERVED, leastwisev1.Event_REVOKED} {
		for _, ev := range events {
			if ev.Credential == credential && ev.Kind == kind {
				kinds = append(kinds, kind.String())
			}
		}
	}
	return strings.Join(kinds, " ")
}

// TestRealVaultTellsWhatIsDoneToTokens does to tokens what the recording does not hold, and says what must be told.
func TestRealVaultTellsWhatIsDoneToTokens(t *testing.T) {
	v := startVault(t, nil)
	roleID, secretID := v.prepare()
	login := map[string]any{"role_id": roleID, "secret_id": secretID}

	renewed, renewedAcc := v.token(rootToken, "auth/token/create/orphans", map[string]any{"policies": []string{"renewer"}, "no_parent": true})
	v.must("POST", "auth/token/renew", renewed, map[string]any{"token": renewed})
	v.must("POST", "auth/token/renew-accessor", rootToken, map[string]any{"accessor": renewedAcc})
	v.must("GET", "auth/token/lookup-self", renewed, nil)
	v.must("POST", "auth/token/lookup-accessor", rootToken, map[string]any{"accessor": renewedAcc})
	v.must("POST", "auth/token/revoke", rootToken, map[string]any{"token": renewed})

	limited, limitedAcc := v.token(rootToken, "auth/token/create", map[string]any{"policies": []string{"renewer"}, "num_uses": 2})
	v.must("GET", "auth/token/lookup-self", limited, nil)
	v.call("GET", "sys/mounts", limited, nil)
	if status, _ := v.call("GET", "auth/token/lookup-self", limited, nil); status != 403 {
		t.Fatalf("the spent token still works: %d", status)
	}

	wrapped := v.must("POST", "auth/approle/login", rootToken, login, "X-Vault-Wrap-TTL", "60s") // with a token sent along
	inner := v.must("POST", "sys/wrapping/unwrap", rootToken, map[string]any{"token": field(wrapped, "wrap_info", "token")})
	v.must("GET", "sys/mounts?help=1", field(inner, "auth", "client_token"), nil)
	v.call("GET", "auth/token/lookup/"+renewed, rootToken, nil) // an old client's mistake

	want := map[string]string{
		v.hash(renewedAcc): "ISSUED RENEWED RENEWED USED NOTED OBSERVED OBSERVED REVOKED",
		v.hash(limitedAcc): "ISSUED USED DENIED OBSERVED REVOKED",
		v.hash(field(wrapped, "wrap_info", "accessor")):         "ISSUED REVOKED",
		v.hash(field(wrapped, "wrap_info", "wrapped_accessor")): "ISSUED USED OBSERVED",
	}
	events := merged(t, Options{}, v.lines())
	for accessor, kinds := range want {
		if got := tellAll(events, "vault/default/token/"+accessor); got != kinds {
			t.Errorf("%s: %s, want %s", accessor, got, kinds)
		}
	}
	for _, ev := range events {
		if text := ev.String(); strings.Contains(text, "hvs.") || strings.Contains(text, secretID) || strings.Contains(text, rootToken) {
			t.Errorf("secret in %v", ev)
		}
		if ev.Kind == leastwisev1.Event_ISSUED && strings.HasSuffix(ev.Credential, v.hash(field(wrapped, "wrap_info", "wrapped_accessor"))) {
			if !ev.Orphan || ev.Lifetime.GetExpiresAt() == nil || ev.Principal == "" || ev.Labels["role_name"] != "r" {
				t.Errorf("wrapped login: %v", ev)
			}
		}
	}
}

// TestRealVaultInventory runs the collector with a token of its own against both kinds of device.
func TestRealVaultInventory(t *testing.T) {
	for name, hashed := range map[string]bool{"hashed accessors": true, "clear accessors": false} {
		t.Run(name, func(t *testing.T) {
			options := map[string]string{}
			if !hashed {
				options["hmac_accessor"] = "false"
			}
			v := startVault(t, options)
			roleID, secretID := v.prepare()
			id := func(accessor string) string {
				if hashed {
					return "vault/prod/token/" + v.hash(accessor)
				}
				return "vault/prod/token/" + accessor
			}
			_, before := v.token(rootToken, "auth/token/create", map[string]any{"policies": []string{"renewer"}, "ttl": "2h", "meta": map[string]string{"team": "x"}})
			broker := &flaky{}
			cfg := Config{Instance: "prod", File: v.log, BatchWait: 10 * time.Millisecond, Inventory: &InventoryConfig{Address: v.address, Device: "file",
				AppRole: &AppRole{RoleIDFile: secretFile(t, roleID), SecretIDFile: secretFile(t, secretID)}, Interval: 200 * time.Millisecond, Rate: 2000, Leases: true}}
			// What was logged before the collector came is gone: only the inventory can tell of the token.
			os.Truncate(v.log, 0)
			c, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: t.TempDir()})
			v.must("GET", "auth/token/lookup-self", rootToken, nil)
			observed := func(key string) *leastwisev1.Event {
				for _, ev := range broker.events(t) {
					if ev.Credential == key && ev.Kind == leastwisev1.Event_OBSERVED && ev.Action == "inventory" {
						return ev
					}
				}
				return nil
			}
			key := id(before)
			eventually(t, "the old token is observed", func() bool { return observed(key) != nil })
			ev := observed(key)
			if ev.Orphan || ev.Lifetime.IssuedAt == nil || ev.Lifetime.ExpiresAt.AsTime().Sub(ev.Lifetime.IssuedAt.AsTime()).Round(time.Minute) != 2*time.Hour ||
				strings.Join(ev.Policies, ",") != "default,renewer" || ev.Labels["meta.team"] != "x" {
				t.Errorf("observed %v", ev)
			}
			grants := func() map[string]*leastwisev1.Grant {
				broker.mu.Lock()
				defer broker.mu.Unlock()
				out := map[string]*leastwisev1.Grant{}
				for _, m := range broker.stored {
					fact := &leastwisev1.Fact{}
					if m.Topic == schemas.TopicIdentity && fact.UnmarshalVT(m.Value) == nil && fact.GetGrant() != nil {
						out[fact.GetGrant().Id] = fact.GetGrant()
					}
				}
				return out
			}
			eventually(t, "the policies are known", func() bool {
				g := grants()
				return g["vault/prod/policy/renewer"] != nil && g["vault/prod/policy/root"] != nil && g["vault/prod/policy/default"] != nil
			})
			if g := grants()["vault/prod/policy/renewer"]; len(g.Rules) != 2 || g.Rules[0].Resource != "auth/token/lookup-self" || g.Incomplete != "" {
				t.Errorf("grant %v", g)
			}

			// What a body names is recognised: a token by its accessor, a lease by its id; both hashed in the log.
			_, doomed := v.token(rootToken, "auth/token/create", map[string]any{"policies": []string{"renewer"}})
			v.must("POST", "auth/token/revoke-accessor", rootToken, map[string]any{"accessor": doomed})
			lease := field(v.must("POST", "pki/issue/leased", rootToken, map[string]any{"common_name": "a.example.org"}), "lease_id")
			v.must("POST", "sys/leases/revoke", rootToken, map[string]any{"lease_id": lease, "sync": true})
			orphan, orphanAcc := v.token(rootToken, "auth/token/create/orphans", map[string]any{"policies": []string{"renewer"}})
			_ = orphan
			revoked := func(key string) bool { return strings.Contains(tellAll(broker.events(t), key), "REVOKED") }
			doomedKey, orphanKey := id(doomed), id(orphanAcc)
			eventually(t, "the token's revocation is told under its key", func() bool { return revoked(doomedKey) })
			eventually(t, "the lease's revocation is told under its key", func() bool { return revoked("vault/prod/lease/" + lease) })
			eventually(t, "the role's token is told to be an orphan", func() bool {
				for _, ev := range broker.events(t) {
					if ev.Credential == orphanKey && ev.Kind == leastwisev1.Event_ISSUED {
						return ev.Orphan
					}
				}
				return false
			})
			broker.mu.Lock()
			for _, m := range broker.stored {
				if strings.Contains(string(m.Value), "hvs.") || strings.Contains(string(m.Value), secretID) {
					t.Errorf("secret in %q", m.Value)
				}
				if hashed && strings.Contains(string(m.Value), doomed) {
					t.Errorf("clear accessor in %q", m.Value)
				}
			}
			broker.mu.Unlock()
			_ = c
			stop()
		})
	}
}

func TestRealVaultInventoryWithoutPermissionNamesTheCapability(t *testing.T) {
	v := startVault(t, nil)
	v.must("PUT", "sys/policies/acl/some", rootToken, map[string]any{"policy": `path "auth/token/roles" { capabilities = ["list"] }`})
	weak, _ := v.token(rootToken, "auth/token/create", map[string]any{"policies": []string{"some"}})
	broker := &flaky{}
	c, _ := running(t, Config{File: v.log, Inventory: &InventoryConfig{Address: v.address, Device: "file", TokenFile: secretFile(t, weak), Interval: time.Hour, Rate: 1000}},
		collect.Deps{Stream: broker, DataDir: t.TempDir()})
	trouble := func() string { return c.Trouble("inventory") }
	eventually(t, "the missing capability is named", func() bool {
		return strings.Contains(trouble(), `[list, sudo] on path "auth/token/accessors"`)
	})
	if strings.Contains(trouble(), weak) {
		t.Error("the token is in the trouble")
	}
	eventually(t, "the log is still read", func() bool { return len(broker.events(t)) > 0 })
}

// TestRealVaultLogIsFollowed reads the log while Vault writes it.
func TestRealVaultLogIsFollowed(t *testing.T) {
	v := startVault(t, nil)
	dir := t.TempDir()
	broker := &flaky{}
	_, stop := running(t, Config{File: v.log, BatchWait: 5 * time.Millisecond}, collect.Deps{Stream: broker, DataDir: dir})
	for range 30 {
		v.must("GET", "auth/token/lookup-self", rootToken, nil)
	}
	want := ids(merged(t, Options{}, v.lines()))
	eventually(t, "all is published", func() bool { return missingIDs(want, ids(broker.events(t))) == 0 })
	stop()
	if at, err := source.LoadCheckpoint(filepath.Join(dir, "vault-default.checkpoint.json")); err != nil || at == nil || at.Offset == 0 {
		t.Errorf("checkpoint %v, %v", at, err)
	}
}
