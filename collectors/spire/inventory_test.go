package spire

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fakeServer answers as a SPIRE server does, one entry a page.
type fakeServer struct {
	entryv1.UnimplementedEntryServer
	agentv1.UnimplementedAgentServer
	bundlev1.UnimplementedBundleServer
	trustdomainv1.UnimplementedTrustDomainServer

	mu      sync.Mutex // guards what follows
	entries []*types.Entry
	refuse  bool // agents may not be listed
	rounds  int
}

func (f *fakeServer) ListEntries(_ context.Context, req *entryv1.ListEntriesRequest) (*entryv1.ListEntriesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := len(req.PageToken)
	if at == 0 {
		f.rounds++
	}
	if at >= len(f.entries) {
		return &entryv1.ListEntriesResponse{}, nil
	}
	return &entryv1.ListEntriesResponse{Entries: f.entries[at : at+1], NextPageToken: strings.Repeat("x", at+1)}, nil
}

func (f *fakeServer) ListAgents(context.Context, *agentv1.ListAgentsRequest) (*agentv1.ListAgentsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse {
		return nil, status.Error(codes.PermissionDenied, "CANARY authorization denied")
	}
	return &agentv1.ListAgentsResponse{Agents: []*types.Agent{
		{Id: id("/spire/agent/join_token/spent"), AttestationType: "join_token", X509SvidSerialNumber: "123456789", X509SvidExpiresAt: 1795328817},
		{Id: id("/spire/agent/x509pop/b"), AttestationType: "x509pop", Banned: true, Selectors: []*types.Selector{{Type: "x509pop", Value: "subject:cn:b"}}},
	}}, nil
}

func (f *fakeServer) GetBundle(context.Context, *bundlev1.GetBundleRequest) (*types.Bundle, error) {
	return &types.Bundle{TrustDomain: "example.org", X509Authorities: []*types.X509Certificate{{Asn1: []byte("a")}, {Asn1: []byte("b"), Tainted: true}}}, nil
}

func (f *fakeServer) ListFederatedBundles(context.Context, *bundlev1.ListFederatedBundlesRequest) (*bundlev1.ListFederatedBundlesResponse, error) {
	return &bundlev1.ListFederatedBundlesResponse{Bundles: []*types.Bundle{{TrustDomain: "partner.example"}}}, nil
}

func (f *fakeServer) ListFederationRelationships(context.Context, *trustdomainv1.ListFederationRelationshipsRequest) (*trustdomainv1.ListFederationRelationshipsResponse, error) {
	return &trustdomainv1.ListFederationRelationshipsResponse{FederationRelationships: []*types.FederationRelationship{{TrustDomain: "partner.example",
		BundleEndpointUrl: "https://partner.example/bundle", BundleEndpointProfile: &types.FederationRelationship_HttpsWeb{HttpsWeb: &types.HTTPSWebProfile{}}}}}, nil
}

func id(path string) *types.SPIFFEID { return &types.SPIFFEID{TrustDomain: "example.org", Path: path} }

func (f *fakeServer) set(entries ...*types.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = entries
}

func (f *fakeServer) made() int { f.mu.Lock(); defer f.mu.Unlock(); return f.rounds }

// serve gives the address of the fake's admin socket.
func (f *fakeServer) serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lw") // the test's own directory may have a path too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	entryv1.RegisterEntryServer(server, f)
	agentv1.RegisterAgentServer(server, f)
	bundlev1.RegisterBundleServer(server, f)
	trustdomainv1.RegisterTrustDomainServer(server, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "unix://" + listener.Addr().String()
}

var (
	ingest = &types.Entry{Id: "e1", SpiffeId: id("/ingest"), ParentId: id("/spire/agent/join_token/spent"), X509SvidTtl: 300, Admin: true,
		Selectors:     []*types.Selector{{Type: "unix", Value: "uid:0"}, {Type: "docker", Value: "env:PASSWORD=CANARY"}},
		FederatesWith: []string{"partner.example"}, DnsNames: []string{"b", "a"}, ExpiresAt: 1795328817}
	waiting = &types.Entry{Id: "e2", SpiffeId: id("/later"), ParentId: id("/spire/agent/join_token/CANARY"), Downstream: true,
		Selectors: []*types.Selector{{Type: "spiffe_id", Value: "spiffe://example.org/spire/agent/join_token/CANARY"}}}
)

func TestInventoryTellsWhoMayGetWhichSVID(t *testing.T) {
	fake := &fakeServer{}
	fake.set(ingest, waiting)
	dir := t.TempDir()
	broker := &sourcetest.Broker{}
	file := filepath.Join(dir, "server.log")
	appendTo(t, file, []byte(`{"entry_id":"e1","expiration":"2126-11-21T07:26:57Z","level":"debug","msg":"Signed X509 SVID","serial_num":"42","spiffe_id":"spiffe://example.org/ingest","subsystem_name":"api","request_id":"r","time":"2026-11-21T06:27:02Z"}`+"\n"))
	run(t, broker, dir, Config{File: file, Inventory: &InventoryConfig{Address: fake.serve(t), Interval: 20 * time.Millisecond}})
	sourcetest.Eventually(t, "a third round", func() bool { return fake.made() > 2 })

	entries := observedOf(broker, "ListEntries")
	sourcetest.Eventually(t, "the SVID is described by its entry", func() bool {
		entries = observedOf(broker, "ListEntries")
		return len(entries) == 3
	})
	e1 := entries["spiffe://example.org/ingest "]
	if e1 == nil || e1.Principal != "spire/default/spiffe_id/spiffe://example.org/ingest" {
		t.Fatalf("entries %v", entries)
	}
	for name, want := range map[string]string{"spiffe_id": "spiffe://example.org/ingest", "entry_id": "e1", "admin": "true", "downstream": "",
		"selectors": "docker:env:PASSWORD=(blanked),unix:uid:0", "x509_svid_ttl": "300", "federates_with": "partner.example", "dns_names": "a,b",
		"parent_id": "spiffe://example.org/spire/agent/join_token/spent", "expires_at": "2026-11-22T06:26:57Z"} {
		if e1.Labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, e1.Labels[name], want)
		}
	}
	svid := entries["spiffe://example.org/ingest spire/default/x509_svid/42"]
	if svid == nil || svid.Labels["admin"] != "true" || svid.Labels["expires_at"] != "" || svid.Principal != e1.Principal {
		t.Errorf("the SVID is described as %v", svid)
	}
	agents := observedOf(broker, "ListAgents")
	if a := agents["spiffe://example.org/spire/agent/join_token/spent spire/default/x509_svid/123456789"]; a == nil || a.Lifetime.ExpiresAt.Seconds != 1795328817 {
		t.Errorf("agents %v", agents)
	}
	if a := agents["spiffe://example.org/spire/agent/x509pop/b "]; a == nil || a.Labels["banned"] != "true" || a.Labels["selectors"] != "x509pop:subject:cn:b" {
		t.Errorf("agents %v", agents)
	}
	if b := observedOf(broker, "GetBundle")["spiffe://example.org "]; b == nil || b.Labels["x509_authorities"] != "2" || b.Labels["tainted_authorities"] != "1" {
		t.Errorf("bundle %v", b)
	}
	if f := observedOf(broker, "ListFederationRelationships")["spiffe://partner.example "]; f == nil || f.Labels["bundle_endpoint_profile"] != "https_web" {
		t.Errorf("federation %v", f)
	}
	if n := len(broker.Events()); n != 9 { // the SVID issued and described, 2 entries, 2 agents, 2 bundles, 1 federation
		t.Errorf("%d events; rounds that find nothing new tell nothing new", n)
	}
	for _, ev := range broker.Events() {
		if strings.Contains(ev.String(), "CANARY") {
			t.Errorf("secret in %v", ev)
		}
	}
	for key, fact := range broker.Facts() {
		if strings.Contains(fact.String()+key, "CANARY") {
			t.Errorf("secret in %v", fact)
		}
	}
}

func links(broker *sourcetest.Broker) map[string]*leastwisev1.Link {
	out := map[string]*leastwisev1.Link{}
	for _, fact := range broker.Facts() {
		if link := fact.GetLink(); link != nil {
			out[link.Kind.String()+" "+link.From+" "+link.To] = link
		}
	}
	return out
}

func TestLinksOfEntriesAreRetractedAlsoAfterARestart(t *testing.T) {
	fake := &fakeServer{}
	fake.set(ingest)
	dir := t.TempDir()
	cfg := Config{File: filepath.Join(dir, "server.log"), Inventory: &InventoryConfig{Address: fake.serve(t), Interval: 20 * time.Millisecond}}
	broker := &sourcetest.Broker{}
	const (
		issued  = "ISSUED_TO spire/default/entry/e1 spire/default/spiffe_id/spiffe://example.org/ingest"
		derived = "DERIVED_FROM spire/default/entry/e1 spire/default/spiffe_id/spiffe://example.org/spire/agent/join_token/spent"
	)
	stop := run(t, broker, dir, cfg)
	sourcetest.Eventually(t, "the entry's links are told and remembered", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "spire-default.links.json"))
		return err == nil && json.Valid(text) && links(broker)[issued] != nil && links(broker)[derived] != nil
	})
	for _, link := range links(broker) {
		if link.Retracted || link.Confidence != leastwisev1.Link_PROVEN || link.At == nil || !strings.Contains(link.Evidence, "e1") {
			t.Errorf("%v", link)
		}
	}
	stop()
	fake.set()
	broker = &sourcetest.Broker{}
	run(t, broker, dir, cfg)
	sourcetest.Eventually(t, "the links are retracted", func() bool {
		l := links(broker)
		return l[issued].GetRetracted() && l[derived].GetRetracted()
	})
}

func TestWhatTheInventoryMayNotReadIsNamed(t *testing.T) {
	fake := &fakeServer{refuse: true}
	fake.set(ingest)
	dir := t.TempDir()
	broker := &sourcetest.Broker{}
	run(t, broker, dir, Config{File: filepath.Join(dir, "server.log"), Heartbeat: 10 * time.Millisecond,
		Inventory: &InventoryConfig{Address: fake.serve(t), Interval: 20 * time.Millisecond}})
	sourcetest.Eventually(t, "the heartbeat names the method", func() bool {
		trouble := broker.Facts()["heartbeat/spire/default"].GetHeartbeat().GetTrouble()
		if strings.Contains(trouble, "CANARY") {
			t.Fatalf("the server's own words: %s", trouble)
		}
		return strings.Contains(trouble, "agent.v1.Agent/ListAgents") && strings.Contains(trouble, "admin: true")
	})
	sourcetest.Eventually(t, "what may be read is told", func() bool { return len(observedOf(broker, "ListEntries")) == 1 })
}

func TestServerThatIsAwayIsNamed(t *testing.T) {
	dir := t.TempDir()
	broker := &sourcetest.Broker{}
	run(t, broker, dir, Config{File: filepath.Join(dir, "server.log"), Heartbeat: 10 * time.Millisecond,
		Inventory: &InventoryConfig{Address: "unix://" + filepath.Join(dir, "none"), Interval: time.Hour}})
	sourcetest.Eventually(t, "the heartbeat tells", func() bool {
		return strings.Contains(broker.Facts()["heartbeat/spire/default"].GetHeartbeat().GetTrouble(), "does not answer")
	})
}

func TestWhatWasToldIsNotToldAgain(t *testing.T) {
	i := newInventory(InventoryConfig{}, nil)
	for n, want := range []bool{true, false, true, false} {
		if got := i.news("entry/1", "state "+strings.Repeat("x", n/2)); got != want {
			t.Errorf("time %d: %t", n, got)
		}
	}
}
