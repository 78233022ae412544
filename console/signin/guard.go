package signin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// Guard stands before every request: it checks the host, sets the headers that browsers obey, finds the session, and
// refuses what is not allowed.
type Guard struct {
	Sessions *Sessions
	// Grants by name and SPIFFE ID.
	Grants []Grant
	// Hosts that the server is reached under, with port where it is not the scheme's own. A request that names another was
	// led here by a name that somebody else rules.
	Hosts func() []string
	// TLS: cookies are for encrypted connections alone.
	TLS bool
	// Loopback: one-time links are taken, from this machine.
	Loopback bool
	// OIDC, if people sign in there; else nil.
	OIDC *OIDC

	strangers *rate.Limiter // those who are not signed in, all together
}

// NewGuard completes a guard.
func NewGuard(g Guard) *Guard {
	g.strangers = rate.NewLimiter(20, 100)
	if g.OIDC != nil {
		g.OIDC.guard = &g
	}
	return &g
}

type sessionKey struct{}

// From gives the session that a request was let in with.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// With is for tests and for who calls the API from within.
func With(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// policy of content. deck.gl draws by WebGL from data that the page has: it needs nothing beyond 'self'. It makes its
// workers, where it makes any, from blobs, and pictures of text from data URLs.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; " +
	"connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (g *Guard) headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if g.TLS {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// Wrap guards a handler. What is under /v1/ is for those who are signed in; the rest is the page itself, which holds no data,
// and the ways to sign in.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	ways := g.ways()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.headers(w.Header())
		if !g.hostKnown(r.Host) {
			Problem(w, http.StatusMisdirectedRequest, "This is not one of the console's names",
				"Open it under the address that its configuration names (console.listen or console.url).")
			return
		}
		session := g.find(r)
		switch {
		case session == nil && !g.strangers.Allow(), session != nil && !session.limiter.Allow():
			w.Header().Set("Retry-After", "1")
			Problem(w, http.StatusTooManyRequests, "Too many requests", "Wait a second, then try again.")
			return
		case strings.HasPrefix(r.URL.Path, "/auth/"):
			ways.ServeHTTP(w, r)
			return
		case !strings.HasPrefix(r.URL.Path, "/v1/"):
			next.ServeHTTP(w, r)
			return
		case session == nil:
			Problem(w, http.StatusUnauthorized, "Sign in first", "Open /auth/login in a browser.")
			return
		case len(session.Roles) == 0:
			Problem(w, http.StatusForbidden, "You have no role here", "Somebody who writes the configuration gives roles, under console.roles.")
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead && !g.intended(r, session):
			Problem(w, http.StatusForbidden, "This write did not come from the page",
				"Send what /v1/me gives as csrf in the header X-CSRF-Token.")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r.WithContext(With(r.Context(), session)))
	})
}

// intended tells whether a write was asked for by somebody who can read our answers: another site's page can not.
func (g *Guard) intended(r *http.Request, s *Session) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !g.hostKnown(u.Host) {
			return false
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	token := r.Header.Get("X-CSRF-Token")
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.CSRF)) == 1
}

func (g *Guard) hostKnown(host string) bool {
	for _, known := range g.Hosts() {
		if strings.EqualFold(host, known) {
			return true
		}
	}
	return false
}

// HostsOf are the names of a listener: its address, and localhost for loopback.
func HostsOf(addr net.Addr, url *url.URL) []string {
	var hosts []string
	if url != nil {
		hosts = append(hosts, url.Host)
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return hosts
	}
	port := strconv.Itoa(tcp.Port)
	add := func(name string) {
		hosts = append(hosts, net.JoinHostPort(name, port))
		if tcp.Port == 80 || tcp.Port == 443 {
			hosts = append(hosts, name)
		}
	}
	switch {
	case tcp.IP.IsLoopback():
		add(tcp.IP.String())
		add("localhost")
	case !tcp.IP.IsUnspecified():
		add(tcp.IP.String())
	}
	return hosts
}

// cookie's name. The prefix makes browsers refuse one that somebody on a neighbouring name set.
func (g *Guard) cookie() string {
	if g.TLS {
		return "__Host-leastwise"
	}
	return "leastwise"
}

func (g *Guard) find(r *http.Request) *Session {
	for _, c := range r.CookiesNamed(g.cookie()) {
		if s := g.Sessions.Find(c.Value); s != nil {
			return s
		}
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return g.certificate(r.TLS.VerifiedChains[0][0])
	}
	return nil
}

// SignOut ends a session and takes the cookie back.
func (g *Guard) SignOut(w http.Header, s *Session) {
	g.Sessions.End(s)
	gone := g.made("")
	gone.MaxAge = -1
	w.Add("Set-Cookie", gone.String())
}

func (g *Guard) made(value string) *http.Cookie {
	return &http.Cookie{Name: g.cookie(), Value: value, Path: "/", HttpOnly: true, Secure: g.TLS, SameSite: http.SameSiteStrictMode}
}

// Problem answers with an error as RFC 9457 has it.
func Problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": title, "status": status, "detail": detail})
}
