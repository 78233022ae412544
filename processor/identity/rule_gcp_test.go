package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestWhoActsAsAServiceAccountIsNotThatAccount(t *testing.T) {
	ev := event("gcpaudit", pb.Event_ISSUED, "gcpaudit/default/token/x", "gcpaudit/default/principal/serviceAccount:sa@p.iam.gserviceaccount.com",
		"actor_subject", "user:alice@example.org")
	expect(t, ev, "PROVEN DERIVED_FROM gcp/global/serviceaccount/sa@p.iam.gserviceaccount.com gcpaudit/default/principal/user:alice@example.org")
}
