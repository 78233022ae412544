package oauth

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/leastwise/leastwise/enforcer/target"
)

// site is npm's oidc-provider behind a proxy that can lose answers and be
// busy, with a registry that keeps tokens in a directory.
type site struct {
	issuer  string
	proxy   string
	dir     string // the registry's
	files   string
	lose    atomic.Bool
	busy    atomic.Bool
	answers atomic.Int64 // requests that reached the provider
}

// provider starts the real authorization server. The test is skipped, with
// what to run, where it is not installed.
func provider(t *testing.T) *site {
	t.Helper()
	folder := os.Getenv("LEASTWISE_OIDC_PROVIDER")
	if cache, err := os.UserCacheDir(); folder == "" && err == nil {
		folder = filepath.Join(cache, "leastwise", "oidc-provider")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oidc-provider")); err != nil {
		t.Skip("the provider is not installed: run console/signin/testdata/provider/install.sh")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not there")
	}
	s := &site{dir: t.TempDir(), files: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), node, "testdata/provider.mjs", folder, s.assertionKey(t))
	cmd.Stderr = io.Discard // warnings about settings that only development has
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the provider did not start")
	}
	s.issuer = lines.Text()
	s.startProxy(t)
	for id, secret := range map[string]string{"leastwise": "", "strict": "", "api": ""} {
		s.file(t, id, "secret of "+id+": +/%"+secret)
	}
	return s
}

func (s *site) startProxy(t *testing.T) {
	t.Helper()
	to, err := url.Parse(s.issuer)
	if err != nil {
		t.Fatal(err)
	}
	reverse := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.busy.Swap(false) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		s.answers.Add(1)
		if strings.HasSuffix(r.URL.Path, "/revocation") && s.lose.Swap(false) {
			reverse.ServeHTTP(httptest.NewRecorder(), r)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.proxy = server.URL
}

// assertionKey makes the key of the client leastwise-jwt and gives its JWK.
func (s *site) assertionKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	return string(jwk)
}

func (s *site) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.files, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config asks through the proxy; the issuer's own metadata has no proxy in it.
func (s *site) config() Config {
	return Config{
		Issuer: s.issuer, RevocationEndpoint: s.proxy + "/token/revocation", IntrospectionEndpoint: s.proxy + "/token/introspection",
		Client:      Client{ID: "leastwise", SecretFile: filepath.Join(s.files, "leastwise")},
		TokenSource: TokenSource{Directory: s.dir}, Timeout: 20 * time.Second,
	}
}

func open(t *testing.T, c Config) *Target {
	t.Helper()
	target, err := Open(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// keep is what the registry does with a token that it hands out.
func (s *site) keep(t *testing.T, kind, id, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, kind), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, kind, fileName(id)), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func credential(kind, id, client string) target.Credential {
	return target.Credential{Key: "jwtregistry/default/" + kind + "/" + id, Labels: map[string]string{"oauth_client": client}}
}

func (s *site) ask(t *testing.T, path, client string, form url.Values) (map[string]any, bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, url.QueryEscape("secret of "+client+": +/%"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := map[string]any{}
	_ = json.NewDecoder(resp.Body).Decode(&body) // an empty body is a body
	return body, resp.StatusCode == http.StatusOK
}

// opaque is an access token by client credentials; it works where the server
// that is given it asks.
func (s *site) opaque(t *testing.T, client string) (token string, works func() bool) {
	t.Helper()
	body, ok := s.ask(t, "/token", client, url.Values{"grant_type": {"client_credentials"}})
	if !ok {
		t.Fatalf("no token: %v", body)
	}
	token = body["access_token"].(string)
	return token, func() bool {
		body, _ := s.ask(t, "/token/introspection", "api", url.Values{"token": {token}})
		return body["active"] == true
	}
}

// refresh is a refresh token; it works while it gives access tokens.
func (s *site) refresh(t *testing.T, client string) (token string, works func() bool) {
	t.Helper()
	resp, err := http.Get(s.issuer + "/mint?client=" + client)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("mint: %d %v", resp.StatusCode, err)
	}
	token = string(raw)
	return token, func() bool {
		_, ok := s.ask(t, "/token", client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		return ok
	}
}

// signed is a self-contained access token, by client credentials or with a
// refresh token; jti is its own.
func (s *site) signed(t *testing.T, client, refresh string) (token, jti string) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example.org"}, "scope": {"read"}}
	if refresh != "" {
		form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "resource": {"https://api.example.org"}}
	}
	body, ok := s.ask(t, "/token", client, form)
	if !ok {
		t.Fatalf("no token: %v", body)
	}
	token = body["access_token"].(string)
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		t.Fatalf("the access token is no JWT: %v", err)
	}
	claims := &signed{}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), claims); err != nil {
		t.Fatal(err)
	}
	return token, claims.JTI
}
