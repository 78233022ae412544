package spireserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/leastwise/leastwise/simulator/child"
)

// Agent is a running SPIRE agent. Its workloads are attested by their Unix user.
type Agent struct {
	*child.Process
	// Socket is the Workload API: unix:///...
	Socket string
	// ID is the agent's own SPIFFE ID.
	ID string

	bin Binaries
}

// StartAgent lets a new agent attest with a join token under an alias such as spiffe://example.org/node, which is a parent
// for entries, and waits until it serves the Workload API.
func (s *Server) StartAgent(ctx context.Context, alias string) (*Agent, error) {
	out, err := s.Admin(ctx, "token", "generate", "-spiffeID", alias, "-output", "json")
	if err != nil {
		return nil, err
	}
	var token struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(out, &token); err != nil || token.Value == "" {
		return nil, errors.New("spire-server token generate gave no token")
	}
	s.mu.Lock()
	n := len(s.agents)
	s.mu.Unlock()
	dir := filepath.Join(s.dir, fmt.Sprintf("agent%d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the agent's directory: %w", err)
	}
	socket := filepath.Join(dir, "api.sock")
	host, port, _ := strings.Cut(s.Addr, ":")
	config := fmt.Sprintf(`agent {
  data_dir = %q
  log_level = "INFO"
  log_file = %q
  server_address = %q
  server_port = %q
  socket_path = %q
  trust_domain = %q
  insecure_bootstrap = true
  join_token_file = %q
}
plugins {
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`, dir, filepath.Join(dir, "agent.log"), host, port, socket, s.TrustDomain, filepath.Join(dir, "token"))
	file := filepath.Join(dir, "agent.conf")
	if err := errors.Join(os.WriteFile(file, []byte(config), 0o600), os.WriteFile(filepath.Join(dir, "token"), []byte(token.Value), 0o600)); err != nil {
		return nil, fmt.Errorf("write the agent's configuration: %w", err)
	}
	p, err := child.Launch("spire-agent", s.bin.Agent, dir, nil, "run", "-config", file)
	if err != nil {
		return nil, err
	}
	a := &Agent{Process: p, Socket: "unix://" + socket, ID: "spiffe://" + s.TrustDomain + "/spire/agent/join_token/" + token.Value, bin: s.bin}
	s.mu.Lock()
	s.agents = append(s.agents, a)
	s.mu.Unlock()
	ready := func(ctx context.Context) bool {
		_, err := run(ctx, s.bin.Agent, "healthcheck", "-socketPath", socket)
		return err == nil
	}
	if err := p.WaitReady(ctx, ready); err != nil {
		a.Stop()
		if log, readErr := os.ReadFile(filepath.Join(dir, "agent.log")); readErr == nil {
			err = fmt.Errorf("%w; its log ends: %s", err, log[max(0, len(log)-child.TailBytes):])
		}
		return nil, err
	}
	return a, nil
}

// Fetch runs `spire-agent api fetch KIND` as this user: the Workload API gives what this user's entries allow.
func (a *Agent) Fetch(ctx context.Context, kind string, flags ...string) ([]byte, error) {
	return run(ctx, a.bin.Agent, append([]string{"api", "fetch", kind, "-socketPath", strings.TrimPrefix(a.Socket, "unix://")}, flags...)...)
}

// Stop ends the agent and waits until it has ended.
func (a *Agent) Stop() { a.End() }
