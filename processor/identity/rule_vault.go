package identity

import (
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// vaultAliases: an entity of Vault is the set of its aliases, each unique within its auth mount
// (https://developer.hashicorp.com/vault/docs/concepts/identity#entities-and-aliases). Which name becomes the alias is
// the method's choice: AppRole takes the role's id, so entity and role are one
// (https://developer.hashicorp.com/vault/docs/concepts/identity#mount-bound-aliases). Of the AWS method, the alias is the
// role unless configured otherwise (https://developer.hashicorp.com/vault/api-docs/auth/aws#iam_alias): that it named an
// ARN is shown, and merges only if the alias itself is the ARN. What the token method carries in metadata, whoever made
// the token wrote.
func vaultAliases(r *reading) {
	_, instance, kind, _, ok := split(r.ev.Principal)
	if !ok || kind != "entity" || !strings.HasPrefix(r.ev.Principal, "vault/") {
		return
	}
	entity, mount := r.ev.Principal, mountOf(r.ev.Labels)
	if alias := r.label("entity_alias"); alias != "" && mount != "" {
		node := Node(key("vault", instance, "alias", mount+"/"+alias))
		if isName(alias) {
			node = Node(key("vault", instance, "alias", alias))
		}
		r.link(pb.Link_SAME_AS, entity, node, pb.Link_PROVEN, "Vault keeps alias %s of %s with the entity", alias, mount)
	}
	if r.ev.Kind != pb.Event_ISSUED && r.ev.Kind != pb.Event_OBSERVED && !aliasGone(r.ev) || mount == "" || mount == "auth/token" {
		return
	}
	if role := r.label("role_name"); role != "" && r.label("mount_type") == "approle" {
		r.link(pb.Link_SAME_AS, entity, roleNode(instance, mount, role), pb.Link_PROVEN,
			"Vault issued to the entity through role %s of %s, and AppRole has one entity a role", role, mount)
	}
	for name, value := range r.ev.Labels {
		if !strings.HasPrefix(name, "meta.") || !isName(value) {
			continue
		}
		confidence := pb.Link_PROVEN
		if strings.HasPrefix(value, "arn:") {
			confidence = pb.Link_INFERRED
		}
		r.link(pb.Link_SAME_AS, entity, key("vault", instance, "alias", value), confidence,
			"Vault verified %s at the login through %s", value, mount)
	}
}

// aliasGone is whether an event tells that an alias was deleted, or went to another entity. It bears what the logins
// through it told, all of which held by the alias: every link that the rules make of it is taken back.
func aliasGone(ev *pb.Event) bool {
	return ev.Kind == pb.Event_REVOKED && ev.Source == "vault" && ev.Labels["entity_alias"] != ""
}

// isName is whether a text is a name that is unique wherever it is seen.
func isName(text string) bool {
	return strings.HasPrefix(text, "spiffe://") || strings.HasPrefix(text, "arn:aws")
}

// roleNode is a role of an auth mount; roleOf is its inverse.
func roleNode(instance, mount, role string) string {
	return key("vault", instance, "role", mount+":"+role)
}

// RoleNode names the node of a role of an auth mount (auth/NAME).
func RoleNode(instance, mount, role string) string { return roleNode(instance, mount, role) }

func roleOf(node string) (mount, role string, ok bool) {
	system, _, kind, id, valid := split(node)
	if !valid || system != "vault" || kind != "role" {
		return "", "", false
	}
	return strings.Cut(id, ":")
}

// mountOf is the auth mount that a token was issued through, as auth/NAME; empty if the labels name none.
func mountOf(labels map[string]string) string {
	mount := strings.Trim(labels["mount_point"], "/")
	if mount == "" {
		if path, _, login := strings.Cut(labels["path"], "/login"); login {
			mount = strings.Trim(path, "/")
		}
	}
	if mount == "" {
		return ""
	}
	return "auth/" + strings.TrimPrefix(mount, "auth/")
}
