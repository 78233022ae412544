package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestASourceIdentityIsShownAndMergesNothing(t *testing.T) {
	ev := event("cloudtrail", pb.Event_ISSUED, "cloudtrail/default/key/ASIA1", "cloudtrail/default/role/arn:aws:iam::1:role/r", "source_identity", "alice")
	expect(t, ev, "INFERRED SAME_AS aws/1/role/arn:aws:iam::1:role/r aws/source-identity/name/alice")
	g := New()
	for _, l := range read(ev, nil).links {
		g.Put(l)
	}
	if len(g.Names("aws/source-identity/name/alice", 0)) != 1 {
		t.Error("a value that the caller chose joined two identities")
	}
}
