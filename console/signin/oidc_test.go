package signin_test

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/signin"
)

// provider starts npm's oidc-provider. The test is skipped, with what to run, where it or node is not there.
func provider(t *testing.T, redirect string) (issuer string) {
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
	cmd := exec.CommandContext(t.Context(), node, "testdata/provider/provider.mjs", folder, redirect)
	cmd.Stderr = t.Output()
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
	return lines.Text()
}

// site is a console's guard before a handler that tells who is let in.
type site struct {
	*httptest.Server
	sessions *signin.Sessions
	issuer   string
}

func newSite(t *testing.T, grants []signin.Grant) *site {
	t.Helper()
	s := &site{sessions: signin.NewSessions(time.Hour, 1000, time.Now)}
	var guarded http.Handler
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	s.issuer = provider(t, s.URL+"/auth/callback")
	oidc := signin.NewOIDC(signin.OIDCOptions{Issuer: s.issuer, ClientID: "leastwise", Redirect: s.URL + "/auth/callback", Scopes: []string{"profile", "email", "groups"},
		NameClaim: "email", GroupsClaim: "groups", Grants: grants, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now})
	host := strings.TrimPrefix(s.URL, "http://")
	guarded = signin.NewGuard(signin.Guard{Sessions: s.sessions, Hosts: func() []string { return []string{host} }, OIDC: oidc}).Wrap(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if session := signin.From(r.Context()); session != nil {
				_, _ = io.WriteString(w, session.Name+" "+strings.Join(session.Roles, ",")+" "+strings.Join(session.Owners, ",")+" "+session.By)
			}
		}))
	return s
}

// browser keeps cookies and follows redirects.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func ask(t *testing.T, c *http.Client, address string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

var grants = []signin.Grant{{Group: "sre", Roles: []string{signin.Viewer, signin.Approver}}, {Group: "payments", Roles: []string{signin.Owner}, Owners: []string{"payments"}},
	{Name: "ada@example.org", Roles: []string{signin.Security}}, {Group: "others", Roles: []string{signin.Admin}}}

func TestARealProviderSignsPeopleInWithTheRolesOfTheirGroups(t *testing.T) {
	s := newSite(t, grants)
	c := browser(t)
	ask(t, c, s.issuer+"/become/ada")
	if response, body := ask(t, c, s.URL+"/v1/me"); response.StatusCode != http.StatusUnauthorized {
		t.Fatalf("before: %d %s", response.StatusCode, body)
	}
	response, body := ask(t, c, s.URL+"/auth/login?return="+url.QueryEscape("/credential?key=a/b"))
	if response.StatusCode != http.StatusOK || response.Request.URL.Path != "/auth/callback" || response.Header.Get("Refresh") != "0; url=/credential?key=a/b" {
		t.Fatalf("%d at %s: %s", response.StatusCode, response.Request.URL, body)
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == "leastwise" && (!cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode) {
			t.Errorf("the session's cookie is %v", cookie)
		}
	}
	if _, body := ask(t, c, s.URL+"/v1/me"); body != "ada@example.org viewer,approver,owner,security payments oidc" {
		t.Errorf("let in as %q", body)
	}
	if again, _ := ask(t, c, response.Request.URL.String()); again.StatusCode != http.StatusForbidden {
		t.Errorf("the same callback again: %d", again.StatusCode)
	}
	if s.sessions.EndAll("ada@example.org") != 1 {
		t.Error("there was not one session")
	}
	if response, _ := ask(t, c, s.URL+"/v1/me"); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the sessions were ended: %d", response.StatusCode)
	}
}

func TestAnAddressThatNobodyVerifiedIsNoName(t *testing.T) {
	s := newSite(t, grants)
	c := browser(t)
	ask(t, c, s.issuer+"/become/mallory") // who wrote ada's address into a profile
	response, body := ask(t, c, s.URL+"/auth/login")
	if response.StatusCode != http.StatusForbidden || !strings.Contains(body, "You are u-2.") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if response, _ := ask(t, c, s.URL+"/v1/me"); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("let in: %d", response.StatusCode)
	}
}

func TestASignInThatBeganInAnotherBrowserIsRefused(t *testing.T) {
	s := newSite(t, grants)
	attacker, victim := browser(t), browser(t)
	ask(t, attacker, s.issuer+"/become/ada")
	var callback string
	attacker.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/auth/callback" {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	ask(t, attacker, s.URL+"/auth/login")
	if callback == "" {
		t.Fatal("the provider did not answer")
	}
	if response, body := ask(t, victim, callback); response.StatusCode != http.StatusForbidden {
		t.Errorf("the victim is signed in as the attacker: %d %s", response.StatusCode, body)
	}
	victim.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ask(t, victim, s.URL+"/auth/login") // one of their own is under way
	if response, body := ask(t, victim, callback); response.StatusCode != http.StatusForbidden {
		t.Errorf("the victim, signing in, is signed in as the attacker: %d %s", response.StatusCode, body)
	}
	broken, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	query := broken.Query()
	query.Set("code", "made-up")
	broken.RawQuery = query.Encode()
	attacker.CheckRedirect = nil
	if response, _ := ask(t, attacker, broken.String()); response.StatusCode != http.StatusForbidden {
		t.Errorf("a code that the provider never gave: %d", response.StatusCode)
	}
	refused := browser(t) // nobody is signed in at the provider
	if response, body := ask(t, refused, s.URL+"/auth/login"); response.StatusCode != http.StatusForbidden || !strings.Contains(body, "access_denied") {
		t.Errorf("refused by the provider: %d %s", response.StatusCode, body)
	}
}

func TestAProviderThatIsAwayIsSaid(t *testing.T) {
	oidc := signin.NewOIDC(signin.OIDCOptions{Issuer: "http://127.0.0.1:1", ClientID: "x", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	guard := signin.NewGuard(signin.Guard{Sessions: signin.NewSessions(time.Hour, 100, time.Now), Hosts: func() []string { return []string{"here"} }, OIDC: oidc})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://here/auth/login", nil)
	guard.Wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != http.StatusBadGateway {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
