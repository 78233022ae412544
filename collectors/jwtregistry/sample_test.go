package jwtregistry

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signer is an issuer with a key that is the same in every run, so that tokens are too (Ed25519 signs without chance).
type signer struct {
	key ed25519.PrivateKey
	id  string
}

func newSigner(id string) signer {
	return signer{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{id[0]}, ed25519.SeedSize)), id}
}

// token signs claims; the header names the key as kid.
func (s signer) token(t testing.TB, kid string, claims map[string]any) string {
	t.Helper()
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: s.key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := made.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func jwks(t testing.TB, signers ...signer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.key.Public(), KeyID: s.id, Use: "sig", Algorithm: "EdDSA"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keysOf gives a key set read from a file.
func keysOf(t testing.TB, signers ...signer) *KeySet {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, jwks(t, signers...), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeySet(JWKSConfig{File: path}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func line(t testing.TB, fields map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

var issued = time.Date(2026, 5, 1, 1, 0, 0, 0, time.UTC).Unix()

// signedLog are records with tokens in their signed form: right, signed by another, signed by nobody, of an unknown key,
// and Vault's.
func signedLog(t testing.TB) (log []byte, tokens []string) {
	good, evil := newSigner("good"), newSigner("evil")
	claims := func(jti string) map[string]any {
		return map[string]any{"iss": "https://issuer.example.org", "sub": "svc-1", "aud": "orders", "iat": issued, "exp": issued + 600,
			"jti": jti, "scope": "orders:read", "secret_claim": "CANARY-claim"}
	}
	right, forged := good.token(t, "good", claims("t1")), evil.token(t, "good", claims("t1"))
	lost, strange := evil.token(t, "evil", claims("t2")), good.token(t, "good", claims("t3"))
	unsigned := "eyJhbGciOiJub25lIn0." + string(bytes.Split([]byte(right), []byte("."))[1]) + "."
	vault := good.token(t, "good", map[string]any{"iss": "https://vault.example.org:8200/v1/identity/oidc", "sub": "7d2e3179-f69b",
		"aud": "role-client", "iat": issued, "exp": issued + 3600, "namespace": "root"})
	add := func(fields map[string]any) { log = append(log, line(t, fields)...) }
	add(map[string]any{"version": 1, "event": "issued", "id": "s-1", "token": right})
	add(map[string]any{"version": 1, "event": "issued", "id": "s-2", "token": forged})
	add(map[string]any{"version": 1, "event": "issued", "id": "s-3", "token": lost})
	add(map[string]any{"version": 1, "event": "issued", "id": "s-4", "token": unsigned})
	add(map[string]any{"version": 1, "event": "issued", "id": "s-5", "token": strange, "jti": "other", "scope": "orders:write"})
	add(map[string]any{"request_id": "v-1", "lease_id": "", "data": map[string]any{"client_id": "role-client", "token": vault, "ttl": 3600}})
	return log, []string{right, forged, lost, unsigned, strange, vault}
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
