package e2e

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/enforcer/exception"
	vaulttarget "github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/vaultserver"
)

const rolePolicies = `policy_id: "day"
description: "Lives for a day at most."
metrics:
  - {name: "lifetime", source: "vault", threshold: "24h", condition: "greater_than"}
action:
  - {severity: "high", channel: "security", remediation_hint: "A day is enough."}
enforcement: {mode: enforce}
---
policy_id: "narrow"
description: "Ten permissions at most."
metrics:
  - {name: "permission_scope_complexity", source: "vault", threshold: "10", condition: "greater_than"}
action:
  - {severity: "high", channel: "security", remediation_hint: "Name the paths."}
applies_to: {types: [token]}
enforcement: {mode: enforce}
`

func TestRealVaultRolePastAdmissionIsAFindingForAsLongAsItCanIssue(t *testing.T) {
	if _, err := vaultserver.Find(); err != nil {
		t.Skip(err)
	}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	user, root := vaultUser{t, server.Addr}, server.RootToken
	type body = map[string]any
	put := func(path string, in body) { t.Helper(); user.must(root, http.MethodPut, path, in, false) }
	put("sys/audit/file", body{"type": "file", "options": body{"file_path": server.AuditFile}})
	put("sys/auth/approle", body{"type": "approle"})
	put("sys/mounts/pki", body{"type": "pki"})
	put("sys/policies/acl/collector", body{"policy": vaulttarget.Config{}.CollectorPolicyHCL()})
	put("sys/policies/acl/one", body{"policy": `path "secret/data/one" { capabilities = ["read"] }`})
	put("sys/policies/acl/many", body{"policy": manyRules()})
	put("sys/policies/acl/mine", body{"policy": `path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }`})
	role := func(name string, change body) {
		t.Helper()
		in := body{"token_policies": "one", "token_no_default_policy": true, "token_max_ttl": "12h"}
		for k, v := range change {
			in[k] = v
		}
		put("auth/approle/role/"+name, in)
	}
	role("within", nil)
	role("broad", body{"token_policies": "many"})
	role("templated", body{"token_policies": "mine"})
	role("periodic", body{"token_period": "1h"})
	put("auth/token/roles/any", body{"token_explicit_max_ttl": "1h"})
	put("pki/roles/month", body{"max_ttl": "720h", "allow_any_name": true})
	token := user.must(root, http.MethodPut, "auth/token/create-orphan", body{"policies": []string{"collector"}, "ttl": "12h"}, false).Auth.ClientToken

	p := newProduct(t, 2)
	p.log = server.AuditFile
	file := func(name, text string) string {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p.cfg.Policies.Dir = filepath.Dir(file("policies/p.yaml", rolePolicies))
	p.cfg.VaultCollector.File = p.log
	p.cfg.VaultCollector.Inventory = &vault.InventoryConfig{Address: server.Addr, TokenFile: file("token", token), Device: "file", HMACAccessor: "true", Rate: 2000}
	p.kafka.start()
	p.start()
	p.untilReady()

	// stands waits until a role's finding of a kind stands, with all words in it; no kind waits until none stands.
	stands := func(subject, kind string, words ...string) {
		t.Helper()
		p.until(func() string {
			var kinds, detail string
			err := p.db.QueryRow(t.Context(), `SELECT arrayStringConcat(arraySort(groupArray(kind)), ' '), arrayStringConcat(groupArray(detail), ' ')
				FROM v_source_findings WHERE kind IN ('role_beyond_policy', 'role_unjudged') AND subject = ?`, subject).Scan(&kinds, &detail)
			if err != nil || kinds != kind {
				return fmt.Sprintf("%s has %q (%v), not %q", subject, kinds, err, kind)
			}
			for _, word := range words {
				if !strings.Contains(detail, word) {
					return detail + " does not say " + word
				}
			}
			return ""
		})
	}
	stands("role/auth/approle/broad", "role_beyond_policy", "permission scope complexity 20", "narrow")
	stands("role/auth/approle/periodic", "role_beyond_policy", "never ends")
	stands("role/auth/approle/templated", "role_unjudged", "unknown", "narrow")
	stands("role/auth/token/any", "role_unjudged", "all that its creator has")
	stands("role/pki/month", "role_beyond_policy", "certificate", "lifetime 30d", "day")
	stands("role/auth/approle/within", "")

	// Past the broker, as anybody with a token of Vault could.
	role("ours", body{"token_max_ttl": "720h"})
	stands("role/auth/approle/ours", "role_beyond_policy", "lifetime 30d", "--identity vault/default/role/auth/approle/ours --policy day")
	role("ours", body{"token_max_ttl": "24h"})
	stands("role/auth/approle/ours", "")
	role("ours", body{"token_max_ttl": "48h"})
	stands("role/auth/approle/ours", "role_beyond_policy", "lifetime 2d")
	// The mount's maximum bounds its roles.
	put("sys/mounts/auth/approle/tune", body{"max_lease_ttl": "20h"})
	stands("role/auth/approle/ours", "")
	put("sys/mounts/auth/approle/tune", body{"max_lease_ttl": "768h"})
	stands("role/auth/approle/ours", "role_beyond_policy", "lifetime 2d")

	kafka, err := stream.Open(t.Context(), stream.Config{Brokers: p.cfg.Kafka.Brokers}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kafka.Close() })
	x, err := exception.Request(t.Context(), kafka, &pb.Exception{Identity: "vault/default/role/auth/approle/ours", PolicyId: "day", Reason: "migration",
		RequestedBy: "alice", Until: timestamppb.New(time.Now().Add(time.Hour))}, exception.Limits{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = exception.Approve(t.Context(), kafka, x.Id, "bob", exception.Limits{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	stands("role/auth/approle/ours", "")
	if _, err := exception.Revoke(t.Context(), kafka, x.Id, "carol", time.Now()); err != nil {
		t.Fatal(err)
	}
	stands("role/auth/approle/ours", "role_beyond_policy", "lifetime 2d")
	user.must(root, http.MethodDelete, "auth/approle/role/ours", nil, false)
	stands("role/auth/approle/ours", "")
}

func manyRules() string {
	var b strings.Builder
	for n := range 20 {
		fmt.Fprintf(&b, "path \"secret/data/%d\" { capabilities = [\"read\"] }\n", n)
	}
	return b.String()
}
