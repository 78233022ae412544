package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// kubernetesAccounts: Vault's Kubernetes method has the cluster review the token that it is shown, and keeps namespace
// and name of the service account as metadata; the entity's alias is the account
// (https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login). The cluster is the one that the mount is
// configured for, so the mount stands for it.
func kubernetesAccounts(r *reading) {
	namespace, name := r.label("meta.service_account_namespace"), r.label("meta.service_account_name")
	mount := mountOf(r.ev.Labels)
	if namespace == "" || name == "" || r.ev.Principal == "" || mount == "" || mount == "auth/token" {
		return
	}
	account := key("kubernetes", "vault_"+r.ev.Instance+"_"+mount, "serviceaccount", accountUser(namespace, name))
	r.link(pb.Link_SAME_AS, r.ev.Principal, account, pb.Link_PROVEN,
		"the cluster of %s vouched for service account %s/%s when the entity logged in at Vault", mount, namespace, name)
}
