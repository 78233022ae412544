package vault

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// between is a proxy before a real Vault that breaks the next request that fits.
type between struct {
	*httptest.Server
	mu   sync.Mutex
	fits func(r *http.Request) bool
	does func(w http.ResponseWriter, r *http.Request, forward http.Handler)
}

func newBetween(t *testing.T, to string) *between {
	t.Helper()
	address, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(address)
	b := &between{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		does := b.does
		if does != nil && !b.fits(r) {
			does = nil
		} else {
			b.does = nil
		}
		b.mu.Unlock()
		if does == nil {
			forward.ServeHTTP(w, r)
			return
		}
		does(w, r, forward)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *between) next(fits func(r *http.Request) bool, does func(w http.ResponseWriter, r *http.Request, forward http.Handler)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fits, b.does = fits, does
}

// lose carries out the next change, and its answer is not heard.
func (b *between) lose(*testing.T) {
	b.next(func(r *http.Request) bool {
		p := r.URL.Path
		return r.Method != http.MethodGet && r.Method != "LIST" && (strings.Contains(p, "revoke") || strings.Contains(p, "/destroy") || strings.Contains(p, "identity/entity/id/"))
	}, func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// busy refuses the next request as a rate limit quota of Vault does.
func (b *between) busy(*testing.T) {
	b.next(func(*http.Request) bool { return true }, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		refuse(w, http.StatusTooManyRequests, "request path: rate limit quota exceeded")
	})
}
