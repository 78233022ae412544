package core

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const ownerless = `policy_id: ownerless
description: "Nobody answers."
metrics:
  - name: "unresolved_identity"
    source: "vault"
    threshold: "true"
    condition: "equals"
action:
  - severity: "high"
    channel: "c"
    remediation_hint: "Map it."
`

const twoTeams = `owners: [{id: payments}, {id: sre}]
systems: [{id: registry}]
agents:
  - {id: ingest, owner: payments, system: registry, match: [{spiffe_id: "spiffe://example.org/in"}]}
  - {id: keeper, owner: sre, protected: true, match: [{spiffe_id: "spiffe://example.org/keeper"}]}
  - {id: role, owner: sre, match: [{vault_role: {mount: approle, role: r}}]}
`

func known(t *testing.T, g *identity.Graph, w *world) *identity.Linker {
	t.Helper()
	w.core.opts.Identities = g
	l := identity.NewLinker(g, identity.Options{})
	l.ClaimCatalog(w.core.catalog, start)
	return l
}

func alias(l *identity.Linker, entity, name string, after time.Duration, kind pb.Event_Kind) {
	l.Event(&pb.Event{Kind: kind, Principal: "vault/default/entity/" + entity, Source: "vault", Instance: "default", RecordId: "login",
		OccurredAt: at(after), Labels: map[string]string{"mount_point": "auth/jwt/", "entity_alias": name}}, "")
}

func (w *world) held(name, entity string, labels map[string]string) {
	w.event(pb.Event_ISSUED, name, 0, func(ev *pb.Event) {
		ev.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(48 * time.Hour)}
		ev.Principal, ev.Labels = "vault/default/entity/"+entity, labels
	})
}

func (w *world) unresolved(name string, after time.Duration) float64 {
	values := w.core.Values(w.core.Entry(key(name)), start.Add(after).UnixNano())
	v, _ := values.Get(rego.UnresolvedIdentity)
	return v
}

func TestTheOwnerOfACredentialIsFoundThroughItsHoldersLinks(t *testing.T) {
	w := newWorld(t, ownerless, twoTeams)
	l := known(t, identity.New(), w)
	w.held("a", "e-1", nil)
	if got := w.settle(time.Minute); len(got) != 1 || len(got[0].Violations) != 1 {
		t.Fatalf("without links nobody answers, but %v", got)
	}
	w.core.Dirty()
	w.core.Pack(start.Add(time.Hour).UnixNano()) // a quiet credential hears of it all the same
	if len(w.core.cold) != 1 {
		t.Fatal("not packed")
	}
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	got := w.settle(2 * time.Hour)
	e := w.core.Entry(key("a"))
	if e.Match.Owner == nil || e.Match.Owner.ID != "payments" || e.Match.Agent.ID != "ingest" || e.Match.System.ID != "registry" {
		t.Fatalf("%+v", e.Match)
	}
	if !strings.Contains(e.Match.Evidence, "Vault keeps alias spiffe://example.org/in") || !strings.Contains(e.Match.Evidence, ".yaml:4") {
		t.Errorf("evidence %q", e.Match.Evidence)
	}
	if e.Identity != "catalog/default/agent/ingest" || w.unresolved("a", 2*time.Hour) != 0 {
		t.Errorf("identity %q", e.Identity)
	}
	if len(got) != 1 || len(got[0].Violations) != 0 || got[0].Subject.Owner.Id != "payments" {
		t.Errorf("the violation is not taken back: %v", got)
	}
	if len(w.core.Dirty()) != 1 {
		t.Error("the row with the owner is not written")
	}
	alias(l, "e-1", "spiffe://example.org/in", time.Hour, pb.Event_REVOKED)
	if got := w.settle(10 * time.Hour); len(got) != 1 || len(got[0].Violations) != 1 || w.unresolved("a", 10*time.Hour) != 1 {
		t.Errorf("the alias is gone, the owner is not: %v", got)
	}
}

func TestCatalogEntryAndLinksThatDisagreeLeaveNobody(t *testing.T) {
	w := newWorld(t, ownerless, twoTeams)
	l := known(t, identity.New(), w)
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	w.held("a", "e-1", map[string]string{"mount_point": "auth/approle/", "role_name": "r"})
	w.settle(time.Minute)
	m := w.core.Entry(key("a")).Match
	if m.Owner != nil || !strings.Contains(m.Conflict, "two owners: sre") || !strings.Contains(m.Conflict, "payments") || w.unresolved("a", time.Minute) != 1 {
		t.Errorf("%+v", m)
	}
}

func TestAnIdentityThatIsTwoAgentsIsProtectedIfOneIs(t *testing.T) {
	w := newWorld(t, ownerless, twoTeams)
	l := known(t, identity.New(), w)
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	alias(l, "e-1", "spiffe://example.org/keeper", 0, pb.Event_ISSUED)
	w.held("a", "e-1", nil)
	w.settle(time.Minute)
	m := w.core.Entry(key("a")).Match
	if m.Owner != nil || !strings.Contains(m.Conflict, "two owners") || !m.Protected {
		t.Errorf("%+v", m)
	}
}

func TestAQuietCredentialsRowHearsOfItsOwner(t *testing.T) {
	w := newWorld(t, agePolicy, twoTeams)
	l := known(t, identity.New(), w)
	w.held("a", "e-1", nil)
	w.held("b", "e-2", nil)
	w.settle(time.Minute)
	w.core.Dirty()
	w.core.Pack(start.Add(20 * time.Minute).UnixNano())
	if len(w.core.cold) != 2 {
		t.Fatal("not packed")
	}
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	w.settle(21 * time.Minute) // nothing is due: only the identity has changed
	dirty := w.core.Dirty()
	if len(dirty) != 1 || dirty[0].Key != key("a") || dirty[0].Match.Owner == nil || dirty[0].Match.Owner.ID != "payments" {
		t.Fatalf("rows to write: %v", dirty)
	}
	if len(w.core.cold) != 1 {
		t.Error("a credential of another identity was unpacked")
	}
}

func TestWhenTheHolderIsAnotherItsLinksCount(t *testing.T) {
	w := newWorld(t, ownerless, twoTeams)
	l := known(t, identity.New(), w)
	alias(l, "e-2", "spiffe://example.org/keeper", 0, pb.Event_ISSUED)
	w.held("a", "e-2", nil)
	w.settle(time.Minute)
	if e := w.core.Entry(key("a")); e.Match.Owner == nil || e.Match.Owner.ID != "sre" {
		t.Fatalf("%+v", e.Match)
	}
	alias(l, "e-3", "spiffe://example.org/other", 0, pb.Event_ISSUED) // another revision: the entries are looked at
	w.settle(2 * time.Minute)
	w.held("a", "e-1", nil) // of two holders the smaller
	w.settle(3 * time.Minute)
	if e := w.core.Entry(key("a")); e.Match.Owner != nil {
		t.Fatalf("e-1 has no owner, but %+v", e.Match)
	}
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	w.settle(4 * time.Minute)
	if e := w.core.Entry(key("a")); e.Match.Owner == nil || e.Match.Owner.ID != "payments" {
		t.Errorf("the links of its holder changed, but %+v", e.Match)
	}
}

func TestALinkOfTheCredentialItselfIsFollowed(t *testing.T) {
	w := newWorld(t, ownerless, twoTeams)
	l := known(t, identity.New(), w)
	w.event(pb.Event_ISSUED, "a", 0, nil) // nobody is told as its holder
	w.settle(time.Minute)
	alias(l, "e-1", "spiffe://example.org/in", 0, pb.Event_ISSUED)
	w.settle(2 * time.Minute)
	l.Graph().Put(&pb.Link{Kind: pb.Link_ISSUED_TO, From: key("a"), To: "vault/default/entity/e-1", Confidence: pb.Link_PROVEN, At: at(0), Evidence: "said"})
	w.settle(3 * time.Minute)
	if e := w.core.Entry(key("a")); e.Match.Owner == nil || e.Match.Owner.ID != "payments" {
		t.Errorf("%+v", e.Match)
	}
}
