package gate

import (
	"maps"
	"slices"
	"time"

	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// notice takes what a source found, or takes back. Only what is about an identity is kept.
func (l *Live) notice(f *pb.Finding) {
	key := f.Source + "/" + f.Instance + "/" + f.Kind + "/" + f.Subject
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Standing && len(f.About) > 0 {
		l.findings[key] = f
	} else {
		delete(l.findings, key)
	}
}

// Noticed lists what stands of an identity by the word of the sources.
func (l *Live) Noticed(id string) []*pb.Finding {
	node := identity.Node(id)
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*pb.Finding
	for _, key := range slices.Sorted(maps.Keys(l.findings)) {
		if f := l.findings[key]; slices.Contains(f.About, node) {
			out = append(out, f)
		}
	}
	return out
}

// warnNoticed tells of what stands of an identity. It is no reason to refuse its workload, which did not do it.
func (g *Gate) warnNoticed(id Identity, v *Verdict) {
	for _, f := range g.noticed(id.Key) {
		v.warn("%s: %s stands since %s: %s", id, f.Kind, f.Since.AsTime().Format(time.RFC3339), shorten(f.Detail))
	}
}
