package spire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// realSPIRE is a SPIRE server, and an agent of it, that end with the test.
type realSPIRE struct {
	t             *testing.T
	server, agent string // the programs
	dir, log      string
	port          string
	agentID       string
	agentEnded    chan struct{}
}

// programs finds spire-server and spire-agent in the directory that LEASTWISE_SPIRE names, or where tools/spire.sh puts them.
func programs(t *testing.T) (server, agent string) {
	t.Helper()
	dir := os.Getenv("LEASTWISE_SPIRE")
	if dir == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Skip(err)
			}
			cache = filepath.Join(home, ".cache")
		}
		dir = filepath.Join(cache, "leastwise", "spire", "1.13.3")
	}
	server, agent = filepath.Join(dir, "spire-server"), filepath.Join(dir, "spire-agent")
	for _, path := range []string{server, agent} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("no %s: run tools/spire.sh, or set LEASTWISE_SPIRE to the directory that has it, to test against a real server", path)
		}
	}
	return server, agent
}

func startSPIRE(t *testing.T, form string) *realSPIRE {
	t.Helper()
	s := &realSPIRE{t: t, agentEnded: make(chan struct{})}
	s.server, s.agent = programs(t)
	var err error
	if s.dir, err = os.MkdirTemp("", "lw"); err != nil { // short: sockets live here
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	listener.Close()
	s.log = filepath.Join(s.dir, "server.log")
	s.write("server.conf", `server {
  bind_address = "127.0.0.1"
  bind_port = "%[1]s"
  socket_path = "%[2]s/api.sock"
  trust_domain = "example.org"
  data_dir = "%[2]s"
  log_level = "DEBUG"
  log_format = "%[3]s"
  log_file = "%[2]s/server.log"
  audit_log_enabled = true
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%[2]s/d.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`, s.port, s.dir, form)
	s.start(s.server, nil, "run", "-config", s.path("server.conf"))
	s.until("the server is healthy", func() bool {
		out, err := s.command("healthcheck")
		return err == nil && bytes.Contains(out, []byte("healthy"))
	})
	var token struct{ Value string }
	s.ask(&token, "token", "generate", "-spiffeID", "spiffe://example.org/node")
	s.agentID = "spiffe://example.org/spire/agent/join_token/" + token.Value
	s.write("agent.conf", `agent {
  data_dir = "%[2]s/agent"
  log_file = "%[2]s/agent.log"
  server_address = "127.0.0.1"
  server_port = "%[1]s"
  socket_path = "%[2]s/agent.sock"
  trust_domain = "example.org"
  insecure_bootstrap = true
  join_token = "%[3]s"
}
plugins {
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`, s.port, s.dir, token.Value)
	s.start(s.agent, s.agentEnded, "run", "-config", s.path("agent.conf"))
	return s
}

func (s *realSPIRE) path(name string) string { return filepath.Join(s.dir, name) }

func (s *realSPIRE) write(name, text string, args ...any) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), fmt.Appendf(nil, text, args...), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts a program that ends with the test.
func (s *realSPIRE) start(program string, ended chan struct{}, args ...string) {
	s.t.Helper()
	command := exec.Command(program, args...)
	command.Dir = s.dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	if ended == nil {
		ended = make(chan struct{})
	}
	go func() { _ = command.Wait(); close(ended) }() // the agent of a banned node ends with an error
	s.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = command.Process.Kill()
			<-ended
		}
	})
}

func (s *realSPIRE) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(s.log)
			s.t.Fatalf("waited in vain: %s; the server's log ends: %s", what, log[max(0, len(log)-2000):])
		}
	}
}

// command runs an administrator's command.
func (s *realSPIRE) command(args ...string) ([]byte, error) {
	return exec.Command(s.server, append(args, "-socketPath", s.path("api.sock"))...).CombinedOutput()
}

func (s *realSPIRE) admin(args ...string) []byte {
	s.t.Helper()
	out, err := s.command(args...)
	if err != nil {
		s.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return out
}

func (s *realSPIRE) ask(answer any, args ...string) {
	s.t.Helper()
	out := s.admin(append(args, "-output", "json")...)
	if err := json.Unmarshal(out, answer); err != nil {
		s.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// entry makes one for workloads of the user that runs the test.
func (s *realSPIRE) entry(path string, flags ...string) string {
	s.t.Helper()
	var made struct {
		Results []struct {
			Entry struct{ ID string }
		}
	}
	s.ask(&made, append([]string{"entry", "create", "-parentID", "spiffe://example.org/node", "-spiffeID", "spiffe://example.org/" + path,
		"-selector", "unix:uid:" + strconv.Itoa(os.Getuid())}, flags...)...)
	if len(made.Results) != 1 || made.Results[0].Entry.ID == "" {
		s.t.Fatalf("no entry: %v", made)
	}
	return made.Results[0].Entry.ID
}

// workload gives what the Workload API has for the test; nil if it has nothing yet.
func (s *realSPIRE) workload() map[string]certificate {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	svids, err := workloadapi.FetchX509SVIDs(ctx, workloadapi.WithAddr("unix://"+s.path("agent.sock")))
	if err != nil {
		return nil
	}
	found := map[string]certificate{}
	for _, svid := range svids {
		leaf := svid.Certificates[0]
		found[svid.ID.String()] = certificate{leaf.SerialNumber.String(), leaf.NotBefore, leaf.NotAfter}
	}
	return found
}

type certificate struct {
	serial              string
	notBefore, notAfter time.Time
}

func lastPart(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
