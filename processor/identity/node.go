package identity

import (
	"strings"

	"github.com/leastwise/leastwise/schemas"
)

// Types of nodes that rules make. An id that is unique by itself (a SPIFFE ID in its trust domain, an ARN, a service
// account's email, a UUID) is one node, whichever source named it.
const (
	systemCatalog = "catalog"
	typeAgent     = "agent"
	typeOwner     = "owner"
	typeSystem    = "system"
	anywhere      = "global"
)

// AgentNode is an agent of the catalog.
func AgentNode(id string) string { return systemCatalog + "/default/" + typeAgent + "/" + id }

// OwnerNode is an owner of the catalog.
func OwnerNode(id string) string { return systemCatalog + "/default/" + typeOwner + "/" + id }

// SystemNode is a system of record of the catalog.
func SystemNode(id string) string { return systemCatalog + "/default/" + typeSystem + "/" + id }

// catalogID gives the id of a node of the catalog, and whether it is one of that type.
func catalogID(node, kind string) (string, bool) {
	return strings.CutPrefix(node, systemCatalog+"/default/"+kind+"/")
}

// Node gives the one name of an identity in the graph: of keys whose id is unique wherever it is seen, the same node
// whatever source and instance saw it; of all others the key itself. It allocates only for the former.
func Node(key string) string {
	system, instance, kind, id, ok := split(key)
	if !ok || system == systemCatalog {
		return key
	}
	switch {
	case kind == "subject" && strings.IndexByte(id, '|') > 0:
		issuer, subject, _ := strings.Cut(id, "|")
		return subjectNode(issuer, subject)
	case strings.HasPrefix(id, "spiffe://"):
		return spiffeNode(id)
	case strings.HasPrefix(id, "arn:aws"):
		return arnNode(id)
	case strings.HasSuffix(id, ".gserviceaccount.com") && strings.IndexByte(id, '@') > 0:
		return gcpAccountNode(id)
	case strings.HasPrefix(id, "system:serviceaccount:"):
		if system == "kubernetes" && kind == "serviceaccount" {
			return key
		}
		return "kubernetes/" + instance + "/serviceaccount/" + id
	case kind == typeAgent:
		return agentIDNode(instance, id)
	case strings.HasPrefix(id, "principal://") || strings.HasPrefix(id, "serviceAccount:"):
		return "gcp/" + anywhere + "/principal/" + id
	}
	return key
}

func split(key string) (system, instance, kind, id string, ok bool) {
	if system, key, ok = strings.Cut(key, "/"); !ok {
		return
	}
	if instance, key, ok = strings.Cut(key, "/"); !ok {
		return
	}
	kind, id, ok = strings.Cut(key, "/")
	return system, instance, kind, id, ok && id != ""
}

// spiffeNode is the node of a SPIFFE ID, which is unique in its trust domain
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity).
func spiffeNode(id string) string {
	domain, _, _ := strings.Cut(strings.TrimPrefix(id, "spiffe://"), "/")
	if domain == "" {
		domain = "none"
	}
	return "spiffe/" + domain + "/id/" + id
}

// arnNode is the node of an AWS principal, whose ARN is unique
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html). Of an assumed role the session's name is left
// out: whoever assumes the role chooses it.
func arnNode(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[4] == "" {
		return "aws/none/principal/" + arn
	}
	kind, rest, named := strings.Cut(parts[5], "/")
	if !named {
		return "aws/" + parts[4] + "/account/" + arn
	}
	if kind == "assumed-role" {
		role, _, _ := strings.Cut(rest, "/")
		return "aws/" + parts[4] + "/assumed-role/" + strings.Join(parts[:5], ":") + ":assumed-role/" + role
	}
	return "aws/" + parts[4] + "/" + kind + "/" + arn
}

// subjectNode is the node of the subject of a token, which is unique at its issuer
// (https://openid.net/specs/openid-connect-core-1_0.html#SubjectIDs). Subjects that are names of another namespace are
// nodes there: service accounts of a Kubernetes cluster whose API server is the issuer, SPIFFE IDs.
func subjectNode(issuer, subject string) string {
	issuer = issuerName(issuer)
	switch {
	case strings.HasPrefix(subject, "spiffe://"):
		return spiffeNode(subject)
	case strings.HasPrefix(subject, "system:serviceaccount:"):
		return key("kubernetes", issuer, "serviceaccount", subject)
	}
	// Workload identity of Google's clusters: ns/NAMESPACE/sa/NAME, or NAMESPACE/NAME in the older form
	// (https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity).
	if strings.Contains(issuer, ".svc.id.goog") {
		parts := strings.Split(subject, "/")
		switch {
		case len(parts) == 4 && parts[0] == "ns" && parts[2] == "sa":
			return key("kubernetes", issuer, "serviceaccount", accountUser(parts[1], parts[3]))
		case len(parts) == 2:
			return key("kubernetes", issuer, "serviceaccount", accountUser(parts[0], parts[1]))
		}
	}
	if issuer == "" {
		issuer = "none"
	}
	return key("oidc", issuer, "subject", subject)
}

// issuerName gives one text for an issuer, whether it is written as a URL, as AWS's ARN of the provider, or as the bare
// host and path (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html).
func issuerName(issuer string) string {
	if at := strings.Index(issuer, ":oidc-provider/"); at >= 0 {
		issuer = issuer[at+len(":oidc-provider/"):]
	}
	issuer = strings.TrimPrefix(strings.TrimPrefix(issuer, "https://"), "http://")
	return strings.TrimRight(issuer, "/")
}

// gcpAccountNode is the node of a service account of Google Cloud, whose email is unique
// (https://cloud.google.com/iam/docs/service-account-overview).
func gcpAccountNode(email string) string {
	return "gcp/" + anywhere + "/serviceaccount/" + strings.TrimPrefix(email, "serviceAccount:")
}

// agentIDNode is the node of an id that agents give themselves. A UUID is one agent's wherever it is seen (RFC 9562,
// section 6.8 on global uniqueness); any other id only within its instance.
func agentIDNode(instance, id string) string {
	if isUUID(id) {
		return "agent/" + anywhere + "/" + typeAgent + "/" + strings.ToLower(id)
	}
	return "agent/" + instance + "/" + typeAgent + "/" + id
}

func isAgentID(node string) bool {
	return strings.HasPrefix(node, "agent/") && strings.Contains(node, "/"+typeAgent+"/")
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		c := text[i] | 0x20
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// accountUser is the user name of a Kubernetes service account
// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens).
func accountUser(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

func key(system, instance, kind, id string) string {
	return schemas.Key{System: system, Instance: instance, Type: kind, ID: id}.String()
}
