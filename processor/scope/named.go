package scope

import (
	"slices"
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Named gives what was told under one id, or nil. It must not be changed.
func (g *Grants) Named(id string) *pb.Grant {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.grants[id]
}

// Told lists what was told of one kind of one system (such as vault and role) and is not deleted, by id. None of it may be
// changed.
func (g *Grants) Told(system, kind string) (out []*pb.Grant) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for id, grant := range g.grants {
		rest, ok := strings.CutPrefix(id, system+"/")
		_, rest, _ = strings.Cut(rest, "/")
		if ok && strings.HasPrefix(rest, kind+"/") && !grant.Deleted {
			out = append(out, grant)
		}
	}
	slices.SortFunc(out, func(a, b *pb.Grant) int { return strings.Compare(a.Id, b.Id) })
	return out
}
