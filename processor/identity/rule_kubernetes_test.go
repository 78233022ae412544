package identity

import "testing"

func TestAnEntityIsTheServiceAccountThatTheClusterVouchedFor(t *testing.T) {
	expect(t, vaultLogin("kubernetes", "auth/k8s-prod/", "meta.service_account_namespace", "pay", "meta.service_account_name", "in", "role_name", "any"),
		"PROVEN SAME_AS kubernetes/vault_default_auth_k8s-prod/serviceaccount/system:serviceaccount:pay:in vault/default/entity/e-1")
	expect(t, vaultLogin("token", "auth/token/", "meta.service_account_namespace", "pay", "meta.service_account_name", "in"))
	expect(t, vaultLogin("kubernetes", "auth/k8s-prod/", "meta.service_account_name", "in"))
}
