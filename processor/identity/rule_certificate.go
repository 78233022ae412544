package identity

import (
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// certificateNames: an X509-SVID names its holder in its only URI SAN
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#2-spiffe-id): the credential resolves to that SPIFFE ID (see
// Holder). Who asked the issuer for it is another: it may be a proxy or a certificate manager, so that is shown as where
// the certificate comes from.
func certificateNames(r *reading) {
	id := r.label("spiffe_id")
	if r.ev.Kind != pb.Event_ISSUED || r.ev.Principal == "" || !strings.HasPrefix(id, "spiffe://") {
		return
	}
	if r.ev.Source == "cloudtrail" {
		r.link(pb.Link_SAME_AS, r.holder, spiffeNode(id), pb.Link_INFERRED, "a session was tagged with %s, which its caller may choose", id)
		return
	}
	if r.ev.Source == "jwtregistry" {
		r.link(pb.Link_SAME_AS, r.ev.Principal, spiffeNode(id), pb.Link_PROVEN, "the subject of the token is the SPIFFE ID")
		return
	}
	r.link(pb.Link_DERIVED_FROM, spiffeNode(id), r.ev.Principal, pb.Link_PROVEN, "the principal was issued a certificate in the name of %s", id)
}
