package identity

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// BenchmarkOneMoreLink adds links to a graph of a million, each joining a new name to an identity or two identities, and
// resolves the identity after each. It reports the median.
func BenchmarkOneMoreLink(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	g := fleet(b, 1_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	nodes, links := g.Len()
	perLink := float64(after.HeapAlloc-before.HeapAlloc) / float64(links)
	var took []time.Duration
	i := 0
	b.ResetTimer()
	for b.Loop() {
		entity := fmt.Sprintf("vault/default/entity/%08d-0a51-4d0a-9d53-1f6f2a7b9c10", (i*7919)%(links/10))
		l := &pb.Link{Kind: pb.Link_SAME_AS, From: entity, To: fmt.Sprintf("oidc/new/subject/%d", i), Confidence: pb.Link_PROVEN,
			At: moment(i), Evidence: "seen at the login (vault default record 01234567-89ab)"}
		began := time.Now()
		g.Tell(l)
		r := g.Resolve(Query{Principal: entity})
		took = append(took, time.Since(began))
		if len(r.Owners) != 1 {
			b.Fatal(r)
		}
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1000, "median-us")
	b.ReportMetric(float64(took[len(took)*99/100])/1000, "p99-us")
	b.ReportMetric(perLink, "B/link")
	b.ReportMetric(float64(nodes), "nodes")
}

// BenchmarkEvent reads events that say nothing new, as nearly all do.
func BenchmarkEvent(b *testing.B) {
	for name, ev := range map[string]*pb.Event{
		"a call":         event("vault", pb.Event_USED, "vault/default/token/t", entity, "mount_point", "secret/", "mount_type", "kv", "display_name", "approle", "role_name", "r"),
		"a login":        vaultLogin("approle", "auth/approle/", "role_name", "ingest", "display_name", "approle", "meta.agent_id", uuid),
		"an agent's log": event("agentusage", pb.Event_NOTED, "vault/default/token/t", "", "agent_id", uuid),
	} {
		b.Run(name, func(b *testing.B) {
			l := NewLinker(New(), Options{})
			l.Event(event("agentusage", pb.Event_NOTED, "vault/default/token/other", "", "agent_id", uuid), "")
			l.Event(ev, ev.Principal)
			ev.OccurredAt = moment(30)
			b.ReportAllocs()
			for b.Loop() {
				l.Event(ev, ev.Principal)
			}
		})
	}
}
