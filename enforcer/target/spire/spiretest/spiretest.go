// Package spiretest runs a real SPIRE server and agents for tests, and ends
// them with the test. It skips the test where SPIRE is not on this machine.
package spiretest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// Domain is the trust domain.
const Domain = "example.org"

// Server is a running SPIRE server.
type Server struct {
	// Socket is the admin API: unix:///..., Addr what agents use.
	Socket, Addr string
	// Log is the server's log file.
	Log   string
	Conn  *grpc.ClientConn // over the admin socket
	Entry entryv1.EntryClient
	Agent agentv1.AgentClient

	t             testing.TB
	server, agent string // the programs
	dir           string
	ca            *x509.Certificate
	key           *ecdsa.PrivateKey
	agents        int
}

// Start starts a server. extra is added to its section server, in HCL.
func Start(t testing.TB, extra string) *Server {
	t.Helper()
	s := &Server{t: t}
	s.server, s.agent = programs(t)
	var err error
	if s.dir, err = os.MkdirTemp("", "lw"); err != nil { // short: sockets live here
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.makeCA()
	if !strings.Contains(extra, "experimental") {
		extra += "\n  experimental { cache_reload_interval = \"1s\" }"
	}
	s.Socket, s.Log = "unix://"+s.path("api.sock"), s.path("server.log")
	s.write("server.conf", fmt.Sprintf(`server {
  bind_address = "127.0.0.1"
  bind_port = "%[1]s"
  socket_path = "%[2]s/api.sock"
  trust_domain = "%[3]s"
  data_dir = "%[2]s"
  log_level = "INFO"
  log_format = "json"
  log_file = "%[2]s/server.log"
  audit_log_enabled = true
  ca_ttl = "24h"
  %[4]s
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%[2]s/d.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  NodeAttestor "x509pop" { plugin_data { ca_bundle_path = "%[2]s/ca.pem" } }
  KeyManager "memory" { plugin_data {} }
}
`, port, s.dir, Domain, extra))
	s.run(s.server, "run", "-config", s.path("server.conf"))
	conn, err := grpc.NewClient(s.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.Conn = conn
	s.Entry, s.Agent = entryv1.NewEntryClient(conn), agentv1.NewAgentClient(conn)
	s.Until("the server answers", func() bool {
		_, err := s.Entry.CountEntries(t.Context(), &entryv1.CountEntriesRequest{})
		return err == nil
	})
	return s
}

// programs finds SPIRE in the directory that LEASTWISE_SPIRE names.
func programs(t testing.TB) (server, agent string) {
	t.Helper()
	dir := os.Getenv("LEASTWISE_SPIRE")
	if dir == "" {
		t.Skip("LEASTWISE_SPIRE is not set: the real SPIRE is not tested (make spire builds it)")
	}
	server, agent = filepath.Join(dir, "spire-server"), filepath.Join(dir, "spire-agent")
	for _, path := range []string{server, agent} {
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
	}
	return server, agent
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run starts a program that ends with the test; ended is closed when it has.
func (s *Server) run(program string, args ...string) (ended chan struct{}) {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // the agent of a banned node ends with an error
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	return ended
}

// Until waits for something that another process does.
func (s *Server) Until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(s.Log)
			s.t.Fatalf("waited in vain: %s; the server's log ends: %s", what, log[max(0, len(log)-2000):])
		}
	}
}

// ID of the trust domain.
func ID(path string) *types.SPIFFEID { return &types.SPIFFEID{TrustDomain: Domain, Path: path} }

// Create makes an entry for workloads of the user that runs the test.
func (s *Server) Create(e *types.Entry) *types.Entry {
	s.t.Helper()
	if len(e.Selectors) == 0 {
		e.Selectors = []*types.Selector{{Type: "unix", Value: "uid:" + strconv.Itoa(os.Getuid())}}
	}
	answer, err := s.Entry.BatchCreateEntry(context.Background(), &entryv1.BatchCreateEntryRequest{Entries: []*types.Entry{e}})
	if err != nil {
		s.t.Fatal(err)
	}
	if r := answer.Results[0]; r.Status.Code != int32(codes.OK) {
		s.t.Fatalf("entry %v: %v", e, r.Status)
	}
	return answer.Results[0].Entry
}

// Agent is a SPIRE agent.
type Agent struct {
	// Socket is the Workload API: unix:///..., ID the agent's own.
	Socket string
	ID     *types.SPIFFEID

	s     *Server
	conf  string
	ended chan struct{}
}

// JoinAgent lets an agent attest with a join token, which can be done once.
func (s *Server) JoinAgent() *Agent {
	s.t.Helper()
	token, err := s.Agent.CreateJoinToken(context.Background(), &agentv1.CreateJoinTokenRequest{Ttl: 600})
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.newAgent(`NodeAttestor "join_token" { plugin_data {} }`, fmt.Sprintf("join_token = %q", token.Value))
	a.ID = ID("/spire/agent/join_token/" + token.Value)
	a.Start()
	return a
}

// X509Agent lets an agent attest with a certificate: it can attest again.
func (s *Server) X509Agent() *Agent {
	s.t.Helper()
	name := fmt.Sprintf("agent%d", s.agents)
	cert, key := s.certificate(name)
	s.write(name+".pem", cert)
	s.write(name+".key", key)
	a := s.newAgent(fmt.Sprintf(`NodeAttestor "x509pop" { plugin_data { certificate_path = %q private_key_path = %q } }`,
		s.path(name+".pem"), s.path(name+".key")), "")
	a.Start()
	return a
}

func (s *Server) newAgent(attestor, extra string) *Agent {
	n := s.agents
	s.agents++
	dir := fmt.Sprintf("a%d", n)
	if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
		s.t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(s.Addr)
	a := &Agent{s: s, Socket: "unix://" + s.path(dir) + "/api.sock", conf: s.path(dir) + ".conf"}
	s.write(dir+".conf", fmt.Sprintf(`agent {
  data_dir = %[1]q
  log_level = "INFO"
  log_file = %[2]q
  server_address = %[3]q
  server_port = %[4]q
  socket_path = %[5]q
  trust_domain = %[6]q
  insecure_bootstrap = true
  %[7]s
  experimental { sync_interval = "1s" }
}
plugins {
  KeyManager "memory" { plugin_data {} }
  %[8]s
  WorkloadAttestor "unix" { plugin_data {} }
}
`, s.path(dir), s.path(dir)+"/agent.log", host, port, s.path(dir)+"/api.sock", Domain, extra, attestor))
	return a
}

// Start starts the agent, if it does not run, and waits until the server knows
// it.
func (a *Agent) Start() {
	a.s.t.Helper()
	if a.ended != nil {
		select {
		case <-a.ended:
		default:
			return
		}
	}
	before := map[string]bool{}
	for _, known := range a.s.Agents() {
		before[known.Id.Path] = true
	}
	a.ended = a.s.run(a.s.agent, "run", "-config", a.conf)
	a.s.Until("the agent has attested", func() bool {
		for _, known := range a.s.Agents() {
			if a.ID == nil && !before[known.Id.Path] {
				a.ID = known.Id
			}
			if a.ID != nil && known.Id.Path == a.ID.Path && !known.Banned {
				return true
			}
		}
		select {
		case <-a.ended:
			log, _ := os.ReadFile(filepath.Dir(strings.TrimPrefix(a.Socket, "unix://")) + "/agent.log")
			a.s.t.Fatalf("the agent ended: %s", log[max(0, len(log)-2000):])
		default:
		}
		return false
	})
}

// Ended is whether the agent's process has ended.
func (a *Agent) Ended() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// Agents are all that the server knows.
func (s *Server) Agents() []*types.Agent {
	s.t.Helper()
	list, err := s.Agent.ListAgents(context.Background(), &agentv1.ListAgentsRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	return list.Agents
}

// SVID is what the Workload API gives the test for a path; nil if nothing.
func (a *Agent) SVID(path string) *x509svid.SVID {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	svids, err := workloadapi.FetchX509SVIDs(ctx, workloadapi.WithAddr(a.Socket))
	if err != nil {
		return nil
	}
	for _, svid := range svids {
		if svid.ID.Path() == path {
			return svid
		}
	}
	return nil
}

// Gets is whether the Workload API gives the test an SVID within some seconds.
func (a *Agent) Gets(path string) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if a.SVID(path) != nil {
			return true
		}
	}
	return false
}

func (s *Server) makeCA() {
	s.t.Helper()
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		s.t.Fatal(err)
	}
	s.ca = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, s.ca, s.ca, s.key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (s *Server) certificate(name string) (cert, key string) {
	s.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(s.agents) + 2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca, own.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}
