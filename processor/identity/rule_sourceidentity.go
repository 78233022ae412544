package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// sourceIdentity: the value set when a role is assumed can not be changed later and goes with every chained session
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html). But whoever first
// assumed the role chose it, unless the role's trust policy prescribes it, which the log does not say: shown, never held.
func sourceIdentity(r *reading) {
	source := r.label("source_identity")
	if source == "" || r.holder == "" {
		return
	}
	node := key("aws", "source-identity", "name", source)
	if isUUID(source) {
		node = agentIDNode(anywhere, source)
	}
	r.link(pb.Link_SAME_AS, r.holder, node, pb.Link_INFERRED, "a session was opened with sourceIdentity %s, which its caller may choose", source)
}
