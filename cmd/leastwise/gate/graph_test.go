package gate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestIdentityGraphShowsTheOwnerThatTheCatalogsEntriesDoNotName(t *testing.T) {
	graph := identity.New()
	put := func(kind pb.Link_Kind, from, to, evidence string) {
		graph.Put(&pb.Link{Kind: kind, From: from, To: to, Confidence: pb.Link_ASSERTED, At: timestamppb.New(now), Evidence: evidence})
	}
	account := func(name string) string {
		return "kubernetes/default/serviceaccount/system:serviceaccount:payments:" + name
	}
	put(pb.Link_SAME_AS, identity.AgentNode("backup"), account("ingest"), "Vault entity 17")
	put(pb.Link_SAME_AS, identity.AgentNode("mailer"), account("mailer"), "Vault entity 18")
	for agent, owner := range map[string]string{"backup": "sre", "mailer": "payments"} {
		put(pb.Link_OWNED_BY, identity.AgentNode(agent), identity.OwnerNode(owner), "entry of "+agent)
		put(pb.Link_RECORDED_IN, identity.AgentNode(agent), identity.SystemNode("registry"), "entry of "+agent)
	}
	g := New(Options{Catalog: gateOf(t, withoutMover(), Config{}, "").catalog,
		Graph: Graph{Read: func(context.Context) (*identity.Graph, error) { return graph, nil }}})
	report, err := check(t, g, deployment("payments", "mailer"))
	if err != nil || !report.Allowed || report.Workloads[0].Owner != "payments" {
		t.Errorf("known by the graph alone: %v %+v", err, report.Workloads[0])
	}
	report, err = check(t, g, deployment("payments", "ingest"))
	if err != nil || report.Allowed {
		t.Fatalf("two owners pass: %v", err)
	}
	text := report.Workloads[0].Problems[0].Text
	for _, want := range []string{"two owners", "owner payments by agent ingest", "catalog.yaml:12", "owner sre (identity graph: Vault entity 17; entry of backup)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\ndoes not say %s", text, want)
		}
	}
	away := New(Options{Catalog: g.catalog, Graph: Graph{Read: func(context.Context) (*identity.Graph, error) { return nil, errors.New("no broker") }}})
	if report, err = check(t, away, deployment("payments", "ingest")); err != nil || report.Allowed || report.Workloads[0].Problems[0].Code != "unreadable" {
		t.Errorf("%v %+v", err, report.Workloads[0].Problems)
	}
}

// Keys are the graph's own names: else an exception or a link would speak of somebody else.
func TestKeysAreNodesOfTheIdentityGraph(t *testing.T) {
	cfg := &Config{}
	for _, id := range []Identity{serviceAccount(cfg, "a", "b", origin{}), spiffeID("spiffe://example.org/a", origin{}),
		awsRole("arn:aws:iam::111122223333:role/a/b", origin{}), gcpServiceAccount("a@b.iam.gserviceaccount.com", origin{}),
		vaultRole(cfg, "kubernetes", "a", origin{}), agentID("a", origin{}), agentID("5F0C1F9E-6f0e-4b57-9b1e-0d8f5a3c2b11", origin{})} {
		if node := identity.Node(id.Key); node != id.Key || id.Invalid != "" {
			t.Errorf("%s %s: the graph calls it %s", id.Kind, id.Key, node)
		}
	}
}
