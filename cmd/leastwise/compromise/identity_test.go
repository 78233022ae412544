package compromise

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/narrower"
	"github.com/leastwise/leastwise/cmd/leastwise/sitetest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const agents = `owners: [{id: platform, name: Platform}]
agents:
  - {id: shipper, owner: platform, match: [{aws_role: "arn:aws:iam::123456789012:role/ship"}, {vault_role: {mount: auth/approle/, role: ship}}]}
  - {id: other, owner: platform, match: [{vault_role: {mount: auth/approle/, role: other}}]}
sensitive: [{id: prod, name: "Production secrets", system: vault, resource: "secret/data/prod/*", permissions: read}]
`

// withAgents adds to the site what two agents of the catalog hold: an AWS session whose holder the links name otherwise
// than its issuer does, and tokens that the catalog recognises by their role alone.
func withAgents(t *testing.T, db *store.DB) *catalog.Catalog {
	t.Helper()
	file := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(file, []byte(agents), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	c := core.New(core.Options{Grants: scope.NewGrants()})
	c.Catalog(cat)
	const role = "cloudtrail/default/principal/arn:aws:iam::123456789012:role/ship"
	held := func(credential, principal, role string, hours int) {
		c.Apply(&pb.Event{Kind: pb.Event_ISSUED, Credential: credential, Principal: principal, OccurredAt: timestamppb.New(sitetest.Start),
			ObservedAt: timestamppb.New(sitetest.Start), Policies: []string{"build"}, Labels: map[string]string{"role_name": role, "mount_point": "auth/approle/"},
			Lifetime: &pb.Lifetime{IssuedAt: timestamppb.New(sitetest.Start), ExpiresAt: timestamppb.New(time.Now().Add(time.Duration(hours) * time.Hour))}}, 1, true)
	}
	held("cloudtrail/default/session/ASIALIVE", role, "", 5)
	held("cloudtrail/default/session/ASIAOVER", role, "", -5)
	held("vault/default/token/ship", "vault/default/entity/e1", "ship", 4)
	held("vault/default/token/other", "vault/default/entity/e2", "other", 4)
	now := sitetest.Start.Add(time.Hour)
	if err := c.Settle(t.Context(), now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	if err := record.Credentials(t.Context(), db, 0, c.Dirty(), now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	graph := identity.New()
	link := &pb.Link{Kind: pb.Link_SAME_AS, From: identity.AgentNode("shipper"), To: identity.Node(role), Confidence: pb.Link_ASSERTED, At: timestamppb.New(sitetest.Start)}
	owned := &pb.Link{Kind: pb.Link_OWNED_BY, From: identity.AgentNode("shipper"), To: identity.OwnerNode("platform"), Confidence: pb.Link_ASSERTED, At: timestamppb.New(sitetest.Start)}
	var facts record.Facts
	for _, l := range []*pb.Link{link, owned} {
		l.Id = identity.ID(l)
		graph.Put(l)
		facts.Add(&pb.Fact{Fact: &pb.Fact_Link{Link: l}})
	}
	if err := facts.Flush(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	var ledger identity.Ledger
	rows, findings := ledger.Changes(graph)
	if err := record.Identities(t.Context(), db, rows, findings, now); err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestAnAgentOfTheCatalogIsAnsweredForEachLiveCredentialThatItHolds(t *testing.T) {
	db, _ := sitetest.Vault(t)
	cat := withAgents(t, db)
	r, _ := ask(t, db, cat, "agent/shipper", "")
	var keys []string
	for _, leak := range r.Leaks {
		keys = append(keys, leak.Credential)
	}
	if want := []string{"cloudtrail/default/session/ASIALIVE", "vault/default/token/ship"}; !slices.Equal(keys, want) {
		t.Fatalf("answered for %q, want %q", keys, want)
	}
	if r.Name != identity.AgentNode("shipper") || r.Leaks[1].Before.Count()["sensitive"] != 1 {
		t.Errorf("%s: %+v", r.Name, r.Leaks[1].Before)
	}
	size, err := narrower.Ask(t.Context(), db, cat, narrower.Question{Name: "agent/shipper", Days: 30, Replay: 30, Now: sitetest.Start.Add(time.Hour)})
	if err != nil || len(size.Credentials) != 3 { // the one that is over justified scope, too
		t.Errorf("right-sizing looks at %+v, %v", size, err)
	}
}
