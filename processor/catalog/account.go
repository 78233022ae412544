package catalog

import (
	"strings"

	"github.com/leastwise/leastwise/rego/strictyaml"
)

const (
	// accountPrefix begins the user name of a Kubernetes service account, which is also the sub claim of its tokens
	// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens).
	accountPrefix = "system:serviceaccount:"
	// Vault's Kubernetes auth method keeps both as metadata of the token
	// (https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login).
	accountNamespace, accountName = "meta.service_account_namespace", "meta.service_account_name"
	// subjectLabel is the subject that AWS was shown in AssumeRoleWithWebIdentity.
	subjectLabel = "web_identity_subject"
	// agentLabel is the agent's own id, as its logs or its issuer give it.
	agentLabel = "agent_id"
	// gcpMember begins a service account as policies of Google Cloud write it.
	gcpMember = "serviceAccount:"
)

// agentID is the agent's id if the source vouches for it. In CloudTrail it is a tag that whoever assumes a role gives the
// session: it proves nothing.
func (q *Query) agentID() string {
	if q.Source == "cloudtrail" {
		return ""
	}
	return q.Labels[agentLabel]
}

// ServiceAccountUser is the user name of a Kubernetes service account.
func ServiceAccountUser(namespace, name string) string {
	return accountPrefix + namespace + ":" + name
}

func parseAccount(p *strictyaml.Problems, n strictyaml.Node) (user, cluster string) {
	keys := p.Mapping(n, "namespace", "name", "cluster")
	namespace, name := optionalText(p, keys, "namespace"), optionalText(p, keys, "name")
	switch {
	case keys == nil:
	case namespace == "" || name == "":
		p.Addf(n, `namespace or name is missing; expected {namespace: "payments", name: "ingest"}`)
	case strings.ContainsAny(namespace+name, ":/ "):
		p.Addf(n, "namespace %q, name %q; expected names as Kubernetes has them, without ':', '/' or spaces", namespace, name)
	}
	return ServiceAccountUser(namespace, name), optionalText(p, keys, "cluster")
}

// isAccount tells whether the query speaks of the rule's service account: as the principal, or as the one to whom Vault
// or AWS says that it issued. The latter do not name the cluster, so a rule of one cluster holds for principals alone.
func (r *rule) isAccount(q *Query, principalID string) bool {
	if principalID == r.principal {
		return r.cluster == "" || instanceOf(q.Principal) == r.cluster
	}
	if r.cluster != "" {
		return false
	}
	if q.Labels[subjectLabel] == r.principal {
		return true
	}
	name := q.Labels[accountName]
	return name != "" && ServiceAccountUser(q.Labels[accountNamespace], name) == r.principal
}

// instanceOf gives the second part of system/instance/type/id.
func instanceOf(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	instance, _, _ := strings.Cut(rest, "/")
	return instance
}

func isServiceAccountEmail(text string) bool {
	name, domain, ok := strings.Cut(text, "@")
	return ok && name != "" && strings.HasSuffix(domain, ".gserviceaccount.com") && !strings.ContainsAny(text, " /:")
}
