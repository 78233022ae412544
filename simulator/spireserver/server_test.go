package spireserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// start gives a server that ends with the test, or skips it where SPIRE is not installed.
func started(t *testing.T) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{})
	if errors.Is(err, ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRealSPIREAgentGetsTheSVIDOfItsEntry(t *testing.T) {
	s := started(t)
	agent, err := s.StartAgent(t.Context(), "spiffe://example.org/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateEntry(t.Context(), "spiffe://example.org/node", "spiffe://example.org/work", "-selector", "unix:uid:"+strconv.Itoa(os.Getuid())); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := agent.Fetch(context.Background(), "x509")
		if err == nil && strings.Contains(string(out), "spiffe://example.org/work") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no SVID: %v: %s", err, out)
		}
	}
	log, err := os.ReadFile(s.LogFile)
	if err != nil || !strings.Contains(string(log), `"type":"audit"`) || !strings.Contains(string(log), "serial_num") {
		t.Errorf("the log has no audit lines or no serials: %v", err)
	}
	dir := s.dir
	if err := s.Stop(); err != nil || s.Alive() || agent.Alive() {
		t.Errorf("after Stop: %v, server alive %t, agent alive %t", err, s.Alive(), agent.Alive())
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestConfigurationThatIsWrongIsTold(t *testing.T) {
	if _, err := Find(); err != nil {
		t.Skip(err)
	}
	_, err := Start(t.Context(), Options{Server: `admin_ids = "no list"`})
	if err == nil || !strings.Contains(err.Error(), "before it was ready") {
		t.Errorf("error %v", err)
	}
}

func TestFindSaysWhatToRun(t *testing.T) {
	t.Setenv(DirEnv, "")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "make spire") {
		t.Errorf("error %v", err)
	}
	t.Setenv(DirEnv, t.TempDir())
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), DirEnv) {
		t.Errorf("error %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"spire-server", "spire-agent"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(DirEnv, dir)
	if found, err := Find(); err != nil || found.Agent != filepath.Join(dir, "spire-agent") {
		t.Errorf("%v, %v", found, err)
	}
}
