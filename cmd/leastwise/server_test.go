package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

const serverPolicy = `policy_id: "lives-long"
description: "Lives too long."
metrics:
  - {name: lifetime, source: any, threshold: 1h, condition: greater_than}
action:
  - {severity: high, channel: owners, remediation_hint: Renew it.}
exception: {max_duration: 2d}
`

// beside starts a broker and an engine, and gives the configuration that leads to them.
func beside(t *testing.T) allinone.Config {
	t.Helper()
	dir := t.TempDir()
	b, err := broker.Start(context.Background(), broker.Config{DataDir: filepath.Join(dir, "kafka")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	kafka := stream.Config{Brokers: b.Addrs(), ReplicationFactor: 1, Partitions: 1}
	client, err := stream.Open(t.Context(), kafka, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var topics []stream.Topic
	for _, topic := range schemas.Topics() {
		topics = append(topics, stream.Topic{Name: topic.Name, Partitions: 1, Settings: topic.Settings})
	}
	if err := client.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	clickhouse := storetest.Config(t)
	db, err := store.Open(t.Context(), clickhouse, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(storetest.Engine(t).Handler())
	t.Cleanup(door.Close)
	for name, text := range map[string]string{"policies/p.yaml": serverPolicy, "data/.keep": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return allinone.Config{Common: daemon.Common{DataDir: filepath.Join(dir, "data")}, Kafka: kafka,
		ClickHouse: store.Config{Addr: []string{door.Listener.Addr().String()}, Protocol: "http", Database: clickhouse.Database},
		Policies:   processor.PoliciesConfig{Dir: filepath.Join(dir, "policies")}}
}

// runConsole runs the real console beside an engine and a broker, and gives its address and a link.
func runConsole(t *testing.T, section console.Config) (base, link, dataDir string) {
	t.Helper()
	cfg := beside(t)
	cfg.Console = section
	env := daemon.NewEnv("console", slog.New(slog.NewTextHandler(t.Output(), nil)))
	env.Listen = freeAddr(t)
	ctx, cancel := context.WithCancel(context.Background())
	type opened struct{ base, link string }
	ready, done := make(chan opened, 1), make(chan error, 1)
	go func() {
		done <- allinone.RunConsole(ctx, cfg, env, allinone.Hooks{Console: func(base, link string) { ready <- opened{base, link} }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the console ended with: %v", err)
		}
	})
	select {
	case at := <-ready:
		return at.base, at.link, cfg.DataDir
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return "", "", ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// leastwise runs a command and gives what it printed on both outputs.
func leastwise(t *testing.T, args ...string) (code int, printed string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		text <- string(all)
	}()
	code = run(t.Context(), args)
	w.Close()
	return code, <-text
}

func TestCommandsUseTheServerTheyArePointedAt(t *testing.T) {
	base, link, dataDir := runConsole(t, console.Config{Listen: "127.0.0.1:0"})
	sessions := t.TempDir()
	keep := func(name, text string) string {
		path := filepath.Join(sessions, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("LEASTWISE_SERVER", base)
	expect := func(want int, says string, args ...string) string {
		t.Helper()
		code, printed := leastwise(t, args...)
		if code != want || !strings.Contains(printed, says) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", args, code, want, says, printed)
		}
		return printed
	}
	expect(1, "not signed in at "+base, "exception", "list")
	expect(1, "leastwise link >", "exception", "list")
	ann := keep("ann", link)
	asked := expect(0, "requested by", "exception", "request", "--session", ann, "--credential", "vault/d/token/x", "--policy", "lives-long", "--reason", "why \x1b[2J", "--until", "2h")
	id, _, _ := strings.Cut(asked, " ")
	if text, err := os.ReadFile(ann); err != nil || strings.Contains(string(text), "token=") {
		t.Errorf("the used link is still kept: %v", err)
	}
	expect(1, "", "exception", "approve", "--session", ann, id) // one's own
	bobs, err := console.AskLink(t.Context(), filepath.Join(dataDir, console.SocketFile), "bob", []string{"approver"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bob := keep("bob", bobs)
	expect(2, "leave out --by", "exception", "approve", "--session", bob, "--by", "carol", id)
	expect(0, id+" approved by bob", "exception", "approve", "--session", bob, id)
	if list := expect(0, "in force", "exception", "list", "--session", ann); strings.Contains(list, "\x1b") || !strings.Contains(list, id) {
		t.Errorf("the list is %q", list)
	}
	expect(1, "Forbidden", "control", "mode", "notify", "--session", bob, "--reason", "try")
	expect(0, "mode notify", "control", "mode", "notify", "--session", ann, "--reason", "try")
	expect(0, "kill switch on", "control", "kill", "on", "--session", ann, "--reason", "incident")
	// There is no data yet, and it says so.
	expect(1, "incident", "doctor", "--session", ann)
	expect(0, "revocations go on", "resume", "--session", ann, "--reason", "looked at")
	expect(1, "no ladder", "restore", "none", "--session", ann, "--reason", "why")
	expect(1, "no ladder", "rollback", "none", "--session", ann, "--reason", "why")
	expect(1, "no ladder", "control", "approve", "none", "--session", ann, "--reason", "why")
	expect(2, "the API has no way to do this", "control", "budget", "1/h", "--session", ann, "--reason", "less")
	expect(1, "lives", "exception", "request", "--session", ann, "--credential", "vault/d/token/x", "--policy", "none-such-lives", "--reason", "why", "--until", "2h")
	expect(2, "no credential", "policy", "explain", "nonesuch", "--session", ann)
	expect(2, "no credential", "who", "nonesuch", "--session", ann)
	expect(0, id+" ended by", "exception", "revoke", "--session", bob, id)
	expect(2, "https", "who", "x", "--server", "http://192.0.2.1:9465", "--session", ann)
	keep("stale", "nonesense")
	expect(1, "The session has ended", "who", "x", "--session", filepath.Join(sessions, "stale"))
}

func TestACommandSignsInWithItsCertificate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var caKey *ecdsa.PrivateKey
	var ca *x509.Certificate
	issue := func(name, spiffe string) (cert, key string) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			NotBefore: time.Now().Add(-time.Minute), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: ca == nil,
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
		if spiffe != "" {
			id, _ := url.Parse(spiffe)
			template.URIs = []*url.URL{id}
		}
		parent, signer := ca, caKey
		if ca == nil {
			parent, signer = template, private
		} else {
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		if ca == nil {
			caKey = private
			ca, _ = x509.ParseCertificate(der)
		}
		raw, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return write(name+".pem", "CERTIFICATE", der), write(name+".key", "PRIVATE KEY", raw)
	}
	root, _ := issue("ca", "")
	serverCert, serverKey := issue("server", "")
	cert, key := issue("ci", "spiffe://example.org/ns/ci/job")
	otherCert, otherKey := issue("other", "spiffe://example.org/ns/other")
	base, _, _ := runConsole(t, console.Config{Listen: "127.0.0.1:0", TLS: &console.TLSConfig{CertFile: serverCert, KeyFile: serverKey, ClientCAFile: root},
		Roles: []console.RoleConfig{{SPIFFEID: "spiffe://example.org/ns/ci/*", Roles: []string{"viewer", "security"}}}})
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "kill switch on", []string{"control", "kill", "on", "--reason", "why", "--cert", cert, "--key", key, "--ca", root}},
		{1, "by spiffe://example.org/ns/ci/job: why", []string{"doctor", "--cert", cert, "--key", key, "--ca", root}},
		{1, "You have no role here", []string{"doctor", "--cert", otherCert, "--key", otherKey, "--ca", root}},
		{1, "not signed in", []string{"doctor", "--ca", root}},
		{1, "unknown authority", []string{"doctor", "--cert", cert, "--key", key}},
		{2, "belong together", []string{"doctor", "--cert", cert, "--ca", root}},
	} {
		code, printed := leastwise(t, append(c.args, "--server", base)...)
		if code != c.code || !strings.Contains(printed, c.says) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", c.args[:1], code, c.code, c.says, fmt.Sprint(printed))
		}
	}
}
