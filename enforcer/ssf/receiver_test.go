package ssf

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// receiver is one that holds to RFC 8935 and 8936: it finds the transmitter's
// keys by its configuration, checks signature, type, iss and aud, and acts on
// each jti once.
type receiver struct {
	t           *testing.T
	transmitter string // its issuer
	audience    string
	server      *httptest.Server

	mu      sync.Mutex
	answers []int // to give before 202
	acted   map[string]map[string]any
	seen    map[string]int
	claims  []map[string]any
}

func newReceiver(t *testing.T, audience string) *receiver {
	r := &receiver{t: t, audience: audience, acted: map[string]map[string]any{}, seen: map[string]int{}}
	r.server = httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Content-Type") != "application/secevent+jwt" || req.Header.Get("Authorization") != "Bearer the receiver's" {
		http.Error(w, `{"err":"authentication_failed"}`, http.StatusBadRequest)
		return
	}
	raw, _ := io.ReadAll(req.Body)
	status := http.StatusAccepted
	r.mu.Lock()
	if len(r.answers) > 0 {
		status, r.answers = r.answers[0], r.answers[1:]
	}
	r.mu.Unlock()
	if status == http.StatusAccepted || status == 0 {
		if err := r.accept(string(raw)); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"err":"invalid_key","description":%q}`, err)
			return
		}
	}
	if status == 0 { // taken, and the answer is lost
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return
	}
	w.WriteHeader(status)
}

// accept verifies a token and acts on it unless its jti is known.
func (r *receiver) accept(token string) error {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		return err
	}
	var conf struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := get(r.transmitter+"/.well-known/ssf-configuration", &conf); err != nil {
		return err
	}
	var keys jose.JSONWebKeySet
	if err := get(conf.JWKS, &keys); err != nil {
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
	if typ := jws.Signatures[0].Header.ExtraHeaders["typ"]; typ != "secevent+jwt" {
		return fmt.Errorf("typ %v", typ)
	}
	if claims["iss"] != conf.Issuer || conf.Issuer != r.transmitter || claims["aud"] != r.audience {
		return fmt.Errorf("iss %v, aud %v", claims["iss"], claims["aud"])
	}
	jti := claims["jti"].(string)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[jti]++
	if r.acted[jti] == nil {
		r.acted[jti] = claims
		r.claims = append(r.claims, claims)
	}
	return nil
}

func (r *receiver) took() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]map[string]any(nil), r.claims...)
}

func get(url string, into any) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d", url, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// poll asks the transmitter as RFC 8936 says.
func (r *receiver) poll(bearer, name string, ask map[string]any) (sets map[string]string, more bool, status int) {
	r.t.Helper()
	raw, err := json.Marshal(ask)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.transmitter+"/ssf/poll/"+name, bytes.NewReader(raw))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Sets map[string]string `json:"sets"`
		More bool              `json:"moreAvailable"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		r.t.Fatal(err)
	}
	return body.Sets, body.More, resp.StatusCode
}

// transmitter serves c over loopback and runs it.
func transmitter(t *testing.T, c Config) *Transmitter {
	t.Helper()
	var tr *Transmitter
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tr.Handler().ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	c.Issuer = server.URL
	var err error
	if tr, err = Open(c, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	return tr
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ecKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})))
}

func rsaKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}
