package vault

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Roles of PKI, of databases and of the token method are brought within policy
// and back, by a token that may write nothing else of them.
func TestRealVaultOtherRolesAreBroughtWithinPolicyAndBack(t *testing.T) {
	s := realVault(t)
	s.write(t, "sys/mounts/database", map[string]any{"type": "database"})
	s.write(t, "pki/roles/work", map[string]any{"allow_any_name": true, "ttl": "24h", "max_ttl": "48h", "generate_lease": true, "key_bits": 3072})
	s.write(t, "database/roles/work", map[string]any{"db_name": "none", "default_ttl": "24h", "max_ttl": "0", "creation_statements": "CREATE"})
	s.write(t, "auth/token/roles/work", map[string]any{"allowed_policies": "broad", "token_period": "24h", "orphan": true})
	limits := RoleTTLs{PKIMounts: []string{"pki/"}, DatabaseMounts: []string{"database"}, Token: true}
	s.policy(t, "the-enforcer", Config{RoleTTLs: limits}.PolicyHCL())
	c := s.config(t)
	c.RoleTTLs = limits
	v := open(t, c)
	if missing, err := v.Capabilities(t.Context()); err != nil || len(missing) > 0 {
		t.Fatalf("missing %v, %v", missing, err)
	}
	token := s.write(t, "auth/token/create/work", map[string]any{"policies": []string{"broad"}}).Auth
	for name, c := range map[string]struct {
		path, typ, id string
		labels        map[string]string
		want          string // the settings after the correction
		fields        []string
		narrowed      string
	}{
		"pki, leased": {"pki/roles/work", "lease", "pki/issue/work/abc", nil, "7200 7200 3072 true",
			[]string{"ttl", "max_ttl", "key_bits", "allow_any_name"}, "ttl 24h0m0s → 2h0m0s, max_ttl 48h0m0s → 2h0m0s"},
		"pki, by label": {"pki/roles/work", "certificate", "11:22", map[string]string{"mount_point": "pki/", "role_name": "work"}, "7200 7200 3072 true",
			[]string{"ttl", "max_ttl", "key_bits", "allow_any_name"}, "ttl 24h0m0s → 2h0m0s"},
		"database": {"database/roles/work", "lease", "database/creds/work/abc", nil, "7200 7200 none [CREATE]",
			[]string{"default_ttl", "max_ttl", "db_name", "creation_statements"}, "default_ttl 24h0m0s → 2h0m0s, max_ttl default → 2h0m0s"},
		"token": {"auth/token/roles/work", "token", s.hash(t, token.Accessor), map[string]string{"mount_point": "auth/token/", "mount_type": "token", "role_name": "work"},
			"7200 7200 [broad] true", []string{"token_explicit_max_ttl", "token_period", "allowed_policies", "orphan"}, "token_period 24h0m0s → 2h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			role := func() string {
				t.Helper()
				got, err := s.root.Logical().Read(c.path)
				if err != nil || got == nil {
					t.Fatal(got, err)
				}
				text := make([]string, len(c.fields))
				for i, field := range c.fields {
					text[i] = fmt.Sprint(got.Data[field])
				}
				return strings.Join(text, " ")
			}
			before := role()
			d := decision("x")
			d.Credential = "vault/default/" + c.typ + "/" + c.id
			d.Subject.Type, d.Subject.Labels = c.typ, c.labels
			d.Violations = []*pb.Violation{{Metric: "lifetime", Condition: "greater_than", Threshold: "2h"}}
			plan, refused, err := v.Plan(t.Context(), d)
			if err != nil || refused != "" || !strings.Contains(plan.Narrowed, c.narrowed) || role() != before {
				t.Fatalf("%v, refused %q, %v; the role is %s", plan, refused, err, role())
			}
			var done *pb.Reissue
			for range 2 {
				if done, err = v.Reissue(t.Context(), "l1", d, plan); err != nil {
					t.Fatal(err)
				}
			}
			if role() != c.want {
				t.Errorf("the role is %s, want %s", role(), c.want)
			}
			if again, refused, err := v.Plan(t.Context(), d); c.typ != "token" && (again != nil || !strings.Contains(refused, "within policy already")) || err != nil {
				t.Errorf("planned again: %v, %q, %v", again, refused, err)
			}
			// Died after half of the rollback.
			var was previous
			if err := json.Unmarshal([]byte(done.Previous), &was); err != nil {
				t.Fatal(err)
			}
			last := was.TTLs[len(was.TTLs)-1]
			if err := v.setRoleTTL(t.Context(), was.kind(), last, last.Was); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := v.Rollback(t.Context(), done); err != nil || role() != before {
					t.Fatalf("%v: rolled back to %s, it was %s", err, role(), before)
				}
			}
			s.write(t, c.path, map[string]any{was.TTLs[0].Field: "90m", "allow_any_name": true, "key_bits": 3072, "generate_lease": true, "db_name": "none"})
			changed := role()
			if err := v.Rollback(t.Context(), done); err == nil || target.KindOf(err) != target.Impossible || role() != changed {
				t.Errorf("overwrote a later change: %v, %s", err, role())
			}
			// The policy lets it write nothing but TTLs.
			k := was.kind()
			if err := v.setRoleTTL(t.Context(), k, roleTTL{Field: c.fields[2]}, 1); target.KindOf(err) != target.Permission {
				t.Errorf("it may write %s: %v", c.fields[2], err)
			}
			if err := v.setRoleTTL(t.Context(), k, was.TTLs[0], was.TTLs[0].Was); err != nil {
				t.Fatal(err)
			}
			if k.kind == "pki" {
				s.write(t, c.path, map[string]any{"ttl": "24h", "max_ttl": "48h", "allow_any_name": true, "generate_lease": true, "key_bits": 3072})
			}
		})
	}
	for why, d := range map[string]*pb.Decision{
		"its role is not known":   {Credential: "vault/default/lease/aws/creds/work/abc", Subject: &pb.Subject{Type: "lease"}},
		"about how long it lives": {Credential: "vault/default/lease/pki/issue/work/abc", Subject: &pb.Subject{Type: "lease"}},
	} {
		if plan, refused, err := v.Plan(t.Context(), d); plan != nil || err != nil || !strings.Contains(refused, why) {
			t.Errorf("%v, %q, %v", plan, refused, err)
		}
	}
}
