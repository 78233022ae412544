package identity

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Kinds of findings.
const (
	// NoOwner: nobody answers for the identity.
	NoOwner = "no_owner"
	// TwoOwners: links lead to more than one owner.
	TwoOwners = "two_owners"
	// TwoSystems: links lead to more than one system of record.
	TwoSystems = "two_systems_of_record"
	// TwoAgents: two agents of the catalog are held to be one identity, because they share a name.
	TwoAgents = "one_label_two_agents"
	// SharedCredential: one credential was used by two identities.
	SharedCredential = "one_credential_two_identities"
	// SharedLabel: one agent id is claimed with the credentials of two identities.
	SharedLabel = "one_label_two_identities"
)

// Finding is a fault of the data about an identity or a credential.
type Finding struct {
	Kind string
	// Subject is the component, the credential or the label.
	Subject string
	// Sides are what contradicts itself, sorted by claim; none for NoOwner.
	Sides []Side
}

// Side is one claim with the chain of links that leads to it.
type Side struct {
	Claim string
	Chain []Step
}

// String tells the finding in one sentence.
func (f Finding) String() string {
	claims := make([]string, len(f.Sides))
	for i, side := range f.Sides {
		claims[i] = side.Claim
		if len(side.Chain) > 0 {
			claims[i] += " (" + side.Chain[len(side.Chain)-1].Evidence + ")"
		}
	}
	all := strings.Join(claims, " and ")
	switch f.Kind {
	case NoOwner:
		return "nobody answers for " + f.Subject + ": no catalog entry leads to an owner"
	case TwoOwners:
		return f.Subject + " has two owners: " + all
	case TwoSystems:
		return f.Subject + " is recorded in two systems: " + all
	case TwoAgents:
		return f.Subject + " is one name for two agents: " + all
	case SharedCredential:
		return "credential " + f.Subject + " is used by two identities: " + all
	case SharedLabel:
		return "agent id " + f.Subject + " is claimed by two identities: " + all
	}
	return fmt.Sprintf("%s: %s: %s", f.Kind, f.Subject, all)
}

// findings about a component, with chains that begin at one of its nodes.
func (v view) findings(from uint32, s *summary) []Finding {
	subject := v.g.names[s.low]
	var out []Finding
	if len(s.owners) == 0 && !s.nobody {
		out = append(out, Finding{Kind: NoOwner, Subject: subject})
	}
	for _, many := range []struct {
		kind string
		of   []uint32
	}{{TwoOwners, s.owners}, {TwoSystems, s.systems}, {TwoAgents, s.agents}} {
		if len(many.of) < 2 {
			continue
		}
		f := Finding{Kind: many.kind, Subject: subject}
		for _, id := range many.of {
			f.Sides = append(f.Sides, Side{v.g.names[id], v.chain(from, id)})
		}
		out = append(out, f)
	}
	return out
}

// shared is whether the holders of a credential are more than one identity: those that issuers name, or one that an
// agent's own log names although the catalog knows it as another.
func (v view) shared(credential, holder uint32) []Finding {
	sides := map[uint32]Side{} // by component
	own := v.summary(holder, v.g.summaries)
	sides[own.low] = Side{Claim: v.g.names[holder]}
	add := func(e *edge) {
		s := v.summary(e.to, v.g.summaries)
		old, seen := sides[s.low]
		if name := v.g.names[e.to]; !seen || len(old.Chain) == 0 && old.Claim == name || len(old.Chain) > 0 && name < old.Claim {
			sides[s.low] = Side{name, []Step{v.step(e, credential)}}
		}
	}
	v.each(credential, func(e *edge) {
		if e.kind != uint8(pb.Link_ISSUED_TO) || e.from != credential {
			return
		}
		if e.confidence == uint8(pb.Link_INFERRED) {
			if s := v.summary(e.to, v.g.summaries); len(s.agents) == 0 || len(own.agents) == 0 {
				return // an id that nobody has mapped contradicts nothing
			}
		}
		add(e)
	})
	if len(sides) < 2 {
		return nil
	}
	f := Finding{Kind: SharedCredential, Subject: v.g.names[credential]}
	for _, side := range sides {
		f.Sides = append(f.Sides, side)
	}
	slices.SortFunc(f.Sides, func(a, b Side) int { return strings.Compare(a.Claim, b.Claim) })
	return []Finding{f}
}

// sharedLabel is whether an agent id is claimed with the credentials of two identities that are not one.
func (v view) sharedLabel(label uint32) []Finding {
	sides := map[uint32]Side{}
	v.each(label, func(e *edge) {
		if e.kind != uint8(pb.Link_SAME_AS) {
			return
		}
		other := e.other(label)
		s := v.summary(other, v.g.summaries)
		if old, seen := sides[s.low]; !seen || v.g.names[other] < old.Claim {
			sides[s.low] = Side{v.g.names[other], []Step{v.step(e, label)}}
		}
	})
	if len(sides) < 2 {
		return nil
	}
	f := Finding{Kind: SharedLabel, Subject: v.g.names[label]}
	for _, side := range sides {
		f.Sides = append(f.Sides, side)
	}
	slices.SortFunc(f.Sides, func(a, b Side) int { return strings.Compare(a.Claim, b.Claim) })
	return []Finding{f}
}

// Findings lists what is wrong as of a moment (0: now), sorted by kind and subject.
func (g *Graph) Findings(asOf int64) []Finding {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := view{g, asOf}
	done := make(map[uint32]bool, len(g.names))
	var out []Finding
	for id := range g.names {
		id := uint32(id)
		if v.at == 0 && g.nodes[id].parent != id {
			continue // told by its root
		}
		s := v.summary(id, nil)
		if !done[s.low] {
			done[s.low] = true
			out = append(out, v.findings(s.low, s)...)
		}
	}
	for id, name := range g.names {
		out = append(out, v.ofNode(uint32(id), name)...)
	}
	slices.SortFunc(out, func(a, b Finding) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Subject, b.Subject)
	})
	return out
}

// ofNode are the findings about a credential or a label.
func (v view) ofNode(id uint32, name string) []Finding {
	if isAgentID(name) {
		return v.sharedLabel(id)
	}
	if holder, ok := v.firstHolder(id); ok {
		return v.shared(id, holder)
	}
	return nil
}
