package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Answers that the certified provider never gives.
func TestAnswersThatAreNoneProveNothing(t *testing.T) {
	answers := map[string]struct {
		status int
		body   string
		kind   target.Kind
	}{
		"not JSON":         {200, "<html>", target.Retryable},
		"no active":        {200, `{"exp":1}`, target.Retryable},
		"endless":          {200, `{"active":false,"x":"` + strings.Repeat("x", answerMost) + `"}`, target.Retryable},
		"redirect":         {302, "", target.Retryable},
		"busy":             {503, `{"error":"temporarily_unavailable"}`, target.Retryable},
		"forbidden":        {403, `{"error":"access_denied"}`, target.Permission},
		"wrong":            {400, `{"error":"invalid_request","error_description":"token is missing"}`, target.Impossible},
		"unsupported type": {400, `{"error":"unsupported_token_type"}`, target.Impossible},
	}
	for name, a := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				w.WriteHeader(a.status)
				fmt.Fprint(w, a.body)
			}))
			defer server.Close()
			s := &site{issuer: server.URL, proxy: server.URL, dir: t.TempDir(), files: t.TempDir()}
			s.file(t, "leastwise", "secret")
			c := s.config()
			c.JWKSURI = server.URL
			s.keep(t, typeJWT, "id", "opaque-token")
			cred := credential(typeJWT, "id", "agent")
			cred.Found = "sha256:" + hash("opaque-token")
			p, err := open(t, c).Verify(t.Context(), cred)
			if p.Gone || err == nil || target.KindOf(err) != a.kind || strings.Contains(err.Error(), "opaque-token") {
				t.Errorf("Verify = %+v, %v", p, err)
			}
		})
	}
}

func TestMetadataOfAnotherIssuerIsNotUsed(t *testing.T) {
	var server *httptest.Server
	issuer, revocation := "", ""
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-authorization-server/tenant" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "revocation_endpoint": revocation, "introspection_endpoint": server.URL})
	}))
	defer server.Close()
	c := Config{Issuer: server.URL + "/tenant", Client: Client{ID: "leastwise", SecretFile: filepath.Join(t.TempDir(), "none")}}
	for _, bad := range [][2]string{{"https://other.example.org", server.URL}, {server.URL + "/tenant", "http://evil.example.org/revoke"}} {
		issuer, revocation = bad[0], bad[1]
		if _, err := open(t, c).Capabilities(t.Context()); err == nil || target.KindOf(err) != target.Impossible {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestATokenThatWasReplacedProvesNothingOfTheOneSeen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"active":false}`) }))
	defer server.Close()
	s := &site{issuer: server.URL, proxy: server.URL, dir: t.TempDir(), files: t.TempDir()}
	s.file(t, "leastwise", "secret")
	s.keep(t, typeRefresh, "id", "the-newer-token")
	c := s.config()
	c.JWKSURI = server.URL
	cred := credential(typeRefresh, "id", "agent")
	cred.Found = "sha256:" + hash("the-token-seen-alive")
	if p, err := open(t, c).Verify(t.Context(), cred); err != nil || p.Gone {
		t.Errorf("Verify = %+v, %v", p, err)
	}
	if _, err := open(t, c).Live(t.Context()); err != nil {
		t.Error(err)
	}
	c.TokenSource = TokenSource{}
	if _, err := open(t, c).Live(t.Context()); err == nil || !strings.Contains(err.Error(), "live_credentials") || errors.Is(err, target.ErrIssuerCannot) {
		t.Errorf("Live without a source = %v", err)
	}
}
