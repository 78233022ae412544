// Package spireserver runs the real SPIRE server and agents for the demo, the simulator and the tests.
//
// It promises a server of its own on a loopback port: keys in memory, SQLite in Dir, an admin socket that only this user
// may open, the audit log on and, unless told otherwise, debug on, both in LogFile; and an end: Stop ends exactly the
// processes that were started, by their pid, and on Linux the kernel ends them when the starting process dies.
//
// Start and StartAgent block until the program answers, or the context ends. Paths of Unix sockets are short (108 bytes
// on Linux): an empty Dir gives one that fits.
package spireserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/leastwise/leastwise/simulator/child"
)

// A port found free may be taken before SPIRE binds it: then another one is tried.
const portAttempts = 3

// Options of a server. The zero value is a server of example.org in a temporary directory, with debug and JSON.
type Options struct {
	// Binaries; empty: Find.
	Binaries Binaries
	// Dir holds everything; empty: a temporary directory, removed by Stop.
	Dir string
	// TrustDomain; empty: example.org.
	TrustDomain string
	// LogFormat is json or text; empty: json. LogLevel; empty: DEBUG.
	LogFormat, LogLevel string
	// LogFile is where the server's log goes, audit log included; empty: a file in Dir.
	LogFile string
	// Server is added to the server's section of its configuration, in HCL: admin_ids, an experimental section.
	Server string
}

// Server is a running SPIRE server.
type Server struct {
	*child.Process
	// Socket is the admin API: unix:///...
	Socket string
	// Addr is HOST:PORT of the API that agents use.
	Addr        string
	LogFile     string
	TrustDomain string

	bin       Binaries
	dir       string
	removeDir string

	mu     sync.Mutex
	agents []*Agent // under mu
	stop   sync.Once
	err    error
}

// Start starts a server and waits until it is healthy.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Binaries == (Binaries{}) {
		found, err := Find()
		if err != nil {
			return nil, err
		}
		opts.Binaries = found
	}
	var remove string
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "lw-spire-")
		if err != nil {
			return nil, fmt.Errorf("make a directory for spire: %w", err)
		}
		opts.Dir, remove = dir, dir
	}
	for _, option := range []struct {
		value    *string
		fallback string
	}{{&opts.TrustDomain, "example.org"}, {&opts.LogFormat, "json"}, {&opts.LogLevel, "DEBUG"},
		{&opts.LogFile, filepath.Join(opts.Dir, "server.log")}} {
		if *option.value == "" {
			*option.value = option.fallback
		}
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
		return nil, fmt.Errorf("spire's directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("make spire's directory: %w", err)
	}
	addr, err := child.FreePort()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", addr, err)
	}
	socket := filepath.Join(dir, "api.sock")
	config := fmt.Sprintf(`server {
  bind_address = %q
  bind_port = %q
  socket_path = %q
  trust_domain = %q
  data_dir = %q
  log_level = %q
  log_format = %q
  log_file = %q
  audit_log_enabled = true
  ca_ttl = "24h"
  %s
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = %q } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`, host, port, socket, opts.TrustDomain, filepath.Join(dir, "data"), opts.LogLevel, opts.LogFormat, opts.LogFile, opts.Server,
		filepath.Join(dir, "data", "spire.sqlite3"))
	file := filepath.Join(dir, "server.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write spire's configuration: %w", err)
	}
	p, err := child.Launch("spire-server", opts.Binaries.Server, dir, nil, "run", "-config", file)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, Socket: "unix://" + socket, Addr: addr, LogFile: opts.LogFile, TrustDomain: opts.TrustDomain,
		bin: opts.Binaries, dir: dir}
	ready := func(ctx context.Context) bool {
		out, err := s.Admin(ctx, "healthcheck")
		return err == nil && strings.Contains(string(out), "healthy")
	}
	if err := p.WaitReady(ctx, ready); err != nil {
		if log, readErr := os.ReadFile(opts.LogFile); readErr == nil && strings.Contains(string(log), "address already in use") {
			err = fmt.Errorf("spire on %s: %w", addr, syscall.EADDRINUSE)
		}
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Admin runs a command of spire-server against the admin socket, such as Admin(ctx, "entry", "create", ...).
func (s *Server) Admin(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, s.bin.Server, append(args, "-socketPath", strings.TrimPrefix(s.Socket, "unix://"))...)
}

func run(ctx context.Context, binary string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", filepath.Base(binary), strings.Join(args[:min(len(args), 2)], " "), err, strings.TrimSpace(string(out)))
	}
	return out, nil
}

// CreateEntry registers a workload and returns the entry's id. Flags are those of `spire-server entry create`, such as
// "-selector", "unix:uid:0", "-x509SVIDTTL", "300".
func (s *Server) CreateEntry(ctx context.Context, parent, id string, flags ...string) (string, error) {
	out, err := s.Admin(ctx, append([]string{"entry", "create", "-parentID", parent, "-spiffeID", id, "-output", "json"}, flags...)...)
	if err != nil {
		return "", err
	}
	var made struct {
		Results []struct {
			Entry struct {
				ID string `json:"id"`
			} `json:"entry"`
		} `json:"results"`
	}
	if err := json.Unmarshal(out, &made); err != nil || len(made.Results) != 1 || made.Results[0].Entry.ID == "" {
		return "", fmt.Errorf("spire-server entry create gave no entry: %w: %s", err, out)
	}
	return made.Results[0].Entry.ID, nil
}

// Stop ends the agents and the server, waits until they have ended, and removes the temporary directory. A second call
// does nothing.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.mu.Lock()
		agents := s.agents
		s.mu.Unlock()
		for _, a := range agents {
			a.Stop()
		}
		s.End()
		if s.removeDir != "" {
			if err := os.RemoveAll(s.removeDir); err != nil {
				s.err = fmt.Errorf("remove spire's directory: %w", err)
			}
		}
	})
	return s.err
}
