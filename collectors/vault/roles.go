package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// roleSettings of each kind of role are what says how long its tokens live and what binds them.
var roleSettings = map[string][]string{
	"approle": {"bind_secret_id", "secret_id_ttl", "token_explicit_max_ttl", "token_max_ttl", "token_no_default_policy", "token_num_uses",
		"token_period", "token_ttl", "token_type", "secret_id_bound_cidrs", "token_bound_cidrs", "secret_id_num_uses"},
	"token": {"allowed_policies_glob", "disallowed_policies", "disallowed_policies_glob", "orphan", "renewable", "token_explicit_max_ttl",
		"token_period", "token_type", "token_bound_cidrs", "token_num_uses"},
}

// roleGrant is a role as a grant: the policies that its tokens get are attached, and its settings stand as NAME=VALUE, sorted,
// in the one rule, whose resource is the role's path. Its id is system/instance/role/auth/MOUNT/NAME; nothing looks for what
// a credential may do under such an id.
func (i *inventory) roleGrant(kind, mount, name string, data map[string]any) *leastwisev1.Grant {
	grant := &leastwisev1.Grant{Id: i.roleID(mount, name)}
	if data == nil {
		grant.Deleted = true
		return grant
	}
	names := list(data["token_policies"])
	if kind == "token" {
		names = list(data["allowed_policies"])
	}
	slices.Sort(names)
	for _, policy := range slices.Compact(names) {
		grant.Attached = append(grant.Attached, &leastwisev1.Attachment{Grant: i.policyID(policy)})
	}
	rule := &leastwisev1.Rule{Resource: rolePath(kind, mount, name)}
	for _, setting := range roleSettings[kind] {
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
		if text != "" && text != "0" && text != "false" {
			rule.Capabilities = append(rule.Capabilities, setting+"="+cleanText([]byte(text), maxLabel))
		}
	}
	slices.Sort(rule.Capabilities)
	grant.Rules = []*leastwisev1.Rule{rule}
	return grant
}

func (i *inventory) roleID(mount, name string) string {
	return schemas.Key{System: System, Instance: i.collector.cfg.Instance, Type: "role", ID: "auth/" + mount + "/" + name}.String()
}

func (i *inventory) policyID(name string) string {
	return schemas.Key{System: System, Instance: i.collector.cfg.Instance, Type: "policy", ID: name}.String()
}

func rolePath(kind, mount, name string) string {
	if kind == "token" {
		return "auth/" + mount + "/roles/" + name
	}
	return "auth/" + mount + "/role/" + name
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
	return data, i.tell(ctx, grant)
}

// readAppRoles publishes all roles of the AppRole mounts, and those that are gone since the last round.
func (i *inventory) readAppRoles(ctx context.Context) error {
	for _, mount := range i.cfg.AppRoleMounts {
		names, err := i.vault.list(ctx, "auth/"+mount+"/role", false)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, name := range names {
			there[i.roleID(mount, name)] = true
			if _, err := i.readRole(ctx, "approle", mount, name); err != nil {
				return err
			}
		}
		for _, id := range i.drift.under(i.roleID(mount, "")) {
			name := strings.TrimPrefix(id, i.roleID(mount, ""))
			if !there[id] && !strings.Contains(name, "/") {
				if err := i.tell(ctx, i.roleGrant("approle", mount, name, nil)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
