package processor

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/issuing"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const aboutRoles = `policy_id: "hour"
description: "An hour at most."
metrics: [{name: "lifetime", source: "vault", threshold: "1h", condition: "greater_than"}]
action: [{severity: "high", channel: "security", remediation_hint: "Shorter."}]
enforcement: {mode: enforce}
---
policy_id: "told-only"
description: "A minute would be nice."
metrics: [{name: "lifetime", source: "vault", threshold: "1m", condition: "greater_than"}]
action: [{severity: "low", channel: "security", remediation_hint: "Shorter."}]
enforcement: {mode: notify}
---
policy_id: "narrow"
description: "Two permissions at most."
metrics: [{name: "permission_scope_complexity", source: "any", threshold: "2", condition: "greater_than"}]
action: [{severity: "high", channel: "security", remediation_hint: "Less."}]
enforcement: {mode: enforce}
---
policy_id: "both"
description: "Longer than half an hour and broad."
match: all
metrics:
  - {name: "lifetime", source: "vault", threshold: "30m", condition: "greater_than"}
  - {name: "scope_weight", source: "any", threshold: "1", condition: "greater_than"}
action: [{severity: "high", channel: "security", remediation_hint: "Less."}]
enforcement: {mode: enforce}
---
policy_id: "owned"
description: "Somebody answers."
metrics: [{name: "unresolved_identity", source: "any", threshold: "1", condition: "equals"}]
action: [{severity: "high", channel: "security", remediation_hint: "Say who."}]
enforcement: {mode: enforce}
`

const ownersOfRoles = `owners: [{id: "payments"}]
agents:
  - {id: "ingest", owner: "payments", match: [{vault_role: {mount: "auth/approle", role: "x"}}]}
`

func TestARoleIsJudgedByWhatItDecidesAsAdmissionWould(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"p/p.yaml": aboutRoles, "c.yaml": ownersOfRoles} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: filepath.Join(dir, "p")})
	if err != nil {
		t.Fatal(err)
	}
	known, err := catalog.Load(filepath.Join(dir, "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{}, Deps{Env: daemon.NewEnv("test", slog.New(slog.DiscardHandler)), Rules: engine.Current, Catalog: func() *catalog.Catalog { return known }})
	if err != nil {
		t.Fatal(err)
	}
	put := func(g *pb.Grant) { g.AsOf = timestamppb.New(noon); p.grants.Put(g) }
	put(&pb.Grant{Id: "vault/v/policy/one", Rules: []*pb.Rule{{Resource: "secret/data/a", Capabilities: []string{"list"}}}})
	put(&pb.Grant{Id: "vault/v/policy/three", Rules: []*pb.Rule{{Resource: "secret/data/b", Capabilities: []string{"create", "read", "update"}}}})
	put(&pb.Grant{Id: "vault/v/policy/template", Incomplete: "it is templated"})
	role := func(id, policy string, settings ...string) *pb.Grant {
		g := &pb.Grant{Id: "vault/v/role/" + id, AsOf: timestamppb.New(noon), Rules: []*pb.Rule{{Resource: id, Capabilities: append(settings, "token_no_default_policy=true", "disallowed_policies=default")}}}
		if policy != "" {
			g.Attached = []*pb.Attachment{{Grant: "vault/v/policy/" + policy}}
		}
		return g
	}
	const beyond, unjudged = schemas.FindingRoleBeyondPolicy, schemas.FindingRoleUnjudged
	for name, c := range map[string]struct {
		grant     *pb.Grant
		exception string
		want      map[string]string // kind to what it says, all parts of it
	}{
		"within policy":                        {role("auth/approle/x", "one", "token_max_ttl=1800"), "", nil},
		"too long":                             {role("auth/approle/x", "one", "token_max_ttl=7200"), "", map[string]string{beyond: "lifetime 2h, hour, --identity vault/v/role/auth/approle/x --policy hour"}},
		"too long, excepted":                   {role("auth/approle/x", "one", "token_max_ttl=7200"), "hour", nil},
		"too long, excepted of all":            {role("auth/approle/x", "one", "token_max_ttl=7200"), "*", nil},
		"too long, excepted of another":        {role("auth/approle/x", "one", "token_max_ttl=7200"), "narrow", map[string]string{beyond: "hour"}},
		"too broad and together with long":     {role("auth/approle/x", "three", "token_max_ttl=3600"), "", map[string]string{beyond: "permission scope complexity 3, narrow, scope weight, both"}},
		"nobody answers":                       {role("auth/approle/y", "one", "token_max_ttl=1800"), "", map[string]string{beyond: "owned"}},
		"a policy is not read":                 {role("auth/approle/x", "absent", "token_max_ttl=1800"), "", map[string]string{unjudged: "absent not fetched, narrow"}},
		"a policy is templated, and too long":  {role("auth/approle/x", "template", "token_max_ttl=7200"), "", map[string]string{beyond: "hour", unjudged: "templated, narrow, both"}},
		"how long is not known":                {role("auth/approle/x", "one"), "", map[string]string{unjudged: "lifetime is unknown, hour"}},
		"a certificate needs no owner":         {role("pki/web", "", "mount_type=pki", "max_ttl=3600"), "", nil},
		"a certificate for long":               {role("pki/web", "", "mount_type=pki", "max_ttl=7200"), "", map[string]string{beyond: "certificate, hour"}},
		"a database's scope is not the role's": {role("database/ro", "", "mount_type=database", "max_ttl=3600"), "", nil},
	} {
		of, ok := issuing.Of(c.grant, func(string, string) *pb.Grant { return nil })
		if !ok {
			t.Fatal(name)
		}
		found, err := p.judgeRole(context.Background(), engine.Current(), &of, []record.Excepted{{Identity: of.Key, Policy: c.exception}})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != len(c.want) {
			t.Errorf("%s: %v", name, found)
		}
		for _, f := range found {
			for word := range strings.SplitSeq(c.want[f.Kind], ", ") {
				if c.want[f.Kind] == "" || !strings.Contains(f.Detail, word) {
					t.Errorf("%s: %s does not say %q: %s", name, f.Kind, word, f.Detail)
				}
			}
			if strings.Contains(f.Detail, "told-only") || f.About[0] != of.Key {
				t.Errorf("%s: %v", name, f)
			}
		}
	}
}
