package vault

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const formerPolicy = `
path "secret/data/*" { capabilities = ["create", "read", "update"] }
path "secret/data/no/*" { capabilities = ["deny"] }
path "secret/data/+/deep" { capabilities = ["delete"] }
path "secret/data/half" { capabilities = ["read"] }
path "secret/metadata/dir" { capabilities = ["list"] }
path "secret/data/few" {
  capabilities = ["read", "update"]
  denied_parameters = { "x" = [] }
}
path "secret/data/{{identity.entity.id}}/own" { capabilities = ["delete"] }
path "sys/policies/acl/*" { capabilities = ["read"] }
`

func TestOnlyWhatTheFormerPoliciesAllowedIsCausedByTheNarrowOne(t *testing.T) {
	former := grants{}
	if err := former.parse(formerPolicy); err != nil {
		t.Fatal(err)
	}
	done := &pb.Reissue{PolicyName: "leastwise-ingest-1", PolicyText: `path "secret/data/used" { capabilities = ["read"] }`, Former: former.rules()}
	by := &pb.Decision{Subject: &pb.Subject{Policies: []string{"default", "leastwise-ingest-1"}}}
	v := &Target{}
	for permission, want := range map[string]bool{
		"read secret/data/needed":      true,
		"update secret/data/a/b":       true,
		"update secret/data/used":      true,  // the narrow one lets it read alone
		"read secret/data/used":        false, // allowed now: something else refused it
		"delete secret/data/needed":    false, // never allowed
		"read secret/data/no/x":        false, // denied before, too
		"delete secret/data/x/deep":    true,
		"read secret/data/x/deep":      false, // the more specific pattern decides
		"update secret/data/half":      false,
		"list secret/metadata/dir/":    true,
		"read secret/data/few":         false, // whether its parameters were allowed is not known
		"delete secret/data/e1/own":    false, // whose folder it is is not known
		"read sys/policies/acl/broad":  false, // may need sudo
		"read other/x":                 false,
		"read":                         false,
		"help secret/data/needed":      false,
		"revoke secret/data/needed":    false,
		"read secret/data":             false,
		"read secret/dat":              false,
		"read /secret/data/needed":     false,
		"sudo secret/data/needed":      false,
		"create,read secret/data/used": false,
	} {
		if got := v.Caused(done, time.Time{}, by, permission); got != want {
			t.Errorf("%q: %t", permission, got)
		}
	}
	if v.Caused(done, time.Time{}, &pb.Decision{Subject: &pb.Subject{Policies: []string{"broad"}}}, "read secret/data/needed") {
		t.Error("counts for who does not hold the narrow policy")
	}
	if v.Caused(&pb.Reissue{PolicyName: done.PolicyName, PolicyText: done.PolicyText}, time.Time{}, by, "read secret/data/needed") {
		t.Error("counts although the former scope is not known")
	}
	for i := range maxFormer {
		former.add(fmt.Sprintf("secret/data/%d", i), []string{"read"}, "")
	}
	if former.rules() != nil {
		t.Error("what is kept is not bounded")
	}
}

// Vault itself is asked: what is said to have been allowed was.
func TestRealVaultAgreesOnWhatPoliciesAllow(t *testing.T) {
	s := realVault(t)
	s.write(t, "sys/policies/acl/former", map[string]any{"policy": formerPolicy})
	secret, err := s.root.Logical().Write("auth/token/create", map[string]any{"policies": []string{"former"}, "no_default_policy": true})
	if err != nil {
		t.Fatal(err)
	}
	g := grants{}
	if err := g.parse(formerPolicy); err != nil {
		t.Fatal(err)
	}
	allowed := 0
	for _, path := range []string{"secret/data/x", "secret/data/no/x", "secret/data/no", "secret/data/x/deep", "secret/data/no/deep", "secret/data/x/y/deep",
		"secret/data/half", "secret/data/half/x", "secret/metadata/dir", "secret/metadata/dir/", "secret/metadata/dir/x", "secret/data/few", "secret/data/",
		"secret/data", "secret/data/e/own", "sys/policies/acl/x", "other"} {
		answer, err := s.root.Logical().Write("sys/capabilities", map[string]any{"token": secret.Auth.ClientToken, "paths": []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		have := fmt.Sprint(answer.Data["capabilities"])
		for _, operation := range everything {
			says := slices.Contains(strings.Fields(strings.Trim(have, "[]")), operation)
			if got := g.allow(operation, path); got && !says {
				t.Errorf("%s %s: Vault says %s", operation, path, have)
			} else if got {
				allowed++
			}
		}
	}
	if allowed < 10 {
		t.Errorf("only %d are allowed: the test sees too little", allowed)
	}
}
