package vaultserver

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	// The banner may come after the server is ready, so the log is looked at when it is whole.
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if log.String() == "" {
		t.Error("Vault's log did not arrive")
	}
	if strings.Contains(log.String(), s.RootToken) || strings.Contains(log.String(), "Unseal Key") {
		t.Error("the log holds the root token or the unseal key")
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
	binary, pidFile := silentVault(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		readPID(pidFile)
	}()
	if _, err := Start(ctx, Options{Binary: binary, Dir: t.TempDir()}); err == nil {
		t.Fatal("Start reports a server that never answered as ready")
	}
	if pid := readPID(pidFile); running(pid) {
		t.Errorf("process %s is left behind", pid)
	}
}

func TestServerEndsWithTheProcessThatStartedIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	if binary := os.Getenv("TEST_START_AND_HANG"); binary != "" {
		_, err := Start(t.Context(), Options{Binary: binary, Dir: os.Getenv("TEST_DIR")})
		t.Fatal(err)
	}
	binary, pidFile := silentVault(t)
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), "TEST_START_AND_HANG="+binary, "TEST_DIR="+t.TempDir())
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := readPID(pidFile)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for end := time.Now().Add(10 * time.Second); running(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %s outlives its parent", pid)
		}
	}
}

// silentVault is a server that writes its pid and never answers.
func silentVault(t *testing.T) (binary, pidFile string) {
	t.Helper()
	binary = touch(t, filepath.Join(t.TempDir(), "vault"), 0o755)
	pidFile = filepath.Join(t.TempDir(), "pid")
	script := "#!/bin/sh\necho $$ >" + pidFile + "\nexec sleep 60\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return binary, pidFile
}

// readPID waits for the pid; a test that never gets one ends by its own time limit.
func readPID(file string) string {
	for {
		if b, err := os.ReadFile(file); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			return strings.TrimSpace(string(b))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running is false for a process that has ended, and for one that only its parent has not yet taken note of.
func running(pid string) bool {
	state, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	return err == nil && !bytes.Contains(state, []byte(") Z "))
}
