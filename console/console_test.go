package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

// silent is a Kafka on which nothing is said, and rules that allow nothing.
type silent struct {
	rules.Policies
	rules.Control
	rules.Exceptions
}

func (silent) Follow(ctx context.Context, _ string, caughtUp func(), _ func(stream.Message) error) error {
	caughtUp()
	<-ctx.Done()
	return nil
}
func (silent) Ping(context.Context) error    { return nil }
func (silent) Now() rules.Settings           { return rules.Settings{Mode: "observe"} }
func (silent) Node(key string) string        { return key }
func (silent) Apply(stream.Message) error    { return nil }
func (silent) All() ([]rules.Policy, string) { return nil, "" }

func get(t *testing.T, c *http.Client, address string) (int, string) {
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
	return response.StatusCode, string(body)
}

func TestItRunsSignsInByLinkAndEnds(t *testing.T) {
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	env := daemon.NewEnv("console", slog.New(slog.NewTextHandler(t.Output(), nil)))
	dir := t.TempDir()
	type opened struct{ base, link string }
	ready := make(chan opened, 1)
	c, err := console.New(console.Config{Listen: "127.0.0.1:0"}, console.Deps{Env: env, Store: db, Log: silent{}, Policies: silent{}, Control: silent{}, Exceptions: silent{}, Names: silent{},
		DataDir: dir, User: "ann", Ready: func(base, link string) { ready <- opened{base, link} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var at opened
	select {
	case at = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	if status, _ := get(t, browser, at.base+"/v1/status"); status != http.StatusUnauthorized {
		t.Errorf("before signing in: %d", status)
	}
	if status, text := get(t, browser, at.link); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	var me contract.Me
	status, text := get(t, browser, at.base+"/v1/me")
	if err := json.Unmarshal([]byte(text), &me); err != nil || status != http.StatusOK || me.Name != "ann" || len(me.Roles) != 4 {
		t.Errorf("%d %s", status, text)
	}
	socket := filepath.Join(dir, console.SocketFile)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if _, err := console.AskLink(t.Context(), socket, "bob", []string{"emperor"}, nil); !errors.Is(err, console.ErrRefused) {
		t.Errorf("a role that is none: %v", err)
	}
	link, err := console.AskLink(t.Context(), socket, "olga", []string{"owner"}, []string{"payments"})
	if err != nil {
		t.Fatal(err)
	}
	get(t, browser, link)
	if _, text := get(t, browser, at.base+"/v1/me"); !strings.Contains(text, `"name":"olga","roles":["owner"],"owners":["payments"]`) {
		t.Errorf("by the second link: %s", text)
	}
	for deadline := time.Now().Add(10 * time.Second); !env.Health.Ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not become ready")
		}
	}
	// A stream that is open does not keep it from ending.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.base+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotSafeIsNotConfigured(t *testing.T) {
	roles := []console.RoleConfig{{Group: "g", Roles: []string{"viewer"}}}
	for want, cfg := range map[string]console.Config{
		"give tls":               {Listen: "0.0.0.0:9465"},
		"who may sign in":        {Listen: ":9465", URL: "https://leastwise.example.org"},
		"host:port":              {Listen: "9465"},
		"without a path":         {URL: "https://example.org/leastwise"},
		"cert_file and key_file": {TLS: &console.TLSConfig{CertFile: "c"}},
		"has to be https":        {OIDC: &console.OIDCConfig{Issuer: "http://login.example.org", ClientID: "x"}},
		"issuer (a URL)":         {OIDC: &console.OIDCConfig{Issuer: "login", ClientID: "x"}},
		"one of group, name":     {Roles: []console.RoleConfig{{Group: "g", Name: "n", Roles: []string{"viewer"}}}},
		"roles is empty":         {Roles: []console.RoleConfig{{Group: "g"}}},
		"expected viewer, owner": {Roles: []console.RoleConfig{{Group: "g", Roles: []string{"root"}}}},
		"begin with spiffe://":   {Roles: []console.RoleConfig{{SPIFFEID: "example.org/x", Roles: []string{"viewer"}}}},
		"can not be negative":    {Rate: -1, Roles: roles},
		"username is empty":      {ClickHouse: &console.ReaderConfig{PasswordFile: "p"}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	for _, cfg := range []console.Config{{}, {Listen: "none"}, {Listen: "localhost:1", Roles: roles},
		{Listen: ":9465", URL: "https://leastwise.example.org", OIDC: &console.OIDCConfig{Issuer: "https://login.example.org", ClientID: "x"}},
		{Listen: ":9465", TLS: &console.TLSConfig{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}}} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
