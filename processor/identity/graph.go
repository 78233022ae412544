package identity

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// none marks the end of a list.
const none = ^uint32(0)

// Graph holds nodes and links. It is safe for concurrent use.
type Graph struct {
	credentials atomic.Int64 // links ISSUED_TO, held or not

	mu sync.RWMutex // guards all below

	ids   map[string]uint32
	names []string
	nodes []node

	edges []edge
	index map[edgeKey]uint32

	revision  uint64
	summaries map[uint32]*summary // of components, by root; dropped when they change
}

// node is one name. Components are union-find trees (parent, size), whose members also form a ring (next), so that a
// component can be walked when a link of it falls away.
type node struct {
	edges              uint32 // first of its edges
	parent, next, size uint32
	low                uint32 // at the root: the member with the smallest name
	changed            uint64 // at the root: revision at which the component, or what is said of it, last changed
}

// edge is a link. Its two sides are on the lists of both nodes.
type edge struct {
	from, to         uint32
	nextFrom, nextTo uint32
	kind, confidence uint8
	held             bool
	evidence         string // of the earliest statement
	times            times
}

type edgeKey struct {
	from, to         uint32
	kind, confidence uint8
}

// New gives an empty graph.
func New() *Graph {
	return &Graph{ids: map[string]uint32{}, index: map[edgeKey]uint32{}, summaries: map[uint32]*summary{}}
}

// Len counts nodes and links, those no longer held included.
func (g *Graph) Len() (nodes, links int) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.names), len(g.edges)
}

// Revision grows with every change of what is held.
func (g *Graph) Revision() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.revision
}

// Changed reports whether anything about the identity of a key changed after a revision.
func (g *Graph) Changed(key string, since uint64) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.ids[Node(key)]
	return ok && g.nodes[g.find(id)].changed > since
}

// Number of the node of a key, which stays with it; 0 if no link names it yet.
func (g *Graph) Number(key string) uint32 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.ids[Node(key)]
	if !ok {
		return 0
	}
	return id + 1
}

// ChangedNumber is Changed for a node's number.
func (g *Graph) ChangedNumber(number uint32, since uint64) bool {
	if number == 0 {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.nodes[g.find(number-1)].changed > since
}

// ChangedCredential is Changed for a credential, which most often no link names.
func (g *Graph) ChangedCredential(key string, since uint64) bool {
	return g.credentials.Load() != 0 && g.Changed(key, since)
}

// Nodes calls fn for every node, in no order, under the graph's lock.
func (g *Graph) Nodes(fn func(node string)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, name := range g.names {
		fn(name)
	}
}

// Has reports whether any link names the node.
func (g *Graph) Has(key string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, ok := g.ids[Node(key)]
	return ok
}

func (g *Graph) intern(name string) uint32 {
	if id, ok := g.ids[name]; ok {
		return id
	}
	id := uint32(len(g.names))
	name = strings.Clone(name) // it may be a piece of a whole message
	g.names = append(g.names, name)
	g.nodes = append(g.nodes, node{edges: none, parent: id, next: id, size: 1, low: id, changed: g.revision + 1})
	g.ids[name] = id
	return id
}

// Put takes a statement: that a link holds at a time, or (Retracted) no longer. It reports whether what is held has
// changed. A statement without two nodes, with an unknown kind or without confidence is left out.
func (g *Graph) Put(l *pb.Link) (changed bool) {
	from, to, ok := ends(l)
	if !ok {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.put(from, to, l)
}

// refresh is after what time a link that was said again is worth telling the other processors.
const refresh = int64(24 * time.Hour)

// Tell takes a statement as Put does, and gives the key under which others should hear of it; empty if it tells them
// nothing new. A statement that only makes the link begin earlier replaces the first, as does the smaller of two sentences
// of one moment; others stand beside it, so that a compacted topic keeps the link's history.
func (g *Graph) Tell(l *pb.Link) (key string) {
	from, to, ok := ends(l)
	if !ok {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	told := max(1, nanos(l.At))
	var before times
	var evidence string
	if at, known := g.edge(from, to, l); known {
		before, evidence = g.edges[at].times, g.edges[at].evidence
	}
	g.put(from, to, l)
	switch {
	case l.Retracted:
		if told <= before.gone {
			return ""
		}
		return ID(l) + "/" + strconv.FormatInt(told, 10)
	case before.last == 0 || told < before.first || told == before.first && l.Evidence < evidence:
		return ID(l)
	case !before.now() && told > before.gone:
		return ID(l) + "/" + strconv.FormatInt(told, 10)
	case told >= before.last+refresh:
		return ID(l) + "/last"
	}
	return ""
}

// edge finds a link's place.
func (g *Graph) edge(from, to string, l *pb.Link) (at uint32, known bool) {
	a, ok := g.ids[from]
	b, too := g.ids[to]
	if !ok || !too {
		return 0, false
	}
	at, known = g.index[edgeKey{a, b, uint8(l.Kind), uint8(l.Confidence)}]
	return at, known
}

// again takes that the link at a place was said once more. It is false, and nothing is taken, if that is news.
func (g *Graph) again(place uint32, at int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := &g.edges[place]
	if !e.held || at <= e.times.first || at >= e.times.last+refresh {
		return false
	}
	e.times.say(at)
	return true
}

// place of a link in the graph; it never changes.
func (g *Graph) place(l *pb.Link) (place uint32, known bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	from, to, ok := ends(l)
	if !ok {
		return 0, false
	}
	return g.edge(from, to, l)
}

// Said is the newest time at which a link was said to hold, if it is held; 0 otherwise.
func (g *Graph) Said(l *pb.Link) int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	from, to, ok := ends(l)
	if !ok {
		return 0
	}
	at, known := g.edge(from, to, l)
	if !known || !g.edges[at].held {
		return 0
	}
	return g.edges[at].times.last
}

// ID names a link: kind, confidence and its two nodes. What an issuer proves and what the catalog asserts of the same two
// are two links, so that taking back the one leaves the other.
func ID(l *pb.Link) string {
	from, to, ok := ends(l)
	if !ok {
		return ""
	}
	kind := l.Kind.String()
	if l.Confidence != pb.Link_PROVEN {
		kind += " " + l.Confidence.String()
	}
	return schemas.LinkID(kind, from, to)
}

// put takes a statement about its two ends.
func (g *Graph) put(from, to string, l *pb.Link) (changed bool) {
	key := edgeKey{g.intern(from), g.intern(to), uint8(l.Kind), uint8(l.Confidence)}
	at, known := g.index[key]
	if !known {
		at = uint32(len(g.edges))
		g.index[key] = at
		a, b := &g.nodes[key.from], &g.nodes[key.to]
		g.edges = append(g.edges, edge{from: key.from, to: key.to, nextFrom: a.edges, nextTo: b.edges,
			kind: key.kind, confidence: key.confidence})
		a.edges, b.edges = at, at
		if l.Kind == pb.Link_ISSUED_TO {
			g.credentials.Add(1)
		}
	}
	e := &g.edges[at]
	told := max(1, nanos(l.At))
	reworded := false // sentences that were built of the evidence have to be built again
	if l.Retracted {
		e.times.retract(told)
	} else {
		if first := e.times.first; first == 0 || told < first || told == first && l.Evidence < e.evidence {
			reworded = e.held && e.evidence != l.Evidence
			e.evidence = strings.Clone(l.Evidence)
		}
		e.times.say(told)
	}
	held := e.times.now()
	if held == e.held {
		if reworded {
			g.revision++
			g.touch(e.from)
			g.touch(e.to)
		}
		return false
	}
	e.held = held
	g.revision++
	switch {
	case !e.merges():
	case held:
		g.union(e.from, e.to)
	default:
		g.split(e.from)
	}
	g.touch(e.from)
	g.touch(e.to)
	return true
}

// ends gives the nodes of a link, with those of SAME_AS, which has no direction, in the order of their names.
func ends(l *pb.Link) (from, to string, ok bool) {
	from, to = Node(l.From), Node(l.To)
	if from == "" || to == "" || from == to || l.Kind < pb.Link_SAME_AS || l.Kind > pb.Link_RECORDED_IN ||
		l.Confidence < pb.Link_INFERRED || l.Confidence > pb.Link_PROVEN {
		return "", "", false
	}
	if l.Kind == pb.Link_SAME_AS && to < from {
		from, to = to, from
	}
	return from, to, true
}

// merges is whether the link makes its two nodes one identity while it is held.
func (e *edge) merges() bool {
	return e.kind == uint8(pb.Link_SAME_AS) && e.confidence > uint8(pb.Link_INFERRED)
}

// touch marks the component of a node as changed now.
func (g *Graph) touch(id uint32) {
	root := g.find(id)
	g.nodes[root].changed = g.revision
	delete(g.summaries, root)
}

// find gives the root of a node's component. It changes nothing, so that readers may call it side by side: union by size
// keeps the trees flat enough.
func (g *Graph) find(id uint32) uint32 {
	for g.nodes[id].parent != id {
		id = g.nodes[id].parent
	}
	return id
}

func (g *Graph) union(a, b uint32) {
	a, b = g.find(a), g.find(b)
	if a == b {
		return
	}
	if g.nodes[a].size < g.nodes[b].size {
		a, b = b, a
	}
	delete(g.summaries, a)
	delete(g.summaries, b)
	big, small := &g.nodes[a], &g.nodes[b]
	small.parent = a
	big.size += small.size
	big.next, small.next = small.next, big.next // two rings become one
	if g.names[small.low] < g.names[big.low] {
		big.low = small.low
	}
}

// split builds a component again from the links that are still held.
func (g *Graph) split(id uint32) {
	members := g.members(g.find(id))
	for _, m := range members {
		delete(g.summaries, m)
		n := &g.nodes[m]
		n.parent, n.next, n.size, n.low, n.changed = m, m, 1, m, g.revision
	}
	for _, m := range members {
		for at := g.nodes[m].edges; at != none; at = g.edges[at].after(m) {
			if e := &g.edges[at]; e.held && e.from == m && e.merges() {
				g.union(e.from, e.to)
			}
		}
	}
	for _, m := range members {
		g.nodes[g.find(m)].changed = g.revision
	}
}

// after is the edge that follows on the list of a node.
func (e *edge) after(id uint32) uint32 {
	if e.from == id {
		return e.nextFrom
	}
	return e.nextTo
}

// other is the node on the other side.
func (e *edge) other(id uint32) uint32 {
	if e.from == id {
		return e.to
	}
	return e.from
}

func (g *Graph) members(root uint32) []uint32 {
	out := make([]uint32, 0, g.nodes[root].size)
	for m := root; ; {
		out = append(out, m)
		if m = g.nodes[m].next; m == root {
			return out
		}
	}
}
