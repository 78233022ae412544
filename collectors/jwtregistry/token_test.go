package jwtregistry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func issuedRecord(t *testing.T, token string) string {
	t.Helper()
	return string(line(t, map[string]any{"version": 1, "event": "issued", "id": "x", "token": token}))
}

func TestSignaturesAreVerified(t *testing.T) {
	good, evil := newSigner("good"), newSigner("evil")
	claims := map[string]any{"iss": "https://i", "sub": "s", "jti": "j", "iat": issued, "exp": issued + 60, "scope": "a"}
	right := good.token(t, "good", claims)
	forged := evil.token(t, "good", claims)
	keys := keysOf(t, good)
	parts := strings.Split(right, ".")
	for name, c := range map[string]struct {
		keys  *KeySet
		token string
		want  signature
	}{
		"right":                                  {keys, right, signatureRight},
		"no kid":                                 {keys, good.token(t, "", claims), signatureRight},
		"made by another":                        {keys, forged, signatureWrong},
		"claims changed":                         {keys, parts[0] + "." + strings.Split(evil.token(t, "good", map[string]any{"iss": "https://i", "jti": "j", "sub": "root", "iat": issued}), ".")[1] + "." + parts[2], signatureWrong},
		"alg none":                               {keys, "eyJhbGciOiJub25lIn0." + parts[1] + ".", signatureWrong},
		"alg none, keys not configured":          {nil, "eyJhbGciOiJub25lIn0." + parts[1] + ".", signatureWrong},
		"a shared secret made of the public key": {keys, hmacToken(t, jwks(t, good), claims), signatureWrong},
		"a key nobody knows":                     {keys, evil.token(t, "evil", claims), signatureNoKey},
		"no keys configured":                     {nil, right, signatureUnchecked},
	} {
		t.Run(name, func(t *testing.T) {
			ev := decodeOne(t, Options{Keys: c.keys}, issuedRecord(t, c.token))
			if got := signature(ev.Labels["verified"]); got != c.want {
				t.Fatalf("verified=%s, want %s", got, c.want)
			}
			wantKey := "jwtregistry/default/jwt/j"
			if c.want == signatureWrong {
				wantKey = "jwtregistry/default/jwt/" + jsonrecord.HashOf([]byte(c.token))
				if ev.Principal != "" || len(ev.Policies) > 0 || ev.Outcome != leastwisev1.Outcome_OUTCOME_FAILURE || ev.Labels["claimed_jti"] != "j" {
					t.Errorf("claims nobody vouches for are taken for facts: %v", ev)
				}
			}
			if ev.Credential != wantKey {
				t.Errorf("key %s, want %s", ev.Credential, wantKey)
			}
		})
	}
	// What the issuer signed wins over what the record says.
	told := string(line(t, map[string]any{"version": 1, "event": "issued", "token": right, "jti": "other", "sub": "root", "scope": "admin", "aud": "extra"}))
	ev := decodeOne(t, Options{Keys: keys}, told)
	if ev.Credential != "jwtregistry/default/jwt/j" || ev.Principal != "jwtregistry/default/subject/https://i|s" || strings.Join(ev.Policies, " ") != "a" || ev.Labels["audience"] != "extra" {
		t.Errorf("the record's word against the issuer's signature: %v", ev)
	}
}

func hmacToken(t *testing.T, secret []byte, claims map[string]any) string {
	t.Helper()
	payload, _ := json.Marshal(claims)
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithHeader("kid", "good"))
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

func TestAlgorithmsOutsideTheListAreRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "r"}}})
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS512, Key: jose.JSONWebKey{Key: key, KeyID: "r"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, _ := made.Sign([]byte(`{"jti":"j","iat":1777629600}`))
	token, _ := signed.CompactSerialize()
	for _, c := range []struct {
		algorithms []string
		want       signature
	}{{nil, signatureWrong}, {[]string{"RS512"}, signatureRight}} {
		_, err := NewKeySet(JWKSConfig{File: "/dev/null", Algorithms: c.algorithms}, nil, nil)
		if err == nil {
			t.Fatal("an empty set was accepted")
		}
		keys, err := NewKeySet(JWKSConfig{URL: "http://127.0.0.1:1/", Algorithms: c.algorithms}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.take(set); err != nil {
			t.Fatal(err)
		}
		if got, _ := keys.verify([]byte(token)); got != c.want {
			t.Errorf("%v: %s, want %s", c.algorithms, got, c.want)
		}
	}
	for _, name := range []string{"none", "HS256", "RSA-OAEP", ""} {
		if err := (JWKSConfig{File: "x", Algorithms: []string{name}}).Validate(); err == nil {
			t.Errorf("algorithm %q is accepted", name)
		}
	}
}

func TestKeysThatAreNotPublicAreLeftOut(t *testing.T) {
	good := newSigner("good")
	private, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: good.key, KeyID: "good"}, {Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "s"}}})
	keys := &KeySet{}
	if err := keys.take(private); err == nil {
		t.Error("a set of private keys and shared secrets was accepted")
	}
	mixed := strings.Replace(string(jwks(t, good)), `{"keys":[`, `{"keys":[{"kty":"CANARY"},`, 1)
	if err := keys.take([]byte(mixed)); err != nil || len(keys.keys) != 1 {
		t.Errorf("%d keys, %v: one that can not be read must not hide the others", len(keys.keys), err)
	}
}

// A key that appears is found at once, an issuer that is away is asked once a minute, and the cache outlives a restart.
func TestKeysRotate(t *testing.T) {
	old, fresh := newSigner("old"), newSigner("fresh")
	var set atomic.Pointer[[]byte]
	var asked atomic.Int32
	first := jwks(t, old)
	set.Store(&first)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if text := set.Load(); text != nil {
			w.Write(*text)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	now := time.Unix(1777629600, 0)
	cfg := JWKSConfig{URL: server.URL, Cache: filepath.Join(t.TempDir(), "sub", "jwks.json")}
	keys, err := NewKeySet(cfg, func() time.Time { return now }, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"jti": "j", "iat": issued}
	verify := func(s signer) signature {
		got, _ := keys.verify([]byte(s.token(t, s.id, claims)))
		return got
	}
	if got := verify(old); got != signatureRight {
		t.Fatalf("the first look-up: %s", got)
	}
	if got := verify(fresh); got != signatureNoKey || asked.Load() != 1 {
		t.Fatalf("%s after %d questions: asked again within a minute", got, asked.Load())
	}
	second := jwks(t, old, fresh)
	set.Store(&second)
	now = now.Add(2 * time.Minute)
	if got := verify(fresh); got != signatureRight {
		t.Fatalf("after the rotation: %s", got)
	}
	set.Store(nil)
	if err := keys.Refresh(context.Background()); err == nil {
		t.Error("no error from an issuer that is away")
	}
	if got := verify(fresh); got != signatureRight {
		t.Errorf("an issuer that is away took the keys along: %s", got)
	}
	server.Close()
	if keys, err = NewKeySet(cfg, func() time.Time { return now }, nil); err != nil {
		t.Fatal(err)
	}
	if got := verify(old); got != signatureRight {
		t.Errorf("the cache was not read: %s", got)
	}
}

func TestNoPartOfATokenLeavesTheDecoder(t *testing.T) {
	log, tokens := signedLog(t)
	for _, keys := range []*KeySet{nil, keysOf(t, newSigner("good"))} {
		for _, text := range bytes.Split(bytes.TrimSpace(log), []byte("\n")) {
			wire, err := decodeOne(t, Options{Keys: keys}, string(text)).MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				for _, part := range strings.Split(token, ".") {
					if part != "" && bytes.Contains(wire, []byte(part)) {
						t.Fatalf("%q in %s", part, wire)
					}
				}
			}
			if bytes.Contains(wire, []byte("CANARY")) {
				t.Fatalf("a claim that is not known in %s", wire)
			}
		}
	}
}
