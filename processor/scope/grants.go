package scope

import (
	"strings"
	"sync"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Grants knows what the policies of all issuers permit, and keeps one Scope a set of policies. It is safe for
// concurrent use: one goroutine puts, the partitions' workers ask.
type Grants struct {
	mu     sync.RWMutex
	grants map[string]*pb.Grant // by id; guarded by mu
	scopes map[string]*Scope    // by issuer and policy names; guarded by mu; emptied when a grant changes
	rev    uint64               // guarded by mu; counts changes
}

// NewGrants gives an empty registry: every scope is unknown.
func NewGrants() *Grants {
	return &Grants{grants: map[string]*pb.Grant{}, scopes: map[string]*Scope{}}
}

// Put takes a grant; the newest word of an issuer wins. It reports whether anything changed.
func (g *Grants) Put(grant *pb.Grant) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.grants[grant.Id]
	if old != nil && old.AsOf.AsTime().After(grant.AsOf.AsTime()) {
		return false
	}
	g.grants[grant.Id] = grant
	if old != nil && same(old, grant) {
		return false
	}
	clear(g.scopes)
	g.rev++
	return true
}

func same(a, b *pb.Grant) bool {
	if a.Deleted != b.Deleted || a.Incomplete != b.Incomplete || len(a.Rules) != len(b.Rules) {
		return false
	}
	for i := range a.Rules {
		if a.Rules[i].Resource != b.Rules[i].Resource ||
			strings.Join(a.Rules[i].Capabilities, ",") != strings.Join(b.Rules[i].Capabilities, ",") {
			return false
		}
	}
	return true
}

// Revision counts the changes so far: whoever keeps a Scope asks again when it moved.
func (g *Grants) Revision() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.rev
}

// Scope of a set of policies (sorted names) of one issuer.
func (g *Grants) Scope(system, instance string, policies []string) *Scope {
	key := system + "/" + instance + "/policy/"
	id := key + strings.Join(policies, "\x00")
	g.mu.RLock()
	s := g.scopes[id]
	g.mu.RUnlock()
	if s != nil {
		return s
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s = Of(policies, func(name string) *pb.Grant { return g.grants[key+name] })
	g.scopes[id] = s
	return s
}
