package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// roleKind is how the roles of one kind of mount are reached, and what of them is told: what says how long that lives which
// they issue, what it may do, and what binds it. No setting that is named here can hold a secret.
type roleKind struct {
	list, role string // below the mount
	policies   string // the setting that names policies of what it issues; empty: it names none
	settings   []string
}

// loginSettings are those that the roles of all auth methods have in common.
var loginSettings = []string{"token_explicit_max_ttl", "token_max_ttl", "token_no_default_policy", "token_num_uses", "token_period", "token_ttl",
	"token_type", "token_bound_cidrs"}

func login(list, role string, settings ...string) roleKind {
	return roleKind{list, role, "token_policies", append(slices.Clone(loginSettings), settings...)}
}

// roleKinds by auth/TYPE of an auth method and TYPE of a secrets engine
// (https://developer.hashicorp.com/vault/api-docs/auth, https://developer.hashicorp.com/vault/api-docs/secret).
var roleKinds = map[string]roleKind{
	"auth/token": {"roles", "roles", "allowed_policies", []string{"allowed_policies_glob", "disallowed_policies", "disallowed_policies_glob", "orphan",
		"renewable", "token_explicit_max_ttl", "token_period", "token_type", "token_bound_cidrs", "token_num_uses"}},
	"auth/approle":    login("role", "role", "bind_secret_id", "secret_id_ttl", "secret_id_bound_cidrs", "secret_id_num_uses"),
	"auth/jwt":        login("role", "role", "role_type", "bound_audiences", "bound_subject", "bound_claims", "user_claim"),
	"auth/oidc":       login("role", "role", "role_type", "bound_audiences", "bound_subject", "bound_claims", "user_claim"),
	"auth/kubernetes": login("role", "role", "bound_service_account_names", "bound_service_account_namespaces", "audience"),
	"auth/azure":      login("role", "role", "bound_service_principal_ids", "bound_group_ids", "bound_subscription_ids"),
	"auth/aws":        login("roles", "role", "auth_type", "bound_iam_principal_arn", "bound_iam_role_arn", "bound_account_id"),
	"auth/gcp":        login("roles", "role", "type", "bound_service_accounts", "bound_projects"),
	"auth/cert":       login("certs", "certs", "allowed_common_names", "allowed_dns_sans", "allowed_uri_sans"),
	"pki": {"roles", "roles", "", []string{"ttl", "max_ttl", "not_after", "no_store", "allow_any_name", "allow_subdomains", "allow_glob_domains",
		"allowed_domains", "allowed_uri_sans"}},
	"database":   {"roles", "roles", "", []string{"db_name", "credential_type", "default_ttl", "max_ttl"}},
	"aws":        {"roles", "roles", "", []string{"credential_type", "policy_arns", "role_arns", "iam_groups", "permissions_boundary_arn", "default_sts_ttl", "max_sts_ttl"}},
	"azure":      {"roles", "roles", "", []string{"application_object_id", "ttl", "max_ttl"}},
	"kubernetes": {"roles", "roles", "", []string{"allowed_kubernetes_namespaces", "service_account_name", "kubernetes_role_name", "token_default_ttl", "token_max_ttl"}},
}

// mounts are those whose roles are listed: path without a slash at its end (auth/approle, pki) to kind.
type mounts map[string]string

// configured are the mounts that are known without asking.
func (i *inventory) configured() mounts {
	out := mounts{"auth/token": "auth/token"}
	for _, mount := range i.cfg.AppRoleMounts {
		out["auth/"+mount] = "auth/approle"
	}
	return out
}

// under gives the mount of a path; of nested ones the longest.
func (m mounts) under(path string) (mount string) {
	for one := range m {
		if strings.HasPrefix(path, one+"/") && len(one) > len(mount) {
			mount = one
		}
	}
	return mount
}

// roleGrant is a role as a grant: the policies that its tokens get are attached, and its settings stand as NAME=VALUE, sorted,
// in the one rule, whose resource is the role's path. Its id is system/instance/role/MOUNT/NAME; nothing looks for what
// a credential may do under such an id.
func (i *inventory) roleGrant(kind, mount, name string, data map[string]any) *leastwisev1.Grant {
	grant := &leastwisev1.Grant{Id: i.roleID(mount, name)}
	if data == nil {
		grant.Deleted = true
		return grant
	}
	of := roleKinds[kind]
	names := list(data[of.policies])
	slices.Sort(names)
	for _, policy := range slices.Compact(names) {
		grant.Attached = append(grant.Attached, &leastwisev1.Attachment{Grant: i.policyID(policy)})
	}
	rule := settingsRule(rolePath(kind, mount, name), of.settings, data)
	if kind != "auth/token" && kind != "auth/approle" { // their paths tell
		rule.Capabilities = append(rule.Capabilities, "mount_type="+kind)
		slices.Sort(rule.Capabilities)
	}
	grant.Rules = []*leastwisev1.Rule{rule}
	return grant
}

// settingsRule holds settings that are set, as NAME=VALUE.
func settingsRule(resource string, names []string, data map[string]any) *leastwisev1.Rule {
	rule := &leastwisev1.Rule{Resource: resource}
	for _, setting := range names {
		value, there := data[setting]
		if !there || value == nil {
			continue
		}
		text := fmt.Sprint(value)
		if values, several := value.([]any); several {
			if len(values) == 0 {
				continue
			}
			text = strings.Join(list(values), ",")
		}
		if text != "" && text != "0" && text != "false" && text != "map[]" {
			rule.Capabilities = append(rule.Capabilities, setting+"="+cleanText([]byte(text), maxLabel))
		}
	}
	slices.Sort(rule.Capabilities)
	return rule
}

func (i *inventory) id(kind, name string) string {
	return schemas.Key{System: System, Instance: i.collector.cfg.Instance, Type: kind, ID: name}.String()
}

func (i *inventory) roleID(mount, name string) string { return i.id("role", mount+"/"+name) }

func (i *inventory) policyID(name string) string { return i.id("policy", name) }

func rolePath(kind, mount, name string) string {
	return mount + "/" + roleKinds[kind].role + "/" + name
}

// readRole publishes one role, and compares it with what it was.
func (i *inventory) readRole(ctx context.Context, kind, mount, name string) (map[string]any, error) {
	data, err := i.vault.read(ctx, rolePath(kind, mount, name))
	if err != nil {
		return nil, err
	}
	grant := i.roleGrant(kind, mount, name, data)
	for _, a := range grant.Attached {
		i.noticePolicies([]string{strings.TrimPrefix(a.Grant, i.policyID(""))})
	}
	if roleKinds[kind].policies != "" && data != nil {
		i.noticePolicies([]string{"default"}) // most tokens get it beside
	}
	return data, i.tell(ctx, grant)
}

// readMounts finds the mounts that issue by roles, and publishes how long each lets live what it issues. Those of the
// configuration are read even if it may not ask which there are.
func (i *inventory) readMounts(ctx context.Context) (mounts, error) {
	found := i.configured()
	all := mounts{}
	var errs []error
	for _, at := range []string{"auth", "mounts"} {
		data, err := i.vault.read(ctx, "sys/"+at)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		prefix := ""
		if at == "auth" {
			prefix = "auth/"
		}
		for path, v := range data {
			of, _ := v.(map[string]any)
			path, kind := prefix+strings.Trim(path, "/"), prefix+text(of["type"])
			all[path] = kind
			if roleKinds[kind].role != "" {
				found[path] = kind
			}
		}
	}
	for _, mount := range slices.Sorted(maps.Keys(found)) {
		if len(errs) == 0 && all[mount] == "" {
			delete(found, mount) // of the configuration, and not there
			continue
		}
		if err := i.readMount(ctx, mount); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = append(errs, i.forgetMounts(ctx, found))
	}
	i.mounts.Store(&found)
	return found, errors.Join(errs[:min(len(errs), maxItemsOfTrouble)]...)
}

// readMount publishes the longest that anything issued at a mount can live, with the server's own maximum where the mount
// sets none. Its id is system/instance/mount/PATH.
func (i *inventory) readMount(ctx context.Context, mount string) error {
	data, err := i.vault.read(ctx, "sys/mounts/"+mount+"/tune")
	if err != nil || data == nil {
		return err
	}
	return i.tell(ctx, &leastwisev1.Grant{Id: i.id("mount", mount),
		Rules: []*leastwisev1.Rule{settingsRule("sys/mounts/"+mount+"/tune", []string{"default_lease_ttl", "max_lease_ttl"}, data)}})
}

// forgetMounts tells that mounts are gone, and their roles with them.
func (i *inventory) forgetMounts(ctx context.Context, there mounts) error {
	for _, id := range i.drift.under(i.id("mount", "")) {
		if there[strings.TrimPrefix(id, i.id("mount", ""))] == "" {
			if err := i.tell(ctx, &leastwisev1.Grant{Id: id, Deleted: true}); err != nil {
				return err
			}
		}
	}
	for _, id := range i.drift.under(i.id("role", "")) {
		if there.under(strings.TrimPrefix(id, i.id("role", ""))) == "" {
			if err := i.tell(ctx, &leastwisev1.Grant{Id: id, Deleted: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// readRoles publishes all roles of all mounts, and those that are gone since the last round. What it may not list it names,
// and goes on with the rest.
func (i *inventory) readRoles(ctx context.Context) error {
	found, err := i.readMounts(ctx)
	errs := []error{err}
	for _, mount := range slices.Sorted(maps.Keys(found)) {
		if err := i.readRolesOf(ctx, found[mount], mount); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs[:min(len(errs), maxItemsOfTrouble)]...)
}

func (i *inventory) readRolesOf(ctx context.Context, kind, mount string) error {
	names, err := i.vault.list(ctx, mount+"/"+roleKinds[kind].list, false)
	if err != nil {
		return err
	}
	orphans := make(map[string]bool, len(names))
	there := map[string]bool{}
	for _, name := range names {
		there[i.roleID(mount, name)] = true
		data, err := i.readRole(ctx, kind, mount, name)
		if err != nil {
			return err
		}
		if data != nil {
			orphans[name], _ = data["orphan"].(bool)
		}
		if kind == "auth/approle" {
			if err := i.readSecretIDs(ctx, mount, name, data); err != nil {
				return err
			}
		}
	}
	if mount == "auth/token" {
		i.orphans.Store(&orphans)
	}
	for _, id := range i.drift.under(i.roleID(mount, "")) {
		name := strings.TrimPrefix(id, i.roleID(mount, ""))
		if !there[id] && !strings.Contains(name, "/") {
			if err := errors.Join(i.tell(ctx, i.roleGrant(kind, mount, name, nil)), i.readSecretIDs(ctx, mount, name, nil)); err != nil {
				return err
			}
		}
	}
	return nil
}

// roleChangedBy is the id of the role or mount that a write to path changes, or of a role's secret ids; empty: none.
func (i *inventory) roleChangedBy(path string) string {
	known := *i.mounts.Load()
	for _, prefix := range [...]string{"sys/mounts/", "sys/auth/"} {
		if mount, ok := strings.CutPrefix(path, prefix); ok {
			mount, tuned := strings.CutSuffix(mount, "/tune")
			if prefix == "sys/auth/" {
				mount = "auth/" + mount
			}
			if tuned && known[mount] != "" {
				return i.id("mount", mount)
			}
			return ""
		}
	}
	mount := known.under(path)
	if mount == "" {
		return ""
	}
	name, ok := strings.CutPrefix(path, mount+"/"+roleKinds[known[mount]].role+"/")
	name, part, nested := strings.Cut(name, "/")
	switch {
	case !ok || name == "":
		return ""
	case nested && known[mount] != "auth/approle":
		return ""
	case part == "role-id":
		return ""
	// Secret ids come and go; they are no settings of the role.
	case part == "secret-id" || part == "custom-secret-id" || strings.HasPrefix(part, "secret-id/") || strings.HasPrefix(part, "secret-id-accessor/"):
		if i.cfg.SecretIDs {
			return i.id("secret_id", strings.TrimPrefix(mount, "auth/")+"/"+name)
		}
		return ""
	}
	return i.roleID(mount, name)
}
