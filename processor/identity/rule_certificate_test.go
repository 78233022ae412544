package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestWhoAskedForACertificateIsNotWhomItNames(t *testing.T) {
	expect(t, event("vault", pb.Event_ISSUED, "vault/default/certificate/4d", entity, "spiffe_id", "spiffe://example.org/a"),
		"PROVEN DERIVED_FROM spiffe/example.org/id/spiffe://example.org/a vault/default/entity/e-1")
	expect(t, event("spire", pb.Event_ISSUED, "spire/default/svid/1", "spire/default/spiffe/spiffe://example.org/a", "spiffe_id", "spiffe://example.org/a"))
}
