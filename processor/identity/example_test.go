package identity_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Whoever has events at hand feeds them to a Linker, and asks its graph.
func ExampleLinker() {
	linker := identity.NewLinker(identity.New(), identity.Options{})
	linker.ClaimCatalog(nil, time.Now()) // or the catalog in force
	linker.Event(&pb.Event{Kind: pb.Event_ISSUED, Credential: "vault/default/token/t", Principal: "vault/default/entity/e",
		Source: "vault", Instance: "default", RecordId: "42", OccurredAt: timestamppb.New(time.Unix(1, 0)),
		Labels: map[string]string{"mount_type": "approle", "mount_point": "auth/approle/", "role_name": "ingest"}}, "")
	graph := linker.Graph()
	fmt.Println(graph.Resolve(identity.Query{Credential: "vault/default/token/t", Principal: "vault/default/entity/e"}).Component)
	for _, link := range graph.Held(0) {
		fmt.Println(link.Confidence, link.Kind, link.From, link.To)
	}
	for _, finding := range graph.Findings(0) {
		fmt.Println(finding)
	}
	// Output:
	// vault/default/entity/e
	// PROVEN SAME_AS vault/default/entity/e vault/default/role/auth/approle:ingest
	// nobody answers for vault/default/entity/e: no catalog entry leads to an owner
}
