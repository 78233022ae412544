package figures

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

const (
	graphLinks = 1_000_000
	moreLinks  = 2000
	// aliases are the other names that an identity was seen under.
	aliases = 8
)

// graph builds the graph of a million links, one link at a time, asks of each identity who answers for it, and measures
// what one more link costs: it is told, and the identity that it changes is resolved again.
func graph(_ context.Context, opts Options, _ string, _ fleet.AuditTruth) ([]figure, error) {
	opts.Progress("resolving %d links", graphLinks)
	g := identity.New()
	at := timestamppb.New(time.Date(2026, 10, 2, 9, 0, 0, 0, time.UTC))
	link := func(kind pb.Link_Kind, from, to string, confidence pb.Link_Confidence, evidence string) *pb.Link {
		return &pb.Link{Kind: kind, From: from, To: to, Confidence: confidence, At: at, Evidence: evidence}
	}
	began, identities, links := processorTime(), 0, 0
	for ; links < graphLinks; identities++ {
		first, agent := entity(identities), identity.AgentNode(fmt.Sprint(identities))
		for k := range aliases {
			g.Put(link(pb.Link_SAME_AS, first, fmt.Sprintf("oidc/issuer-%d/subject/workload-%d", k, identities), pb.Link_PROVEN, seenAtLogin))
		}
		g.Put(link(pb.Link_SAME_AS, first, agent, pb.Link_ASSERTED, "catalog.yaml:7"))
		g.Put(link(pb.Link_OWNED_BY, agent, identity.OwnerNode(fmt.Sprint(identities%200)), pb.Link_ASSERTED, "catalog.yaml:8"))
		if owners := g.Resolve(identity.Query{Principal: first}).Owners; len(owners) != 1 {
			return nil, fmt.Errorf("resolve %s: %d owners", first, len(owners))
		}
		_, links = g.Len()
	}
	total := processorTime() - began
	times := make([]time.Duration, moreLinks)
	for i := range times {
		first := entity(i * 7919 % identities)
		more := link(pb.Link_SAME_AS, first, fmt.Sprintf("oidc/new/subject/%d", i), pb.Link_PROVEN, seenAtLogin)
		began := time.Now()
		g.Tell(more)
		owners := g.Resolve(identity.Query{Principal: first}).Owners
		times[i] = time.Since(began)
		if len(owners) != 1 {
			return nil, fmt.Errorf("resolve %s: %d owners", first, len(owners))
		}
	}
	runtime.KeepAlive(g)
	slices.Sort(times)
	nodes, links := g.Len()
	return []figure{{name: "identity graph, one more link, median", value: float64(times[len(times)/2].Nanoseconds()) / 1000, unit: "µs", budget: 50, atMost: true,
		note: fmt.Sprintf("told and resolved in a graph of %d links and %d names, which took %.1fs of processor time, each identity resolved as it came",
			links, nodes, total.Seconds())}}, nil
}

const seenAtLogin = "seen at the login (vault default record 01234567-89ab)"

func entity(n int) string {
	return fmt.Sprintf("vault/default/entity/%08d-0a51-4d0a-9d53-1f6f2a7b9c10", n)
}
