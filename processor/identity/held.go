package identity

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Held lists the links that are held at a moment (0: now), inferred ones included, in the order of their nodes.
func (g *Graph) Held(asOf int64) []*pb.Link {
	g.mu.RLock()
	defer g.mu.RUnlock()
	v := view{g, asOf}
	var out []*pb.Link
	for i := range g.edges {
		e := &g.edges[i]
		if !v.held(e) {
			continue
		}
		l := &pb.Link{Kind: pb.Link_Kind(e.kind), From: g.names[e.from], To: g.names[e.to],
			Confidence: pb.Link_Confidence(e.confidence), Evidence: e.evidence, At: timestamppb.New(time.Unix(0, e.times.first))}
		l.Id = ID(l)
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *pb.Link) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Confidence, a.Confidence))
	})
	return out
}
