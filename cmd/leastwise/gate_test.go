package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// gateRun runs `leastwise gate ARGS` in this process.
func gateRun(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var commands struct {
		Gate gateCommand `cmd:""`
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	parser, err := kong.New(&commands, kong.Name("leastwise"), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append([]string{"gate"}, args...))
	if err != nil {
		return exitUsage, err.Error()
	}
	stdout, stderr := os.Stdout, os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout, os.Stderr = w, w
	read := make(chan string)
	go func() {
		data, _ := io.ReadAll(r)
		read <- string(data)
	}()
	code = exitCode(command.Run())
	os.Stdout, os.Stderr = stdout, stderr
	_ = w.Close()
	return code, <-read
}

func TestGateExitsWithZeroOneOrTwo(t *testing.T) {
	t.Chdir("../..")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("kind: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	embedded := filepath.Join(t.TempDir(), "leastwise.yaml")
	if err := os.WriteFile(embedded, []byte("data_dir: "+t.TempDir()+"\nkafka: embedded\nclickhouse: embedded\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, catalog := "--config=examples/gate/leastwise.yaml", "--catalog=examples/catalog.yaml"
	ingest, nightly := "examples/gate/ingest.yaml", "examples/gate/mislabelled.yaml"
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"allowed":                         {[]string{config, ingest}, 0, "2 workloads judged, 0 refused"},
		"by its full name":                {[]string{"check", config, ingest}, 0, "0 refused"},
		"refused":                         {[]string{config, ingest, nightly}, 1, "it is mislabelled"},
		"as JSON":                         {[]string{config, "--format=json", nightly}, 1, `"allowed": false`},
		"another mount without config":    {[]string{catalog, ingest}, 1, "auth/kubernetes/"},
		"catalog away, closed by default": {[]string{config, "--catalog=/nowhere", ingest}, 1, "the gate fails closed"},
		"catalog away, open":              {[]string{config, "--catalog=/nowhere", "--fail=open", ingest}, 0, "the gate fails open"},
		"broken manifest":                 {[]string{config, broken}, 2, "broken.yaml:2: not a manifest"},
		"missing manifest":                {[]string{config, "/nowhere.yaml"}, 2, "/nowhere.yaml"},
		"no catalog named":                {[]string{ingest}, 2, "--catalog"},
		"bad exceptions":                  {[]string{config, "--exceptions=" + broken, ingest}, 2, "broken.yaml:1"},
		"bad configuration":               {[]string{"--config=" + broken, ingest}, 2, "broken.yaml:1"},
		"graph of no server named":        {[]string{catalog, "--graph", ingest}, 2, "--config"},
		"graph of a server that is away":  {[]string{catalog, "--config=" + embedded, "--graph", ingest}, 1, "the gate fails closed: the identity graph can not be read"},
		"no file":                         {[]string{config}, 2, "expected"},
		"unknown format":                  {[]string{config, "--format=xml", ingest}, 2, "--format"},
		"serve without a certificate":     {[]string{"serve", config}, 2, "--tls-cert"},
		"serve with a bad certificate":    {[]string{"serve", config, "--tls-cert=" + broken, "--tls-key=" + broken}, 2, "TLS certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := gateRun(t, c.args...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit %d; expected %d and %q\n%s", code, c.code, c.says, out)
			}
		})
	}
}
