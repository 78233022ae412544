package enforcer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// resourceServer accepts tokens without asking Vault, and so takes security
// events: it verifies signature, type, issuer and audience, and acts on each
// jti once.
type resourceServer struct {
	*httptest.Server
	issuer, audience string

	mu     sync.Mutex
	events []map[string]any // by first sight of the jti
	seen   map[string]int
	wrong  []error
	lost   int // answers yet to be lost
}

func newResourceServer(t *testing.T, issuer string) *resourceServer {
	r := &resourceServer{issuer: issuer, audience: "https://api.example", seen: map[string]int{}, lost: 1}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		err := r.accept(string(raw))
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.wrong = append(r.wrong, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.lost > 0 { // taken, and the answer is lost: it comes again
			r.lost--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *resourceServer) accept(token string) error {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	resp, err := http.Get(r.issuer + "/ssf/jwks")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil {
		return err
	}
	found := keys.Key(jws.Signatures[0].Header.KeyID)
	if len(found) != 1 {
		return fmt.Errorf("no key %q", jws.Signatures[0].Header.KeyID)
	}
	payload, err := jws.Verify(found[0])
	if err != nil {
		return err
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	jti, _ := claims["jti"].(string)
	switch {
	case jws.Signatures[0].Header.ExtraHeaders["typ"] != "secevent+jwt":
		return errors.New("it is no security event token")
	case claims["iss"] != r.issuer || claims["aud"] != r.audience || jti == "":
		return fmt.Errorf("iss %v, aud %v, jti %v", claims["iss"], claims["aud"], jti)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[jti]++; r.seen[jti] == 1 {
		r.events = append(r.events, claims)
	}
	return nil
}

// When the ladder on a real Vault is closed, those who accept the token without
// asking Vault have been told, in a token whose signature, aud and jti they
// verify; a repeat has the same jti.
func TestRealVaultTheLadderIsClosedWhenReceiversHaveTheSessionRevokedEvent(t *testing.T) {
	v := startVault(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	api := newResourceServer(t, "http://"+listen)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	cfg := fastConfig()
	cfg.Vault = []vault.Config{v.config(t, v.addr, t.TempDir())}
	cfg.SSF = ssf.Config{Issuer: api.issuer, KeyFile: keyFile, Listen: listen,
		Receivers: []ssf.Receiver{{Name: "api", Audience: api.audience, Events: []string{"session-revoked"}, Push: &ssf.Push{URL: api.URL}}}}
	s.start(cfg, nil)
	token, accessor := v.token(t)
	d := scaled("vault/default/token/" + v.hash(t, accessor))
	s.until(d, reissued)
	gone := scaled(d.Credential)
	gone.Violations, gone.Subject.State = nil, "revoked"
	end := s.until(gone, closed)
	if v.works(token) || end.Proof == "" {
		t.Errorf("the token works, or nothing proves that it does not: %v", end)
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	if len(api.wrong) != 0 || len(api.events) != 1 {
		t.Fatalf("refused %v, took %v", api.wrong, api.events)
	}
	claims := api.events[0]
	events, _ := claims["events"].(map[string]any)
	subject, _ := claims["sub_id"].(map[string]any)
	if events[ssf.SessionRevoked] == nil || claims["txn"] != end.LadderId || subject["id"] != d.Credential {
		t.Errorf("%v", claims)
	}
	if n := api.seen[claims["jti"].(string)]; n < 2 {
		t.Errorf("the answer was lost, and the event came %d times", n)
	}
	if states := s.journal(d.Credential); states[len(states)-1].State != pb.LadderState_CLOSED {
		t.Errorf("%v", states[len(states)-1])
	}
}
