package identity

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Answer gives what has to be told again after a statement was read under a key; nil if nothing has. A retraction that is
// older than the newest word on the link is answered with that word: it was no news when it came. A statement under the
// link's own key is answered with an earlier one, or the smaller sentence of the same moment, whose place it has taken:
// two processors said it for the first time, neither having heard of the other.
func (g *Graph) Answer(key string, l *pb.Link) (string, *pb.Link) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	from, to, ok := ends(l)
	if !ok {
		return "", nil
	}
	at, known := g.edge(from, to, l)
	if !known {
		return "", nil
	}
	e, id := &g.edges[at], ID(l)
	again := &pb.Link{Id: id, Kind: l.Kind, From: l.From, To: l.To, Confidence: l.Confidence}
	switch told := max(1, nanos(l.At)); {
	case l.Retracted && e.held:
		again.At, again.Evidence = timestamppb.New(time.Unix(0, e.times.last)), "seen after it was taken back"
		return id + "/" + strconv.FormatInt(e.times.last, 10), again
	case !l.Retracted && key == id && (e.times.first < told || e.evidence < l.Evidence):
		again.At, again.Evidence = timestamppb.New(time.Unix(0, e.times.first)), e.evidence
		return id, again
	}
	return "", nil
}
