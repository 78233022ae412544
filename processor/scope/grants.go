package scope

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Grants knows what the policies of all issuers permit and what the principals of clouds are granted through, and keeps
// one Scope a set of policies. What it says does not depend on the order in which grants came. It is safe for concurrent
// use: one goroutine puts, the partitions' workers ask.
type Grants struct {
	mu         sync.RWMutex
	grants     map[string]*pb.Grant   // by id; guarded by mu
	principals map[string][]*pb.Grant // by holder, sorted by id; guarded by mu
	bindings   map[string][]*pb.Grant // by holder, sorted by id; guarded by mu
	scopes     map[string]*Scope      // by what they are made of; guarded by mu; emptied when a grant changes
	rev        uint64                 // guarded by mu; counts changes
}

// NewGrants gives an empty registry: every scope is unknown.
func NewGrants() *Grants {
	return &Grants{grants: map[string]*pb.Grant{}, principals: map[string][]*pb.Grant{}, bindings: map[string][]*pb.Grant{},
		scopes: map[string]*Scope{}}
}

// Put takes a grant; the newest word of an issuer wins, and of two of the same time always the same one. It reports
// whether anything changed.
func (g *Grants) Put(grant *pb.Grant) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.grants[grant.Id]
	if old != nil {
		order := grant.AsOf.AsTime().Compare(old.AsOf.AsTime())
		if order < 0 || order == 0 && bytes.Compare(content(grant), content(old)) <= 0 {
			return false
		}
	}
	g.grants[grant.Id] = grant
	dated := g.place(grant)
	if old != nil && !dated && bytes.Equal(content(old), content(grant)) {
		return false
	}
	clear(g.scopes)
	g.rev++
	return true
}

// content of a grant, but for when it was so.
func content(grant *pb.Grant) []byte {
	undated := &pb.Grant{Id: grant.Id, Rules: grant.Rules, Deleted: grant.Deleted, Incomplete: grant.Incomplete,
		Attached: grant.Attached, Boundary: grant.Boundary, Principal: grant.Principal}
	out, _ := undated.MarshalVT() // fails for no message of ours
	return out
}

// place puts a principal's or a binding's grant where its credentials look for it. It reports whether its time counts,
// too: a binding is in force if it is newer than the word on its principal.
func (g *Grants) place(grant *pb.Grant) (dated bool) {
	key, err := schemas.ParseKey(grant.Id)
	if err != nil {
		return false
	}
	switch key.Type {
	case "principal":
		at := holder(key.System, key.Instance, key.ID)
		g.principals[at] = with(g.principals[at], grant)
		return len(g.bindings[at]) > 0
	case "binding":
		at := holder(key.System, key.Instance, grant.Principal)
		g.bindings[at] = with(g.bindings[at], grant)
		return true
	}
	return false
}

// with a grant in place of the one of its id, sorted by id.
func with(all []*pb.Grant, grant *pb.Grant) []*pb.Grant {
	at, there := slices.BinarySearchFunc(all, grant.Id, func(g *pb.Grant, id string) int { return strings.Compare(g.Id, id) })
	if there {
		all[at] = grant
		return all
	}
	return slices.Insert(all, at, grant)
}

func holder(system, instance, principal string) string {
	return system + "/" + instance + "/" + canonical(system, principal)
}

// principal's grant, or nil. Of several of one name, made one after another under different paths, it is the one that is
// not deleted, or the newest. mu is held.
func (g *Grants) principal(system, instance, principal string) (best *pb.Grant) {
	for _, grant := range g.principals[holder(system, instance, principal)] {
		switch {
		case best == nil || best.Deleted && !grant.Deleted:
			best = grant
		case best.Deleted == grant.Deleted && grant.AsOf.AsTime().After(best.AsOf.AsTime()):
			best = grant
		}
	}
	return best
}

// attached gives what a GCP principal is granted through now, and the deny rules upon it: the last inventory, and the
// bindings that came and went since. mu is held.
func (g *Grants) attached(principal *pb.Grant, instance, name string) (attached []*pb.Attachment, denies []*pb.Rule) {
	if principal != nil && !principal.Deleted {
		attached, denies = slices.Clone(principal.Attached), principal.Rules
	}
	changes := slices.Clone(g.bindings[holder(google, instance, name)])
	slices.SortStableFunc(changes, func(a, b *pb.Grant) int { return a.AsOf.AsTime().Compare(b.AsOf.AsTime()) })
	for _, binding := range changes {
		if principal != nil && !binding.AsOf.AsTime().After(principal.AsOf.AsTime()) {
			continue
		}
		for _, one := range binding.Attached {
			attached = slices.DeleteFunc(attached, func(a *pb.Attachment) bool {
				return a.Grant == one.Grant && a.Resource == one.Resource && a.Conditional == one.Conditional
			})
			if !binding.Deleted {
				attached = append(attached, one)
			}
		}
	}
	return attached, denies
}

// Revision counts the changes so far: whoever keeps a Scope asks again when it moved.
func (g *Grants) Revision() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.rev
}

// Query asks for the scope of a credential.
type Query struct {
	// Credential is its key. With an empty ID the question is about the Principal itself.
	Credential schemas.Key
	// Principal is the key of the identity that holds it. Empty if no record told.
	Principal string
	// Policies are the sorted names of policies that its own records tell. AWS: of a session, those it was cut down to.
	Policies []string
	// Labels as its own records tell them. AWS: session_policy says that a session was cut down by any.
	Labels map[string]string
}

// principal is its name in its cloud.
func (q Query) principal() string {
	key, err := schemas.ParseKey(q.Principal)
	if err != nil {
		return ""
	}
	return key.ID
}

func (q Query) named() string {
	if name := q.principal(); name != "" {
		return name
	}
	return "its principal, which no record tells"
}

// temporary tells credentials of AWS that were made with others, by the prefix of their ids
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids).
func (q Query) temporary() bool {
	return strings.HasPrefix(q.Credential.ID, "ASIA")
}

// cut tells that a session was cut down by a policy that no record tells: one written out in the request.
func (q Query) cut() bool {
	said := q.Labels["session_policy"]
	return q.temporary() && (said == "inline" || said != "" && len(q.Policies) == 0)
}

// Credential gives the scope of a credential.
func (g *Grants) Credential(q Query) *Scope {
	key := q.Credential
	c := cloudScope{grants: g, query: q}
	switch key.System {
	case aws:
		return g.kept(g.awsID(q), c.aws)
	case google:
		return g.kept(key.System+"/"+key.Instance+"/\x00"+q.principal()+"\x00"+strings.Join(q.Policies, "\x00"), c.google)
	}
	return g.Scope(key.System, key.Instance, q.Policies)
}

// awsID names what a scope is made of. Principals with the same policies share one.
func (g *Grants) awsID(q Query) string {
	var b strings.Builder
	b.WriteString(q.Credential.System + "/" + q.Credential.Instance + "/")
	g.mu.RLock()
	defer g.mu.RUnlock()
	principal := g.principal(aws, q.Credential.Instance, q.principal())
	if principal == nil || isRoot(q.principal()) {
		b.WriteString("\x00" + q.principal())
	} else {
		for _, a := range principal.Attached {
			b.WriteString("\x00" + a.Grant)
		}
		b.WriteString("\x00boundary")
		for _, id := range principal.Boundary {
			b.WriteString("\x00" + id)
		}
		if principal.Deleted {
			b.WriteString("\x00deleted")
		}
		b.WriteString("\x00" + principal.Incomplete)
	}
	if q.temporary() {
		b.WriteString("\x00session")
	}
	if q.cut() {
		b.WriteString("\x00cut")
	}
	if q.temporary() || principal == nil {
		for _, name := range q.Policies {
			b.WriteString("\x00" + name)
		}
	}
	return b.String()
}

// Scope of a set of policies (sorted names) of one issuer that knows no other grants, such as Vault.
func (g *Grants) Scope(system, instance string, policies []string) *Scope {
	key := system + "/" + instance + "/policy/"
	return g.kept(key+strings.Join(policies, "\x00"), func() *Scope {
		return Of(policies, func(name string) *pb.Grant { return g.grants[key+name] })
	})
}

// kept gives the scope of that name, made if it is not there. make is called with mu held.
func (g *Grants) kept(id string, make func() *Scope) *Scope {
	g.mu.RLock()
	s := g.scopes[id]
	g.mu.RUnlock()
	if s != nil {
		return s
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s = g.scopes[id]; s == nil {
		s = make()
		g.scopes[id] = s
	}
	return s
}
