package identity

import (
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// spireEntry: a registration entry gives its SPIFFE ID to whoever has all its selectors
// (https://spiffe.io/docs/latest/deploying/registering/). With k8s:ns and k8s:sa and no other
// (https://github.com/spiffe/spire/blob/main/doc/plugin_agent_workloadattestor_k8s.md), that is one service account; with
// more of them it is a part of its pods, and the two are shown together, not held to be one.
func spireEntry(r *reading) {
	selectors := r.label("selectors")
	if selectors == "" {
		return
	}
	id := r.label("spiffe_id")
	if id == "" {
		id = r.ev.Resource
	}
	if !strings.HasPrefix(id, "spiffe://") {
		return
	}
	var namespace, name string
	more := false
	for _, selector := range strings.FieldsFunc(selectors, func(c rune) bool { return c == ',' || c == ' ' }) {
		if value, ok := strings.CutPrefix(selector, "k8s:ns:"); ok && namespace == "" {
			namespace = value
		} else if value, ok := strings.CutPrefix(selector, "k8s:sa:"); ok && name == "" {
			name = value
		} else {
			more = true
		}
	}
	if namespace == "" || name == "" {
		return
	}
	confidence := pb.Link_PROVEN
	if more {
		confidence = pb.Link_INFERRED
	}
	account := key("kubernetes", spireCluster(id, r.label("parent_id")), "serviceaccount", accountUser(namespace, name))
	r.link(pb.Link_SAME_AS, spiffeNode(id), account, confidence, "SPIRE gives %s to what has %s", id, selectors)
}

// spireCluster is the cluster of an entry: the one that its agent attested with, if the parent's id has it
// (https://github.com/spiffe/spire/blob/main/doc/plugin_server_nodeattestor_k8s_psat.md), else that of the trust domain.
func spireCluster(id, parent string) string {
	domain, _, _ := strings.Cut(strings.TrimPrefix(id, "spiffe://"), "/")
	for _, attestor := range [...]string{"/spire/agent/k8s_psat/", "/spire/agent/k8s_sat/"} {
		if _, rest, ok := strings.Cut(parent, attestor); ok {
			cluster, _, _ := strings.Cut(rest, "/")
			return "spire_" + domain + "_" + cluster
		}
	}
	return "spire_" + domain
}
