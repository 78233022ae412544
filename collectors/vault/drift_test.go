package vault

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// facts are the newest of each key that was published.
func facts(b *flaky) (grants map[string]*leastwisev1.Grant, findings map[string]*leastwisev1.Finding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	grants, findings = map[string]*leastwisev1.Grant{}, map[string]*leastwisev1.Finding{}
	for _, m := range b.stored {
		fact := &leastwisev1.Fact{}
		if m.Topic != schemas.TopicIdentity || fact.UnmarshalVT(m.Value) != nil {
			continue
		}
		if g := fact.GetGrant(); g != nil {
			grants[g.Id] = g
		}
		if f := fact.GetFinding(); f != nil && f.Kind == schemas.FindingRoleDrift {
			findings[f.Subject] = f
		}
	}
	return grants, findings
}

func TestRealVaultRoleChangedPastLeastwiseIsAFindingAtOnce(t *testing.T) {
	v := startVault(t, nil)
	roleID, secretID := v.prepare()
	v.must("POST", "auth/approle/role/agent", rootToken, map[string]any{"token_policies": "renewer", "token_ttl": "1h"})
	v.must("PUT", "sys/policies/acl/writer", rootToken, map[string]any{"policy": `path "auth/approle/role/agent*" { capabilities = ["read", "update"] }`})
	v.must("POST", "auth/approle/role/own", rootToken, map[string]any{"token_policies": "writer"})
	own := field(v.must("POST", "auth/approle/login", rootToken, map[string]any{
		"role_id":   field(v.must("GET", "auth/approle/role/own/role-id", rootToken, nil), "data", "role_id"),
		"secret_id": field(v.must("POST", "auth/approle/role/own/secret-id", rootToken, map[string]any{}), "data", "secret_id")}), "auth", "client_token")
	dir, broker := t.TempDir(), &flaky{}
	// No second round comes in the test: what is seen is seen in the log.
	cfg := Config{Instance: "prod", File: v.log, BatchWait: 10 * time.Millisecond, Inventory: &InventoryConfig{Address: v.address, Device: "file", HMACAccessor: "true",
		AppRole:  &AppRole{RoleIDFile: secretFile(t, roleID), SecretIDFile: secretFile(t, secretID)},
		Interval: time.Hour, Rate: 2000, OwnRoles: []string{"own"}}}
	_, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	const id, subject = "vault/prod/role/auth/approle/agent", "role/auth/approle/agent"
	eventually(t, "the role and its policies are known", func() bool {
		grants, _ := facts(broker)
		return grants[id] != nil && grants["vault/prod/policy/renewer"] != nil && grants["vault/prod/policy/writer"] != nil
	})
	grants, findings := facts(broker)
	if g := grants[id]; len(g.Attached) != 1 || g.Attached[0].Grant != "vault/prod/policy/renewer" ||
		!strings.Contains(strings.Join(g.Rules[0].Capabilities, " "), "token_ttl=3600") || g.Rules[0].Resource != "auth/approle/role/agent" {
		t.Errorf("the role is %v", g)
	}
	if len(findings) != 0 {
		t.Errorf("findings of what was always so: %v", findings)
	}
	standing := func(want bool, words ...string) func() bool {
		return func() bool {
			_, findings := facts(broker)
			f := findings[subject]
			if f == nil || f.Standing != want {
				return false
			}
			text := f.Detail + strings.Join(f.Evidence, " ")
			for _, word := range words {
				if !strings.Contains(text, word) {
					return false
				}
			}
			return true
		}
	}
	// By the enforcer: no finding, and from now on it is right so.
	v.must("POST", "auth/approle/role/agent/token-ttl", own, map[string]any{"token_ttl": "30m"})
	eventually(t, "what the enforcer did is known", func() bool {
		grants, _ := facts(broker)
		return strings.Contains(strings.Join(grants[id].Rules[0].Capabilities, " "), "token_ttl=1800")
	})
	if _, findings := facts(broker); len(findings) != 0 {
		t.Errorf("the enforcer's own change is a finding: %v", findings)
	}
	// Back to what it was, past Leastwise.
	v.must("POST", "auth/approle/role/agent", rootToken, map[string]any{"token_ttl": "1h", "token_policies": "renewer,writer"})
	eventually(t, "the change is a finding", standing(true, "now also policy writer", "token_ttl=3600", "no longer token_ttl=1800", "audit log: update auth/approle/role/agent"))
	_, findings = facts(broker)
	if f := findings[subject]; len(f.About) == 0 || !strings.HasPrefix(f.About[0], "vault/prod/token/") {
		t.Errorf("nobody knows by whom: %v", f)
	}
	_, rest, _ := strings.Cut(findings[subject].Detail, `add "`)
	mark, _, _ := strings.Cut(rest, `"`)
	v.must("PUT", "sys/policies/acl/renewer", rootToken, map[string]any{"policy": `path "secret/*" { capabilities = ["sudo"] }`})
	eventually(t, "the policy's change is a finding", func() bool {
		_, findings := facts(broker)
		f := findings["policy/renewer"]
		return f != nil && f.Standing && strings.Contains(f.Detail, "secret/* [sudo]")
	})
	// Put back, it is withdrawn.
	v.must("PUT", "sys/policies/acl/renewer", rootToken, map[string]any{"policy": defaultPolicy})
	eventually(t, "what is back is no finding", func() bool {
		_, findings := facts(broker)
		return !findings["policy/renewer"].Standing
	})
	stop()

	// While nobody reads the log, a role goes; and somebody has accepted the other change.
	v.must("DELETE", "auth/approle/role/own", rootToken, nil)
	cfg.Inventory.Accepted = []string{mark}
	_, stop = running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "what is accepted is no finding", standing(false))
	eventually(t, "what went meanwhile is one", func() bool {
		_, findings := facts(broker)
		f := findings["role/auth/approle/own"]
		return f != nil && f.Standing && strings.Contains(f.Detail, "it was deleted")
	})
	stop()
}
