package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// webIdentity: a session that AWS gave for a token of another issuer is that issuer's subject
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html): the credential resolves to the
// subject (see Holder). The role itself may be assumed by others, so that subject and role are one is shown, never held.
// On Google Cloud the principal of a workload identity pool names its subject, and is that subject
// (https://cloud.google.com/iam/docs/workload-identity-federation#mapping).
func webIdentity(r *reading) {
	provider, subject := r.label("web_identity_provider"), r.label("web_identity_subject")
	if provider == "" || subject == "" {
		return
	}
	node := subjectNode(provider, subject)
	if r.ev.Source == "gcpaudit" {
		principal := r.ev.Principal
		if actor := r.label("actor_subject"); actor != "" {
			principal = actorNode(r.ev.Credential, r.ev.Principal, actor, r.ev.Labels)
		}
		if system, _, kind, _, ok := split(Node(principal)); ok && system == "gcp" && kind == "principal" {
			r.link(pb.Link_SAME_AS, principal, node, pb.Link_PROVEN, "the principal of pool %s names subject %s", provider, subject)
		}
		return
	}
	if _, _, kind, _, _ := split(r.ev.Principal); kind == "web_identity" {
		r.link(pb.Link_SAME_AS, r.ev.Principal, node, pb.Link_PROVEN, "CloudTrail names the caller as subject %s of %s", subject, provider)
		return
	}
	role := r.label("session_issuer")
	if role == "" {
		role = r.ev.Principal
	} else {
		role = arnNode(role)
	}
	r.link(pb.Link_SAME_AS, role, node, pb.Link_INFERRED, "subject %s of %s assumed the role; others may", subject, provider)
}

// sessionIssuer: the ARN of an assumed role's session leaves out the role's path, and ends with a name that the caller
// chose; sessionContext.sessionIssuer has the role's own ARN
// (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html).
func sessionIssuer(r *reading) {
	if issuer := r.label("session_issuer"); issuer != "" && r.ev.Principal != "" {
		if _, _, kind, _, ok := split(Node(r.ev.Principal)); ok && kind == "assumed-role" {
			r.link(pb.Link_SAME_AS, r.ev.Principal, arnNode(issuer), pb.Link_PROVEN, "CloudTrail names the role as issuer of the session")
		}
	}
}

// podIdentity is the service account that EKS Pod Identity gave a session to. EKS opens the session itself, and tags it
// with cluster, namespace and account (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html); tags of the same
// names in a session that anyone else opened are that caller's choice.
func podIdentity(labels map[string]string) string {
	cluster := labels["eks_cluster_arn"]
	namespace, name := labels["kubernetes_namespace"], labels["kubernetes_service_account"]
	if labels["invoked_by"] != "pods.eks.amazonaws.com" || cluster == "" || namespace == "" || name == "" {
		return ""
	}
	return key("kubernetes", cluster, "serviceaccount", accountUser(namespace, name))
}
