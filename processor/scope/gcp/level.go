package gcp

import (
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
)

// manages are the permissions with which their holder can give permissions, or take on another's: who may make a key or
// a token of a service account, or act as it, has what it has
// (https://cloud.google.com/iam/docs/best-practices-service-accounts#lateral-movement).
var manages = map[string]bool{
	"iam.serviceAccounts.actAs": true, "iam.serviceAccounts.getAccessToken": true, "iam.serviceAccounts.getOpenIdToken": true,
	"iam.serviceAccounts.implicitDelegation": true, "iam.serviceAccounts.signBlob": true, "iam.serviceAccounts.signJwt": true,
	"iam.serviceAccountKeys.create": true, "iam.serviceAccountApiKeyBindings.create": true,
	"iam.roles.create": true, "iam.roles.update": true, "iam.roles.delete": true, "iam.roles.undelete": true,
	"apikeys.keys.create": true, "apikeys.keys.getKeyString": true, "storage.hmacKeys.create": true,
	"container.clusters.getCredentials": true, "cloudbuild.builds.create": true,
	"deploymentmanager.deployments.create": true, "deploymentmanager.deployments.update": true,
	"compute.projects.setCommonInstanceMetadata": true, "orgpolicy.policy.set": true,
	"container.clusterRoles.bind": true, "container.clusterRoles.escalate": true,
	"container.roles.bind": true, "container.roles.escalate": true,
}

// managed are the kinds of resources that give access to whoever they name: to change one is to manage permissions.
var managed = map[string]bool{
	"iam.denypolicies": true, "iam.principalaccessboundarypolicies": true, "iam.policybindings": true,
	"iam.googleapis.com/workloadIdentityPools": true, "iam.googleapis.com/workloadIdentityPoolProviders": true,
	"iam.googleapis.com/workloadIdentityPoolManagedIdentities": true, "iam.googleapis.com/workforcePools": true,
	"iam.googleapis.com/workforcePoolProviders": true, "accesscontextmanager.policies": true, "accesscontextmanager.accessLevels": true,
	"accesscontextmanager.servicePerimeters": true, "orgpolicy.policies": true, "privilegedaccessmanager.entitlements": true,
	"container.clusterRoles": true, "container.roles": true, "container.clusterRoleBindings": true, "container.roleBindings": true,
}

// LevelOf a permission, service.resource.verb, by its verb.
func LevelOf(permission string) level.Level {
	resource, verb := "", permission
	if dot := strings.LastIndexByte(permission, '.'); dot >= 0 {
		resource, verb = permission[:dot], permission[dot+1:]
	}
	of := levelOfVerb(verb)
	switch {
	case manages[permission], managed[resource] && of >= level.Tagging:
		return level.Management
	}
	return of
}

func levelOfVerb(verb string) level.Level {
	switch verb {
	case "setIamPolicy", "createPolicyBinding", "updatePolicyBinding", "deletePolicyBinding", "generateAccessToken",
		"fetchAccessToken", "getAdminKubeconfig":
		return level.Management
	case "createTagBinding", "deleteTagBinding", "setLabels", "setTags", "pscSetLabels", "updateTag", "removeTag":
		return level.Tagging
	case "list", "listAll", "listTagBindings", "listEffectiveTags", "searchAllResources", "searchResources":
		return level.List
	case "use":
		return level.Write // a resource is put to use in another: a network, a key, a disk
	}
	for _, word := range []string{"list", "search"} {
		if begins(verb, word) {
			return level.List
		}
	}
	for _, word := range []string{"get", "read", "view", "fetch", "query", "lookup", "access", "download", "export", "check",
		"describe", "retrieve", "batchGet", "batchRead", "useReadOnly", "sampleRowKeys", "test", "validate", "watch", "show",
		"explain", "preview", "aggregate", "streamingRead", "fullView", "computeAccess", "receive", "subscribe", "consume",
		"analyze", "calculate", "verify", "summarize", "resolve", "evaluate", "poll", "executeSqlReadOnly", "sshRead",
		"sparkApplicationRead", "gitProxyRead", "httpProxyRead"} {
		if begins(verb, word) {
			return level.Read
		}
	}
	return level.Write
}

// begins: with the whole word, not with the beginning of another ("listen" does not begin with "list").
func begins(verb, word string) bool {
	rest, ok := strings.CutPrefix(verb, word)
	return ok && (rest == "" || rest[0] < 'a' || rest[0] > 'z')
}
