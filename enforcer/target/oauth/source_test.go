package oauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target"
)

func TestADirectoryGivesTokensByTheHashOfTheirID(t *testing.T) {
	dir := t.TempDir()
	keep := func(kind, id, content string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Join(dir, kind), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, kind, fileName(id))
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	keep(typeJWT, "../../etc/passwd", "the-token\n", 0o600)
	keep(typeJWT, "answer", `{"access_token":"a","refresh_token":"r","expires_in":60}`, 0o600)
	keep(typeRefresh, "answer", `{"access_token":"a","refresh_token":"r"}`, 0o600)
	keep(typeJWT, "open", "the-token", 0o644)
	keep(typeJWT, "half", `{"access_token":"the-tok`, 0o600)
	keep(typeJWT, "long", strings.Repeat("x", fileMost+1), 0o600)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, typeJWT, fileName("link"))); err != nil {
		t.Fatal(err)
	}
	d := directory(dir)
	for _, c := range []struct {
		kind, id string
		want     held
		found    bool
	}{
		{typeJWT, "../../etc/passwd", held{token: "the-token"}, true},
		{typeJWT, "answer", held{token: "a", refresh: "r"}, true},
		{typeRefresh, "answer", held{token: "r"}, true},
		{typeRefresh, "nobody", held{}, false},
	} {
		if got, found, err := d.Find(t.Context(), c.kind, c.id); err != nil || found != c.found || got != c.want {
			t.Errorf("%s %s: %v, %v", c.kind, c.id, found, err)
		}
	}
	for id, kind := range map[string]target.Kind{"open": target.Permission, "half": target.Retryable, "long": target.Impossible, "link": target.Retryable} {
		_, _, err := d.Find(t.Context(), typeJWT, id)
		if err == nil || target.KindOf(err) != kind || strings.Contains(err.Error(), "the-tok") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	good := Config{Issuer: "https://idp.example.org/tenant", Client: Client{ID: "leastwise", SecretFile: "s"}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config){
		"issuer":              func(c *Config) { c.Issuer = "http://idp.example.org" },
		"jwks_uri":            func(c *Config) { c.JWKSURI = "ftp://x" },
		"client: id":          func(c *Config) { c.Client.ID = "" },
		"secret_file":         func(c *Config) { c.Client.SecretFile = "" },
		"private_key_file":    func(c *Config) { c.Client.Auth = authJWT },
		"cert_file":           func(c *Config) { c.Client.Auth = authTLS },
		"none of":             func(c *Config) { c.Client.Auth = "none" },
		"clients[1]":          func(c *Config) { c.Clients = []Client{{ID: "a", SecretFile: "s"}, {ID: "a", SecretFile: "s"}} },
		"one of directory":    func(c *Config) { c.TokenSource = TokenSource{Directory: "/x", ID: true} },
		"absolute path":       func(c *Config) { c.TokenSource.Directory = "x" },
		"slash":               func(c *Config) { c.Instance = "a/b" },
		"timeout is negative": func(c *Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
