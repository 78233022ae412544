// Package vaultserver runs the real Vault server in development mode for the demo, the simulator and the tests.
//
// It promises a server of its own on a loopback port: storage in memory, a home directory of its own (so neither the
// user's ~/.vault-token nor VAULT_* settings are read or written), a root token that exists in this process and in the
// server's environment and nowhere else (not in an argument, file or log), and an end: Stop ends exactly the process
// that Start started, by its pid, and on Linux the kernel ends it when the starting process dies.
//
// Start blocks until Vault answers as initialised and unsealed, or its context ends. Everything in the server is lost
// when it stops, audit log excepted: that is a file in Dir.
package vaultserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/simulator/child"
)

const (
	readyWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
	// A port found free may be taken before Vault binds it: then another one is tried.
	portAttempts = 3
)

// Options of a server. The zero value is a server in a temporary directory, with the binary that Find finds.
type Options struct {
	// Binary is the path of the Vault binary; empty: Find.
	Binary string
	// Dir holds the server's home and its audit log; empty: a temporary directory, removed by Stop.
	Dir string
	// Log receives Vault's own log, without its banner (which shows the root token and the unseal key); nil: discarded.
	Log io.Writer
}

// Server is a running Vault.
type Server struct {
	// Addr is the server's base URL, such as http://127.0.0.1:40123.
	Addr string
	// RootToken is held in memory only; it is for setting the site up, never for the product.
	RootToken string
	// AuditFile is where a file audit device is to write. The device itself is enabled by whoever sets the site up.
	AuditFile string

	process   *os.Process
	removeDir string
	tail      *tail

	exited  chan struct{}
	exitErr error // valid once exited is closed

	stop    sync.Once
	stopErr error
}

// Start starts a server and waits until it is ready.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Binary == "" {
		found, err := Find()
		if err != nil {
			return nil, err
		}
		opts.Binary = found
	}
	var remove string
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "leastwise-vault-")
		if err != nil {
			return nil, fmt.Errorf("make a directory for vault: %w", err)
		}
		opts.Dir, remove = dir, dir
	}
	var err error
	for range portAttempts {
		var s *Server
		if s, err = start(ctx, opts); err == nil {
			s.removeDir = remove
			return s, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if remove != "" {
		err = errors.Join(err, os.RemoveAll(remove))
	}
	return nil, err
}

func start(ctx context.Context, opts Options) (*Server, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("vault's directory: %w", err)
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("make vault's home: %w", err)
	}
	listen, err := child.FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Addr:      "http://" + listen,
		RootToken: newToken(),
		AuditFile: filepath.Join(dir, "audit.log"),
		tail:      &tail{to: opts.Log},
		exited:    make(chan struct{}),
	}
	cmd := exec.Command(opts.Binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	// Only what Vault needs: none of the caller's VAULT_* settings, and the token by environment, since arguments
	// are readable by every user of the machine.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "VAULT_DEV_ROOT_TOKEN_ID=" + s.RootToken}
	cmd.Dir = home
	cmd.Stdout = nil // the banner: root token and unseal key
	cmd.Stderr = s.tail
	cmd.SysProcAttr = child.Attributes()

	started := make(chan error, 1)
	go func() {
		// The parent-death signal is tied to the thread that forks, so that thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.exitErr = cmd.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start vault: %w", err)
	}
	s.process = cmd.Process
	if err := s.waitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	client := &http.Client{Timeout: time.Second}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Addr+"/v1/sys/health", nil)
		if err != nil {
			return fmt.Errorf("ask vault's health: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			// 200 is initialised, unsealed and active; the other codes say which of these is still missing.
			if resp.StatusCode == http.StatusOK && s.Alive() {
				return nil
			}
		}
		select {
		case <-s.exited:
			if last := s.tail.String(); strings.Contains(last, "address already in use") {
				return fmt.Errorf("vault on %s: %w", s.Addr, syscall.EADDRINUSE)
			}
			how := s.exitErr
			if how == nil {
				how = errors.New("exit status 0")
			}
			return fmt.Errorf("vault ended before it was ready (%w): %s", how, s.tail)
		case <-ctx.Done():
			return fmt.Errorf("vault on %s is not ready: %w: %s", s.Addr, ctx.Err(), s.tail)
		case <-poll.C:
		}
	}
}

// Alive reports whether the server's process still runs.
func (s *Server) Alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Exited is closed when the server's process has ended, for whatever reason.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Pause stops the server from answering without losing its state, as an outage does; Resume lets it go on.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) error {
	if err := s.process.Signal(sig); err != nil {
		return fmt.Errorf("send %v to vault (pid %d): %w", sig, s.process.Pid, err)
	}
	return nil
}

// Stop ends the server and waits until it has ended, by force after a few seconds. A second call does nothing.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		if s.Alive() {
			// A paused process takes the end only when it goes on. Errors mean that it ended meanwhile.
			_ = s.process.Signal(syscall.SIGTERM)
			_ = s.process.Signal(syscall.SIGCONT)
			timer := time.NewTimer(stopWithin)
			defer timer.Stop()
			select {
			case <-s.exited:
			case <-timer.C:
				_ = s.process.Kill()
				<-s.exited
			}
		}
		if s.removeDir != "" {
			if err := os.RemoveAll(s.removeDir); err != nil {
				s.stopErr = fmt.Errorf("remove vault's directory: %w", err)
			}
		}
	})
	return s.stopErr
}

func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "root-" + hex.EncodeToString(b[:])
}
