package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// impersonation: a token of a service account made by GenerateAccessToken and its kin is held by who asked for it
// (https://cloud.google.com/iam/docs/service-account-impersonation); a delegated call names the chain in
// serviceAccountDelegationInfo (https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog#ServiceAccountDelegationInfo).
// Who may act as a service account is not that account: the link shows, and merges nothing.
func impersonation(r *reading) {
	actor := r.label("actor_subject")
	if actor == "" || r.ev.Source != "gcpaudit" || r.ev.Principal == "" {
		return
	}
	r.link(pb.Link_DERIVED_FROM, r.ev.Principal, actorNode(r.ev.Credential, r.ev.Principal, actor, r.ev.Labels), pb.Link_PROVEN,
		"Google Cloud let %s act as the account", actor)
}
