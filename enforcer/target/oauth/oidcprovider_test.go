package oauth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
)

func (s *site) world(t *testing.T, make func(t *testing.T) (target.Credential, func() bool)) targettest.World {
	s.dir = t.TempDir()
	s.lose.Store(false)
	s.busy.Store(false)
	s.keep(t, typeRefresh, "never issued", "no-such-token")
	return targettest.World{
		Target: open(t, s.config()), New: make,
		Unknown: credential(typeRefresh, "never issued", "agent"),
		Foreign: target.Credential{Key: "vault/default/token/abc"},
		Lose:    func(*testing.T) { s.lose.Store(true) },
		Busy:    func(*testing.T) { s.busy.Store(true) },
	}
}

func TestOIDCProviderHoldsTheContractWithOpaqueAccessTokens(t *testing.T) {
	s := provider(t)
	targettest.Run(t, func(t *testing.T) targettest.World {
		return s.world(t, func(t *testing.T) (target.Credential, func() bool) {
			token, works := s.opaque(t, "agent")
			id := "sha256:" + hash(token)
			s.keep(t, typeJWT, id, token)
			return credential(typeJWT, id, "agent"), works
		})
	})
}

func TestOIDCProviderHoldsTheContractWithRefreshTokens(t *testing.T) {
	s, n := provider(t), 0
	targettest.Run(t, func(t *testing.T) targettest.World {
		return s.world(t, func(t *testing.T) (target.Credential, func() bool) {
			token, works := s.refresh(t, "agent")
			n++
			id := fmt.Sprintf("the registry's own id/%d", n)
			s.keep(t, typeRefresh, id, token)
			return credential(typeRefresh, id, "agent"), works
		})
	})
}

func TestOIDCProviderHoldsTheContractWithSignedTokens(t *testing.T) {
	s := provider(t)
	targettest.Run(t, func(t *testing.T) targettest.World {
		w := s.world(t, func(t *testing.T) (target.Credential, func() bool) {
			refresh, works := s.refresh(t, "agent")
			token, jti := s.signed(t, "agent", refresh)
			s.keep(t, typeJWT, jti, fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":600}`, token, refresh))
			return credential(typeJWT, jti, "agent"), works
		})
		w.Lingers = true
		return w
	})
}

func TestOIDCProviderIsFoundByItsMetadataAndLetsAnAssertionIn(t *testing.T) {
	s := provider(t)
	c := s.config()
	c.RevocationEndpoint, c.IntrospectionEndpoint = "", ""
	c.Client = Client{ID: "leastwise-jwt", Auth: authJWT, PrivateKeyFile: filepath.Join(s.files, "key.pem"), KeyID: "k1"}
	tt := open(t, c)
	if missing, err := tt.Capabilities(t.Context()); err != nil || len(missing) > 0 {
		t.Fatalf("Capabilities = %v, %v", missing, err)
	}
	token, works := s.opaque(t, "agent")
	s.keep(t, typeJWT, "sha256:"+hash(token), token)
	if err := tt.Revoke(t.Context(), credential(typeJWT, "sha256:"+hash(token), "agent")); err != nil || works() {
		t.Errorf("Revoke = %v, works: %v", err, works())
	}
}

func TestOIDCProviderRefusesAStrangersTokenAndTakesItsOwnClient(t *testing.T) {
	s := provider(t)
	token, works := s.opaque(t, "strict")
	id := "sha256:" + hash(token)
	s.keep(t, typeJWT, id, token)
	cred := credential(typeJWT, id, "strict")
	err := open(t, s.config()).Revoke(t.Context(), cred)
	if target.KindOf(err) != target.Permission || !strings.Contains(err.Error(), "clients") || !works() {
		t.Fatalf("Revoke as another client = %v", err)
	}
	c := s.config()
	c.Clients = []Client{{ID: "strict", SecretFile: filepath.Join(s.files, "strict")}}
	if err := open(t, c).Revoke(t.Context(), cred); err != nil || works() {
		t.Errorf("Revoke as its own client = %v, works: %v", err, works())
	}
}

func TestOIDCProviderWrongSecretIsSaidAsMissing(t *testing.T) {
	s := provider(t)
	s.file(t, "leastwise", "wrong")
	missing, err := open(t, s.config()).Capabilities(t.Context())
	if err != nil || len(missing) != 1 || !strings.Contains(missing[0].String(), "client leastwise") {
		t.Errorf("Capabilities = %v, %v", missing, err)
	}
}

func TestOIDCProviderSignedTokenAloneCanOnlyBeRefusedByThoseWhoAcceptIt(t *testing.T) {
	s := provider(t)
	token, jti := s.signed(t, "agent", "")
	s.keep(t, typeJWT, jti, token)
	cred := credential(typeJWT, jti, "agent")
	now := time.Now()
	tt, err := Open(s.config(), nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	sight, err := tt.Lookup(t.Context(), cred)
	if err != nil || sight.Status != target.Alive {
		t.Fatalf("Lookup = %+v, %v", sight, err)
	}
	cred.Found = sight.Found
	err = tt.Revoke(t.Context(), cred)
	if target.KindOf(err) != target.Impossible || !errors.Is(err, target.ErrIssuerCannot) {
		t.Errorf("Revoke = %v", err)
	}
	if p, err := tt.Verify(t.Context(), cred); err != nil || p.Gone {
		t.Errorf("Verify while it works = %+v, %v", p, err)
	}
	now = now.Add(20 * time.Minute)
	if p, err := tt.Verify(t.Context(), cred); err != nil || !p.Gone || !p.WorksUntil.IsZero() {
		t.Errorf("Verify after its end = %+v, %v", p, err)
	}
}

func TestOIDCProviderTokenOfAnotherIDIsNotRevoked(t *testing.T) {
	s := provider(t)
	refresh, works := s.refresh(t, "agent")
	token, _ := s.signed(t, "agent", refresh)
	s.keep(t, typeJWT, "another jti", fmt.Sprintf(`{"access_token":%q,"refresh_token":%q}`, token, refresh))
	err := open(t, s.config()).Revoke(t.Context(), credential(typeJWT, "another jti", "agent"))
	if target.KindOf(err) != target.Impossible || !works() {
		t.Errorf("Revoke = %v", err)
	}
}

func TestOIDCProviderTokenThatNobodyKeepsIsImpossibleWithWhatToDo(t *testing.T) {
	s := provider(t)
	tt := open(t, s.config())
	for _, cred := range []target.Credential{credential(typeJWT, "unkept", "agent"), credential(typeSession, "s1", "agent")} {
		_, err := tt.Lookup(t.Context(), cred)
		if target.KindOf(err) != target.Impossible || !errors.Is(err, target.ErrIssuerCannot) || !strings.Contains(err.Error(), "administration API") {
			t.Errorf("Lookup of %s = %v", cred.Key, err)
		}
	}
}

// The tokens of this provider are their own ids, so it shows how an issuer
// that takes ids is asked. Nobody would configure it so: the ids are secret.
func TestOIDCProviderTakesAnIDInPlaceOfATokenWhereSaid(t *testing.T) {
	s := provider(t)
	c := s.config()
	c.TokenSource = TokenSource{ID: true}
	token, works := s.opaque(t, "agent")
	cred := credential(typeJWT, token, "agent")
	tt := open(t, c)
	sight, err := tt.Lookup(t.Context(), cred)
	if err != nil || sight.Status != target.Alive {
		t.Fatalf("Lookup = %+v, %v", sight, err)
	}
	cred.Found = sight.Found
	if err := tt.Revoke(t.Context(), cred); err != nil || works() {
		t.Errorf("Revoke = %v", err)
	}
	if p, err := tt.Verify(t.Context(), cred); err != nil || !p.Gone {
		t.Errorf("Verify = %+v, %v", p, err)
	}
}

func TestOIDCProviderNothingTellsTheToken(t *testing.T) {
	s := provider(t)
	tt := open(t, s.config())
	token, _ := s.opaque(t, "strict")
	id := "sha256:" + hash(token)
	s.keep(t, typeJWT, id, token)
	cred := credential(typeJWT, id, "strict")
	sight, err := tt.Lookup(t.Context(), cred)
	texts := []string{fmt.Sprintf("%+v %v", sight, err), fmt.Sprint(tt.Revoke(t.Context(), cred))}
	p, err := tt.Verify(t.Context(), cred)
	texts = append(texts, fmt.Sprintf("%+v %v", p, err))
	s.busy.Store(true)
	_, err = tt.Lookup(t.Context(), cred)
	texts = append(texts, fmt.Sprint(err))
	if err := os.WriteFile(filepath.Join(s.dir, typeJWT, fileName(id)), []byte(`{"access_token":"`+token), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = tt.Lookup(t.Context(), cred)
	texts = append(texts, fmt.Sprint(err))
	for _, text := range texts {
		if strings.Contains(text, token) || strings.Contains(text, "secret of") {
			t.Errorf("a secret is in %q", text)
		}
	}
}
