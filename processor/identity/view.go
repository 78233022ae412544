package identity

import (
	"slices"
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// view is the graph as of a moment: 0 is what is held now.
type view struct {
	g  *Graph
	at int64
}

func (v view) held(e *edge) bool {
	if v.at == 0 {
		return e.held
	}
	return e.times.at(v.at)
}

// members of a node's component, the node among them.
func (v view) members(id uint32) []uint32 {
	if v.at == 0 {
		return v.g.members(v.g.find(id))
	}
	seen := map[uint32]bool{id: true}
	out := []uint32{id}
	for i := 0; i < len(out); i++ {
		v.each(out[i], func(e *edge) {
			if other := e.other(out[i]); e.merges() && !seen[other] {
				seen[other] = true
				out = append(out, other)
			}
		})
	}
	return out
}

// each calls fn for the links of a node that are held.
func (v view) each(id uint32, fn func(*edge)) {
	for at := v.g.nodes[id].edges; at != none; {
		e := &v.g.edges[at]
		at = e.after(id)
		if v.held(e) {
			fn(e)
		}
	}
}

// linked is whether any link of a node is held.
func (v view) linked(id uint32) (any bool) {
	v.each(id, func(*edge) { any = true })
	return any
}

// summary is what a component's members are said to belong to. Ids are sorted by name.
type summary struct {
	low                     uint32
	size                    int
	agents, owners, systems []uint32
	// nobody: the component is no identity that somebody should own, but an owner, a system or a credential.
	nobody bool
}

// anyCluster begins the nodes where service accounts of one name are shown together.
const anyCluster = "kubernetes/" + anywhere + "/"

// summary of a node's component. The caller holds the lock; what is held now is remembered in keep, if that is given.
func (v view) summary(id uint32, keep map[uint32]*summary) *summary {
	root := id
	if v.at == 0 {
		root = v.g.find(id)
		if s := v.g.summaries[root]; s != nil {
			return s
		}
	}
	members := v.members(id)
	s := &summary{low: members[0], size: len(members), nobody: true}
	owners, systems := map[uint32]bool{}, map[uint32]bool{}
	for _, m := range members {
		if v.g.names[m] < v.g.names[s.low] {
			s.low = m
		}
		_, isAgent := catalogID(v.g.names[m], typeAgent)
		if isAgent = isAgent && v.linked(m); isAgent { // one that the catalog has given up is nobody's charge
			s.agents = append(s.agents, m)
		}
		belongs := isAgent || !strings.HasPrefix(v.g.names[m], systemCatalog+"/") && !strings.HasPrefix(v.g.names[m], anyCluster)
		v.each(m, func(e *edge) {
			if e.from != m || e.confidence == uint8(pb.Link_INFERRED) {
				belongs = belongs && !(e.from == m && e.kind == uint8(pb.Link_ISSUED_TO))
				return
			}
			switch pb.Link_Kind(e.kind) {
			case pb.Link_OWNED_BY:
				owners[e.to] = true
			case pb.Link_RECORDED_IN:
				systems[e.to] = true
			case pb.Link_ISSUED_TO:
				belongs = false
			}
		})
		s.nobody = s.nobody && !belongs
	}
	s.owners, s.systems = v.sorted(owners), v.sorted(systems)
	slices.SortFunc(s.agents, v.byName)
	if v.at == 0 && keep != nil {
		keep[root] = s
	}
	return s
}

func (v view) byName(a, b uint32) int { return strings.Compare(v.g.names[a], v.g.names[b]) }

func (v view) sorted(set map[uint32]bool) []uint32 {
	if len(set) == 0 {
		return nil
	}
	out := make([]uint32, 0, len(set))
	for id := range set {
		out = append(out, id)
	}
	slices.SortFunc(out, v.byName)
	return out
}

func (v view) name(ids []uint32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, v.g.names[id])
	}
	return out
}

// step is one link of a chain.
func (v view) step(e *edge, from uint32) Step {
	return Step{From: v.g.names[from], To: v.g.names[e.other(from)], Kind: pb.Link_Kind(e.kind),
		Confidence: pb.Link_Confidence(e.confidence), Evidence: e.evidence, Since: e.times.first,
		Against: e.from != from && e.kind != uint8(pb.Link_SAME_AS)}
}

// chain is the shortest way from a node to one that it is the same as, followed by a link of that kind if the target is
// not of the component. Of equally short ways it is the one through the smaller names. nil if there is none.
func (v view) chain(from, to uint32) []Step {
	if from == to {
		return nil
	}
	came := map[uint32]*edge{from: nil}
	via := map[uint32]uint32{}
	for level := []uint32{from}; len(level) > 0; {
		slices.SortFunc(level, v.byName)
		var next []uint32
		for _, id := range level {
			v.each(id, func(e *edge) {
				other := e.other(id)
				if !e.merges() && (other != to || e.from != id || e.confidence == uint8(pb.Link_INFERRED)) {
					return
				}
				if known, seen := came[other]; seen {
					if known != nil && via[other] == id && stronger(e, known) {
						came[other] = e
					}
					return
				}
				came[other], via[other] = e, id
				if e.merges() || other == to {
					next = append(next, other)
				}
			})
		}
		if _, found := came[to]; found {
			break
		}
		level = next
	}
	if _, found := came[to]; !found {
		return nil
	}
	var steps []Step
	for at := to; at != from; at = via[at] {
		steps = append(steps, v.step(came[at], via[at]))
	}
	slices.Reverse(steps)
	return steps
}

// stronger orders links between the same two nodes.
func stronger(a, b *edge) bool {
	if a.confidence != b.confidence {
		return a.confidence > b.confidence
	}
	return a.kind < b.kind
}
