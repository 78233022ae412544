package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/signin"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// door is a guard on a made-up host, before a handler that says who is let in.
func door(c *clock, change func(*signin.Guard)) (http.Handler, *signin.Sessions) {
	sessions := signin.NewSessions(time.Hour, 5, c.Now)
	g := signin.Guard{Sessions: sessions, Loopback: true, Hosts: func() []string { return []string{"127.0.0.1:9465", "localhost:9465"} }}
	if change != nil {
		change(&g)
	}
	return signin.NewGuard(g).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := signin.From(r.Context()); s != nil {
			_, _ = io.WriteString(w, s.Name)
		}
	})), sessions
}

func knock(h http.Handler, address, from string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	r.RemoteAddr = from
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	here  = "127.0.0.1:5000"
	there = "192.0.2.7:5000"
)

func TestALinkSignsInOnceOnThisMachineAndNotForEver(t *testing.T) {
	c := &clock{time.Now()}
	h, sessions := door(c, nil)
	person := signin.Person{Name: "ann", Roles: []string{signin.Viewer}}
	at := func(token string) string { return "http://127.0.0.1:9465/auth/link?token=" + url.QueryEscape(token) }

	token := sessions.Link(person)
	if w := knock(h, at(token), there); w.Code != http.StatusForbidden {
		t.Errorf("from another machine: %d", w.Code)
	}
	ahead := httptest.NewRequest(http.MethodGet, at(token), nil)
	ahead.RemoteAddr = here
	ahead.Header.Set("Sec-Purpose", "prefetch")
	h.ServeHTTP(httptest.NewRecorder(), ahead)
	w := knock(h, at(token), here)
	cookies := w.Result().Cookies()
	if w.Code != http.StatusOK || len(cookies) != 1 || w.Header().Get("Refresh") != "0; url=/" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if k := cookies[0]; !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Secure || k.Path != "/" {
		t.Errorf("the cookie is %v", k)
	}
	if w := knock(h, at(token), here); w.Code != http.StatusForbidden || len(w.Result().Cookies()) != 0 {
		t.Errorf("a second time: %d", w.Code)
	}
	if w := knock(h, "http://localhost:9465/v1/me", here, cookies[0]); w.Code != http.StatusOK || w.Body.String() != "ann" {
		t.Errorf("the session: %d %s", w.Code, w.Body)
	}
	c.now = c.now.Add(time.Hour)
	if w := knock(h, "http://localhost:9465/v1/me", here, cookies[0]); w.Code != http.StatusUnauthorized {
		t.Errorf("the session after its time: %d", w.Code)
	}
	old := sessions.Link(person)
	c.now = c.now.Add(15 * time.Minute)
	if w := knock(h, at(old), here); w.Code != http.StatusForbidden {
		t.Errorf("an old link: %d", w.Code)
	}
	ended := sessions.Link(person)
	sessions.EndAll("ann")
	if w := knock(h, at(ended), here); w.Code != http.StatusForbidden {
		t.Errorf("a link of somebody whose sessions were ended: %d", w.Code)
	}
}

func TestANameThatSomebodyElseRulesIsRefused(t *testing.T) {
	h, sessions := door(&clock{time.Now()}, nil)
	token, _ := sessions.Start(signin.Person{Name: "ann", Roles: []string{signin.Viewer}})
	for _, host := range []string{"evil.example:9465", "127.0.0.1:80", "127.0.0.1", "localhost.evil.example:9465"} {
		for _, path := range []string{"/", "/v1/me", "/auth/login"} {
			if w := knock(h, "http://"+host+path, here, &http.Cookie{Name: "leastwise", Value: token}); w.Code != http.StatusMisdirectedRequest {
				t.Errorf("%s%s: %d", host, path, w.Code)
			}
		}
	}
}

func TestEveryAnswerCarriesWhatBrowsersObey(t *testing.T) {
	h, _ := door(&clock{time.Now()}, nil)
	for _, path := range []string{"/", "/v1/me", "/auth/login", "/v1/nonesuch"} {
		head := knock(h, "http://localhost:9465"+path, here).Header()
		policy := head.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") ||
			head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, head)
		}
	}
}

func TestTooManyRequestsOfOneSessionDoNotHinderAnother(t *testing.T) {
	h, sessions := door(&clock{time.Now()}, nil)
	cookie := func(name string) *http.Cookie {
		token, _ := sessions.Start(signin.Person{Name: name, Roles: []string{signin.Viewer}})
		return &http.Cookie{Name: "leastwise", Value: token}
	}
	loud, quiet := cookie("loud"), cookie("quiet")
	refused := 0
	for range 100 {
		if w := knock(h, "http://localhost:9465/v1/me", here, loud); w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "" {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("%d of 100 refused", refused)
	}
	if w := knock(h, "http://localhost:9465/v1/me", here, quiet); w.Code != http.StatusOK {
		t.Errorf("the other: %d", w.Code)
	}
}

func TestOverTLSCookiesAreForTLSAlone(t *testing.T) {
	h, sessions := door(&clock{time.Now()}, func(g *signin.Guard) { g.TLS = true })
	w := knock(h, "http://localhost:9465/auth/link?token="+sessions.Link(signin.Person{Name: "ann", Roles: []string{signin.Viewer}}), here)
	if k := w.Result().Cookies()[0]; !k.Secure || k.Name != "__Host-leastwise" || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("%v", k)
	}
}

// issue makes a certificate; parent nil: of a CA.
func issue(t *testing.T, uri string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: parent == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		cert.URIs = []*url.URL{u}
	}
	by, signer := cert, any(private)
	if parent != nil {
		by, signer = parent.Leaf, parent.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, cert, by, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: private, Leaf: leaf}
}

func TestMachinesSignInWithTheirSPIFFEID(t *testing.T) {
	ours, theirs := issue(t, "", nil), issue(t, "", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ours.Leaf)
	sessions := signin.NewSessions(time.Hour, 100, time.Now)
	var host string
	guard := signin.NewGuard(signin.Guard{Sessions: sessions, TLS: true, Hosts: func() []string { return []string{host} },
		Grants: []signin.Grant{{SPIFFEID: "spiffe://example.org/ns/ci/*", Roles: []string{signin.Viewer}}, {SPIFFEID: "spiffe://example.org/bot", Roles: []string{signin.Security}}}})
	server := httptest.NewUnstartedServer(guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := signin.From(r.Context())
		_, _ = fmt.Fprint(w, s.Name, s.Roles, s.By)
	})))
	server.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, Certificates: []tls.Certificate{issue(t, "", &ours)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "https://")
	as := func(certs ...tls.Certificate) (int, string) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certs) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		}}}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := as(issue(t, "spiffe://example.org/ns/ci/sa/build", &ours)); status != http.StatusOK || body != "spiffe://example.org/ns/ci/sa/build[viewer]mtls" {
		t.Errorf("below a pattern: %d %s", status, body)
	}
	if status, body := as(issue(t, "spiffe://example.org/bot", &ours)); status != http.StatusOK || !strings.Contains(body, "[security]") {
		t.Errorf("by name: %d %s", status, body)
	}
	for what, want := range map[string]int{"spiffe://example.org/ns/cix/sa": http.StatusForbidden, "spiffe://example.org/bot/2": http.StatusForbidden,
		"spiffe://example.org.evil/ns/ci/sa": http.StatusForbidden, "https://example.org/bot": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		if status, body := as(issue(t, what, &ours)); status != want {
			t.Errorf("%q: %d %s", what, status, body)
		}
	}
	if status, body := as(); status != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d %s", status, body)
	}
	if status, body := as(issue(t, "spiffe://example.org/bot", &theirs)); status == http.StatusOK {
		t.Errorf("of another CA: %d %s", status, body)
	}
}
