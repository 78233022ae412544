package certlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/daemon"
)

func TestConfigurationErrorsSayWhatToDo(t *testing.T) {
	key := newSigner(t).file()
	log := func(change func(*LogConfig)) Config {
		l := LogConfig{Name: "a", URL: "https://ct.example.org", Kind: KindRFC6962, PublicKeyFile: key}
		change(&l)
		return Config{Logs: []LogConfig{l}}
	}
	certificate := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(certificate, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	twice := log(func(*LogConfig) {})
	twice.Logs = append(twice.Logs, twice.Logs[0])
	same := log(func(*LogConfig) {})
	same.Logs = append(same.Logs, same.Logs[0])
	same.Logs[1].Name = "b"
	with := func(c Config, change func(*Config)) Config { change(&c); return c }
	plain := log(func(*LogConfig) {})
	for want, cfg := range map[string]Config{
		"no logs":                   {},
		"name:":                     log(func(l *LogConfig) { l.Name = "" }),
		"url: set":                  log(func(l *LogConfig) { l.URL = "" }),
		"url: must be":              log(func(l *LogConfig) { l.URL = "ct.example.org" }),
		"url: must have no user":    log(func(l *LogConfig) { l.URL = "https://u:CANARY@ct.example.org" }),
		"kind:":                     log(func(l *LogConfig) { l.Kind = "merkle" }),
		"public_key_file: set":      log(func(l *LogConfig) { l.PublicKeyFile = "" }),
		"no such file":              log(func(l *LogConfig) { l.PublicKeyFile = "/nowhere" }),
		"not a PUBLIC KEY":          log(func(l *LogConfig) { l.PublicKeyFile = certificate }),
		"start:":                    log(func(l *LogConfig) { l.Start = "never" }),
		"ca_file":                   log(func(l *LogConfig) { l.CAFile = "/nowhere" }),
		"used twice":                twice,
		"have the same public key":  same,
		"verify:":                   with(plain, func(c *Config) { c.Verify = "no" }),
		"trust_domains:":            with(plain, func(c *Config) { c.TrustDomains = []string{"Not A Domain"} }),
		"domains:":                  with(plain, func(c *Config) { c.Domains = []string{"https://x"} }),
		"must not be negative":      with(plain, func(c *Config) { c.Poll = -1 }),
		"data_dir is not set":       plain,
		"logs[0]: name: set a name": log(func(l *LogConfig) { l.Name = "a:b" }),
	} {
		if _, err := New(cfg, collect.Deps{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("error %v, want …%s…", err, want)
		}
	}
}

func TestKeysAreReadInEveryPublishedForm(t *testing.T) {
	s := newSigner(t)
	dir := t.TempDir()
	for name, text := range map[string][]byte{"der": s.der(), "base64": []byte(b64(s.der()) + "\n"), "folded": []byte(b64(s.der())[:40] + "\n" + b64(s.der())[40:])} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := loadKey(path); err != nil || key.ID() != s.logID() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if key, err := loadKey(s.file()); err != nil || key.ID() != s.logID() {
		t.Errorf("PEM: %v", err)
	}
}

func TestConfigurationFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leastwise.yaml")
	text := "certlog_collector:\n  instance: prod\n  logs:\n    - {name: a, url: \"https://rome.example.org/\", kind: static-ct, public_key_file: " + newSigner(t).file() +
		", start: now}\n  trust_domains: [example.org]\n  domains: [example.com]\n  all: true\n  verify: full\n  poll: 30s\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg struct {
		Certlog Config `yaml:"certlog_collector"`
	}
	if err := daemon.Load(path, &cfg); err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg.Certlog, collect.Deps{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := c.feed.logs[0]
	if !l.full || l.poll != 30*time.Second || l.cfg.Start != StartNow || l.cfg.Origin != "rome.example.org" || l.maxAge != 24*time.Hour {
		t.Errorf("log %+v", l)
	}
}
