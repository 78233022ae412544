package vaultserver

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func realVault(t *testing.T) string {
	t.Helper()
	path := os.Getenv(BinaryEnv)
	if path == "" {
		t.Skipf("%s is not set: the real Vault is not tested (make vault builds it)", BinaryEnv)
	}
	return path
}

func status(t *testing.T, s *Server, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Addr+"/v1/auth/token/lookup-self", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestRealVaultServesItsRootTokenAndKeepsItOutOfFilesLogAndArguments(t *testing.T) {
	binary := realVault(t)
	// Where a Vault that keeps its token would leave it, and settings of the user's that must not reach it.
	t.Setenv("HOME", t.TempDir())
	t.Setenv("VAULT_DEV_LISTEN_ADDRESS", "127.0.0.1:1")
	dir := t.TempDir()
	var log buffer
	s, err := Start(t.Context(), Options{Binary: binary, Dir: dir, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if got := status(t, s, s.RootToken); got != http.StatusOK {
		t.Errorf("the root token is answered with %d", got)
	}
	if got := status(t, s, "not-a-token"); got != http.StatusForbidden {
		t.Errorf("an unknown token is answered with %d", got)
	}
	if log.String() == "" {
		t.Error("Vault's log did not arrive")
	}
	if strings.Contains(log.String(), s.RootToken) || strings.Contains(log.String(), "Unseal Key") {
		t.Error("the log holds the root token or the unseal key")
	}
	if arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.process.Pid), "cmdline")); err == nil && bytes.Contains(arguments, []byte(s.RootToken)) {
		t.Error("the root token is among the process's arguments")
	}
	for _, place := range []string{dir, os.Getenv("HOME")} {
		err := filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if text, _ := os.ReadFile(path); bytes.Contains(text, []byte(s.RootToken)) {
				t.Errorf("%s holds the root token", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestRealVaultStopEndsThePausedProcessAndRemovesOnlyItsOwnDirectory(t *testing.T) {
	s, err := Start(t.Context(), Options{Binary: realVault(t)})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(s.AuditFile)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s.Alive() {
		t.Error("the process lives after Stop")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left behind (%v)", dir, err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("a second Stop fails: %v", err)
	}
}

func TestStartTellsWhyTheServerDidNotComeUp(t *testing.T) {
	binary := touch(t, filepath.Join(t.TempDir(), "vault"), 0o755)
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho 'storage is on fire' >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Binary: binary, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "storage is on fire") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Start error = %v, want Vault's own last words and its exit status", err)
	}
}

func TestStartEndsAServerThatNeverBecomesReady(t *testing.T) {
	binary := touch(t, filepath.Join(t.TempDir(), "vault"), 0o755)
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := "#!/bin/sh\necho $$ >" + pidFile + "\nexec sleep 600\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if b, err := os.ReadFile(pidFile); err == nil && bytes.HasSuffix(b, []byte("\n")) {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err := Start(ctx, Options{Binary: binary, Dir: t.TempDir()}); err == nil {
		t.Fatal("Start reports a server that never answered as ready")
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join("/proc", strings.TrimSpace(string(pid)))); err == nil {
		t.Error("the process is left behind")
	}
}
