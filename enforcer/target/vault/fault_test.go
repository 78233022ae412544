package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
)

const someToken = "hvs.CANARY-own-token"

// fake answers as Vault does, but for what a case breaks.
func fake(t *testing.T, handle func(w http.ResponseWriter, r *http.Request) bool) *Target {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle != nil && handle(w, r) {
			return
		}
		switch r.URL.Path {
		case "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data":{"accessor":"own","ttl":3600,"renewable":true,"policies":["e"]}}`)
		case "/v1/auth/token/revoke-accessor":
			w.WriteHeader(http.StatusNoContent)
		default:
			refuse(w, http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(someToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, Config{Address: srv.URL, TokenFile: file, Timeout: 200 * time.Millisecond})
}

func refuse(w http.ResponseWriter, code int, errors ...string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": errors})
}

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the server notices it only then
	<-r.Context().Done()
}

var tokenCred = target.Credential{Key: "vault/default/token/abc"}

func TestEachFailureHasItsKindAndNeverCountsAsGone(t *testing.T) {
	cases := map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		kind   target.Kind
		text   string
	}{
		"500":               {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 500, "internal error") }, target.Retryable, "500"},
		"sealed":            {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "Vault is sealed") }, target.Retryable, "sealed"},
		"standby":           {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 429) }, target.Retryable, "429"},
		"permission denied": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "permission denied") }, target.Permission, `"update" on "auth/token/lookup-accessor"`},
		"bad request":       {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 400, "missing accessor") }, target.Impossible, "400"},
		"not found":         {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404) }, target.Impossible, "404"},
		"redirect":          {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://127.0.0.1:1/", 307) }, target.Retryable, "redirects"},
		"not JSON":          {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, target.Retryable, "can not be read"},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			fmt.Fprint(w, "<html>bad gateway</html>")
		}, target.Retryable, "502"},
		"another token": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":{"accessor":"xyz"}}`) }, target.Retryable, "another token"},
		"no answer":     {hang, target.Retryable, "no answer in time"},
		"cut off":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, target.Retryable, "no answer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := fake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "-accessor") {
					c.answer(w, r)
					return true
				}
				return false
			})
			s, err := v.Lookup(t.Context(), tokenCred)
			if err == nil || target.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) || s.Status != target.Unknown {
				t.Errorf("Lookup = %+v, %v (kind %s)", s, err, target.KindOf(err))
			}
			if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "http://")) {
				t.Errorf("the error tells too much: %v", err)
			}
			if p, err := v.Verify(t.Context(), tokenCred); err == nil || p.Gone {
				t.Errorf("Verify = %+v, %v", p, err)
			}
			if name != "another token" && name != "not JSON" {
				if err := v.Revoke(t.Context(), tokenCred); err == nil {
					t.Error("Revoke reports success")
				}
			}
		})
	}
	t.Run("connection refused", func(t *testing.T) {
		v := fake(t, nil)
		if _, err := v.Live(t.Context()); err == nil {
			t.Fatal("404 of a list is an answer")
		}
		c := v.cfg
		c.Address = "http://127.0.0.1:1"
		v = open(t, c)
		if err := v.Revoke(t.Context(), tokenCred); target.KindOf(err) != target.Retryable || err == nil {
			t.Errorf("%v", err)
		}
	})
}

func TestGoneIsSaidInEachWayThatVaultsSayIt(t *testing.T) {
	for _, code := range []int{400, 403, 404} {
		v := fake(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "lookup-accessor") {
				return false
			}
			refuse(w, code, "1 error occurred:\n\t* invalid accessor\n\n")
			return true
		})
		if p, err := v.Verify(t.Context(), tokenCred); err != nil || !p.Gone {
			t.Errorf("%d: %+v, %v", code, p, err)
		}
	}
}

func TestNothingIsSentTwiceByItself(t *testing.T) {
	var calls atomic.Int32
	v := fake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "revoke-accessor") {
			calls.Add(1)
			refuse(w, 500, "internal error")
			return true
		}
		return false
	})
	if err := v.Revoke(t.Context(), tokenCred); err == nil || calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestTheEnvironmentDoesNotChangeWhereOrHowVaultIsAsked(t *testing.T) {
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "from-the-environment")
	t.Setenv("VAULT_NAMESPACE", "elsewhere")
	t.Setenv("VAULT_WRAP_TTL", "60s")
	t.Setenv("VAULT_MAX_RETRIES", "5")
	v := fake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if got := r.Header.Get("X-Vault-Token"); got != someToken {
			t.Errorf("token %q", got)
		}
		for _, h := range []string{"X-Vault-Namespace", "X-Vault-Wrap-TTL"} {
			if got := r.Header.Get(h); got != "" {
				t.Errorf("%s: %q", h, got)
			}
		}
		return false
	})
	if err := v.Revoke(t.Context(), tokenCred); err != nil {
		t.Error(err)
	}
}

func TestHashingGoesOnWhereItWasCutShort(t *testing.T) {
	const live = 30
	var hashed atomic.Int32
	broken := true
	v := fake(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/accessors"):
			keys := make([]string, live)
			for i := range keys {
				keys[i] = fmt.Sprint("acc", i)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"keys": keys}})
		case strings.HasPrefix(r.URL.Path, "/v1/sys/audit-hash/"):
			var body struct{ Input string }
			_ = json.NewDecoder(r.Body).Decode(&body)
			if broken && hashed.Load() == 20 {
				refuse(w, 500, "internal error")
				return true
			}
			hashed.Add(1)
			fmt.Fprintf(w, `{"data":{"hash":"hmac-sha256:%s"}}`, body.Input)
		default:
			return false
		}
		return true
	})
	if _, _, err := v.resolve(t.Context(), "hmac-sha256:acc25"); err == nil {
		t.Fatal("no error although it was cut short")
	}
	broken = false
	accessor, found, err := v.resolve(t.Context(), "hmac-sha256:acc25")
	if accessor != "acc25" || !found || err != nil {
		t.Fatalf("%q, %t, %v", accessor, found, err)
	}
	if hashed.Load() != live {
		t.Errorf("%d hashes for %d accessors", hashed.Load(), live)
	}
	// A miss within a few seconds of a whole list asks nothing more.
	if _, found, err := v.resolve(t.Context(), "hmac-sha256:nonesuch"); found || err != nil || hashed.Load() != live {
		t.Errorf("%t, %v, %d hashes", found, err, hashed.Load())
	}
}

func TestTheWebhookDeliveryCarriesTheTokenOnceAndOnlyThere(t *testing.T) {
	var got struct {
		Agent string `json:"agent"`
		parcel
	}
	code := http.StatusInternalServerError
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&got)
		w.WriteHeader(code)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(srv.URL+"/CANARY-path"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDelivery(ReissueConfig{WebhookURLFile: file})
	if err != nil {
		t.Fatal(err)
	}
	err = d.deliver(context.Background(), "ingest", parcel{WrappingToken: "hvs.CANARY"})
	if err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%v", err)
	}
	code = http.StatusAccepted
	if err := d.deliver(context.Background(), "ingest", parcel{WrappingToken: "hvs.w", LadderID: "l1"}); err != nil || got.Agent != "ingest" || got.WrappingToken != "hvs.w" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("http://example.com/x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDelivery(ReissueConfig{WebhookURLFile: file}); err == nil {
		t.Error("a token would travel in clear")
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	good := Config{Address: "https://v:8200", TokenFile: "/t"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config){
		"address":     func(c *Config) { c.Address = "v:8200" },
		"password":    func(c *Config) { c.Address = "https://u:p@v" },
		"one of":      func(c *Config) { c.TokenFile = "" },
		"role_id":     func(c *Config) { c.TokenFile = ""; c.AppRole = &AppRole{} },
		"instance":    func(c *Config) { c.Instance = "a/b" },
		"directory":   func(c *Config) { c.Reissue = ReissueConfig{Directory: "d", WebhookURLFile: "w"} },
		"max_ttl":     func(c *Config) { c.Reissue.MaxTTL = -1 },
		"hashes_per_": func(c *Config) { c.HashesPerSecond = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
