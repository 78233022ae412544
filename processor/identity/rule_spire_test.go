package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func spireEntryEvent(selectors string, labels ...string) *pb.Event {
	ev := event("spire", pb.Event_USED, "", "", append([]string{"selectors", selectors}, labels...)...)
	ev.Resource = "spiffe://example.org/ns/pay/sa/in"
	return ev
}

func TestASPIFFEIDIsTheServiceAccountThatItsEntrySelects(t *testing.T) {
	const id = "spiffe/example.org/id/spiffe://example.org/ns/pay/sa/in"
	expect(t, spireEntryEvent("k8s:ns:pay,k8s:sa:in"),
		"PROVEN SAME_AS kubernetes/spire_example.org/serviceaccount/system:serviceaccount:pay:in "+id)
	expect(t, spireEntryEvent("k8s:sa:in,k8s:ns:pay", "parent_id", "spiffe://example.org/spire/agent/k8s_psat/east/77"),
		"PROVEN SAME_AS kubernetes/spire_example.org_east/serviceaccount/system:serviceaccount:pay:in "+id)
	// One container of the account's pods: a part is not the whole.
	expect(t, spireEntryEvent("k8s:ns:pay,k8s:sa:in,k8s:container-name:sidecar"),
		"INFERRED SAME_AS kubernetes/spire_example.org/serviceaccount/system:serviceaccount:pay:in "+id)
	expect(t, spireEntryEvent("unix:uid:1000"))
	expect(t, spireEntryEvent("k8s:ns:pay"))
}
