package core

import (
	"slices"
	"testing"
)

// Vault's audit log hashes accessors unless it is told not to, and agents name them as they are.
func TestIDsOfAnotherFormAreNotCompared(t *testing.T) {
	const differ, found = "ids_not_comparable", "no_issuance"
	hashed := []string{"vault/default/token/hmac-sha256:aa", "jwtregistry/default/jwt/sha256:aa"}
	plain := []string{otherToken, otherJWT}
	first := newWorld(t, usagePolicies, "")
	for _, c := range []struct {
		credential string
		told       []string
		want       string
	}{
		{vaultToken, nil, differ}, {vaultToken, hashed, differ}, {vaultToken, plain, found}, {vaultToken, slices.Concat(hashed, plain), differ},
		{"vault/default/token/hmac-sha256:bb", hashed, found}, {"vault/default/token/hmac-sha256:bb", plain, differ},
		{jwt, nil, differ}, {jwt, hashed, differ}, {jwt, plain, found}, {jwt, slices.Concat(hashed, plain), found},
		{"jwtregistry/default/jwt/sha256:bb", plain, differ}, {"jwtregistry/default/jwt/sha256:bb", slices.Concat(plain, hashed), differ},
		{"jwtregistry/default/jwt/sha256:bb", hashed, found},
		{vaultToken, []string{"vault/other/token/x", "vault/default/lease/x"}, differ},
	} {
		for _, toldFirst := range []bool{true, false} {
			w := first.another()
			w.core.Silence(read())
			report := func() { w.tell(about(c.credential).reported(1, 0, "success").events) }
			if !toldFirst {
				report()
				w.settle(judgedAt)
			}
			w.tell(neighbours(c.told...))
			if toldFirst {
				report()
			}
			w.settle(judgedAt)
			for _, life := range []string{"", "restarted"} {
				if life != "" {
					w = w.restarted()
					w.core.Silence(read())
					w.settle(judgedAt)
				}
				if got := w.core.Entry(c.credential).Usage().Unissued.String(); got != c.want {
					t.Errorf("%s beside %v, told first %v %s: %s, want %s", c.credential, c.told, toldFirst, life, got, c.want)
				}
			}
		}
	}
}
