package identity

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestAnyOrderAndPartitioningTellsTheSame(t *testing.T) {
	cat := loadCatalog(t, fleetCatalog)
	events := history()
	reference := newSite(1, cat)
	for _, ev := range events {
		reference.event(ev)
	}
	want := told(reference.linkers[0].Graph())
	for _, must := range []string{TwoOwners + " ", TwoSystems + " ", TwoAgents + " ", SharedCredential + " " + stolen,
		SharedLabel + " agent/global/agent/" + uuid, NoOwner + " aws/1/user/arn:aws:iam::1:user/alice"} {
		if !strings.Contains(want, must) {
			t.Fatalf("the history does not show %s:\n%s", must, want)
		}
	}
	rng := rand.New(rand.NewPCG(3, 5))
	for round := range 200 {
		s := newSite(1+rng.IntN(4), cat)
		order := slices.Concat(events, events[:rng.IntN(len(events))]) // some come again
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, ev := range order {
			s.event(ev)
			p := rng.IntN(len(s.linkers))
			s.follow(p, s.read[p]+rng.IntN(5))
		}
		s.settle()
		for p, l := range s.linkers {
			if got := told(l.Graph()); got != want {
				t.Fatalf("round %d, processor %d of %d tells\n%s\nwant\n%s", round, p, len(s.linkers), got, want)
			}
		}
		again := New() // a processor that starts now, and reads the topic in its order
		for _, l := range s.topic {
			again.Put(l)
		}
		if got := told(again); got != want {
			t.Fatalf("round %d: the topic alone tells\n%s\nwant\n%s", round, got, want)
		}
	}
}

func fleetSite(t *testing.T) *site {
	s := newSite(2, loadCatalog(t, fleetCatalog))
	for _, ev := range history() {
		s.event(ev)
	}
	s.settle()
	return s
}

func TestOneAgentSeenByFourIssuersAndItsOwnLogIsOneIdentityWithOneOwner(t *testing.T) {
	g := fleetSite(t).linkers[0].Graph()
	for name, q := range map[string]Query{
		"Vault token": {Credential: token, Principal: entity},
		"AWS session": {Credential: session, Principal: "cloudtrail/default/role/arn:aws:iam::1:role/ingest", Labels: map[string]string{
			"web_identity_provider": "arn:aws:iam::1:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/AB", "web_identity_subject": "system:serviceaccount:pay:in"}},
		"SVID":       {Credential: svid, Principal: "spire/default/spiffe/" + spiffeID},
		"JWT":        {Credential: jti, Principal: "jwtregistry/default/subject/https://idp|svc-ingest"},
		"its own id": {Principal: "agentusage/default/agent/" + uuid},
	} {
		r := g.Resolve(q)
		if r.Component != "agent/global/agent/"+uuid || !slices.Equal(r.Owners, []string{OwnerNode("payments")}) ||
			!slices.Equal(r.Systems, []string{SystemNode("registry")}) || !slices.Equal(r.Agents, []string{AgentNode("ingest")}) {
			t.Errorf("%s is of %s, owners %v, systems %v, agents %v", name, r.Component, r.Owners, r.Systems, r.Agents)
		}
		if len(r.Findings) != 0 || r.Conflict() != "" {
			t.Errorf("%s: %v", name, r.Findings)
		}
		chain := g.Chain(r.Holder, r.Owners[0], 0)
		if len(chain) < 2 || chain[0].From != r.Holder || chain[len(chain)-1].Kind != pb.Link_OWNED_BY {
			t.Errorf("%s: chain %v", name, chain)
		}
		for i, step := range chain {
			if step.Evidence == "" || step.Confidence < pb.Link_ASSERTED || i > 0 && chain[i-1].To != step.From {
				t.Errorf("%s: step %d of the chain: %v", name, i, step)
			}
		}
	}
}

func TestConflictsShowTheEvidenceOfBothSides(t *testing.T) {
	g := fleetSite(t).linkers[1].Graph()
	r := g.Resolve(Query{Credential: "vault/default/token/both", Principal: "vault/default/entity/e-both"})
	if !strings.Contains(r.Conflict(), "two owners") {
		t.Errorf("conflict %q", r.Conflict())
	}
	r = g.Resolve(Query{Credential: stolen, Principal: "cloudtrail/default/user/arn:aws:iam::1:user/alice"})
	if !strings.Contains(r.Conflict(), "is used by two identities") {
		t.Errorf("conflict %q", r.Conflict())
	}
	r = g.Resolve(Query{Credential: backup, Principal: "vault/default/entity/e-backup"})
	if !strings.Contains(r.Conflict(), "is used by two identities") || len(r.Owners) != 1 || r.Owners[0] != OwnerNode("sre") {
		t.Errorf("an agent that says it is another: conflict %q, owners %v", r.Conflict(), r.Owners)
	}
	for _, f := range g.Findings(0) {
		if f.Kind == NoOwner {
			continue
		}
		if len(f.Sides) != 2 {
			t.Errorf("%s has %d sides", f, len(f.Sides))
		}
		explained := 0
		for _, side := range f.Sides {
			if len(side.Chain) > 0 && side.Chain[0].Evidence != "" || side.Claim == f.Subject {
				explained++
			}
		}
		if explained == 0 || f.Kind != TwoAgents && f.Kind != SharedCredential && explained != 2 {
			t.Errorf("%s: only %d of its sides have evidence", f, explained)
		}
	}
}

func TestAnAgentsClaimNeverMovesAnotherIdentity(t *testing.T) {
	g := fleetSite(t).linkers[0].Graph()
	if slices.Contains(g.Names(entity, 0), "vault/default/entity/e-backup") {
		t.Error("an agent took another's identity by logging its id")
	}
	if r := g.Resolve(Query{Credential: token, Principal: entity}); r.Conflict() != "" {
		t.Errorf("the agent whose id was claimed suffers: %s", r.Conflict())
	}
}

func TestACatalogEditSplitsAndMovesOwners(t *testing.T) {
	s := fleetSite(t)
	g := s.linkers[0].Graph()
	edited := strings.NewReplacer("vault_entity: e-both", "vault_entity: e-nobody", "owner: payments\n    system: registry", "owner: sre\n    system: registry").Replace(fleetCatalog)
	later := start.Add(100 * time.Hour)
	for p, l := range s.linkers {
		l.ClaimCatalog(loadCatalog(t, edited), later)
		s.publish(p)
	}
	s.settle()
	r := g.Resolve(Query{Principal: "vault/default/entity/e-both"})
	if r.Conflict() != "" || !slices.Equal(r.Owners, []string{OwnerNode("payments")}) {
		t.Errorf("after the edit: %v, conflict %q", r.Owners, r.Conflict())
	}
	if r := g.Resolve(Query{Principal: entity}); !slices.Equal(r.Owners, []string{OwnerNode("sre")}) {
		t.Errorf("the new owner is not known: %v", r.Owners)
	}
	if r := g.Resolve(Query{Principal: entity, AsOf: later.Add(-time.Hour).UnixNano()}); !slices.Equal(r.Owners, []string{OwnerNode("payments")}) {
		t.Errorf("the owner of then is not known: %v", r.Owners)
	}
	for p, l := range s.linkers { // and without any catalog
		l.ClaimCatalog(nil, later.Add(time.Hour))
		s.publish(p)
	}
	s.settle()
	for p, l := range s.linkers {
		if r := l.Graph().Resolve(Query{Principal: entity}); len(r.Owners) != 0 || len(r.Agents) != 0 {
			t.Errorf("processor %d: no catalog, but owners %v, agents %v", p, r.Owners, r.Agents)
		}
	}
}

func TestClaimingTheSameCatalogAgainTellsNothing(t *testing.T) {
	s := fleetSite(t)
	s.linkers[0].ClaimCatalog(loadCatalog(t, fleetCatalog), start.Add(72*time.Hour))
	for _, said := range s.linkers[0].News() {
		t.Errorf("%v", said.Link)
	}
}

func TestTheLedgerTellsChangesOnly(t *testing.T) {
	s := fleetSite(t)
	g := s.linkers[0].Graph()
	var l Ledger
	l.Stood([]string{"two_owners nobody/any/more/x"})
	rows, findings := l.Changes(g)
	nodes, _ := g.Len()
	if len(rows) != nodes {
		t.Errorf("%d rows of %d nodes", len(rows), nodes)
	}
	standing, ended := 0, 0
	for _, f := range findings {
		if f.Standing {
			standing++
		} else {
			ended++
		}
	}
	status, conflicts := l.Totals()
	if standing < 5 || ended != 1 || conflicts[TwoOwners] != 1 || status[Conflict] != 1 || status[Owned] < 2 {
		t.Errorf("%d stand, %d ended; %v %v", standing, ended, status, conflicts)
	}
	if rows, findings := l.Changes(g); len(rows)+len(findings) != 0 {
		t.Errorf("nothing changed, but %v %v", rows, findings)
	}
	g.Put(same("x", "y", 0))
	if rows, _ := l.Changes(g); len(rows) != 2 {
		t.Errorf("%v", rows)
	}
}

func TestWhoIsReadable(t *testing.T) {
	g := fleetSite(t).linkers[0].Graph()
	var out bytes.Buffer
	err := g.Describe(&out, Subject{Query: Query{Credential: backup, Principal: "vault/default/entity/e-backup"}, Issued: "vault default record 6"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"owner             sre", "system of record  cmdb", "issued to         vault/default/entity/e-backup",
		"EVIDENCE for sre", "catalog.yaml:", "proven", "asserted", "ALSO SAID", "inferred", "is used by two identities", "vault default record 6"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	t.Log("\n" + out.String())
}

func TestALinkThatWasTakenBackIsHeldAgainOnceAnEventSaysSo(t *testing.T) {
	l := NewLinker(New(), Options{})
	login := func(minutes int) *pb.Event {
		ev := vaultLogin("approle", "auth/approle/", "role_name", "r")
		ev.OccurredAt = moment(minutes)
		return ev
	}
	l.Event(login(1), "")
	link := proto.Clone(l.News()[0].Link).(*pb.Link)
	l.Graph().Put(gone(link, 10))
	l.Event(login(9), "") // read late
	if got := l.Graph().Names(entity, 0); len(got) != 1 {
		t.Fatalf("an older record undid the retraction: %v", got)
	}
	l.Event(login(20), "")
	if got := l.Graph().Names(entity, 0); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	if news := l.News(); len(news) != 1 || news[0].Key == ID(link) {
		t.Errorf("told %v", news)
	}
}

func TestAClaimIsSetBesideEveryHolderOfTheCredential(t *testing.T) {
	l := NewLinker(New(), Options{})
	first, second := "cloudtrail/default/principal/arn:aws:iam::1:user/a", "cloudtrail/default/principal/arn:aws:iam::1:user/b"
	l.Event(event("cloudtrail", pb.Event_USED, stolen, first), "")
	l.Event(event("cloudtrail", pb.Event_USED, stolen, second), first)
	l.Event(event("agentusage", pb.Event_NOTED, stolen, "", "agent_id", uuid), first)
	for _, holder := range []string{first, second} {
		links := l.Graph().Links(holder, 0)
		if !slices.ContainsFunc(links, func(s Step) bool { return isAgentID(s.To) && s.Confidence == pb.Link_INFERRED }) {
			t.Errorf("%s: %v", holder, links)
		}
	}
}
