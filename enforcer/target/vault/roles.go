package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// roleKind is a role, and which of its settings say how long lives what it
// issues. Fields are in the order in which they are cut: Vault refuses a TTL
// above the longest, so giving back goes the other way.
type roleKind struct {
	kind        string // empty: an AppRole
	mount, role string
	fields      []string
}

func appRole(mount, role string) roleKind {
	return roleKind{mount: mount, role: role, fields: []string{"token_ttl", "token_max_ttl", "token_period"}}
}

func kindOfRole(kind, mount, role string) roleKind {
	switch kind {
	case "pki":
		return roleKind{kind, mount, role, []string{"ttl", "max_ttl"}}
	case "database":
		return roleKind{kind, mount, role, []string{"default_ttl", "max_ttl"}}
	case "token":
		return roleKind{kind, mount, role, []string{"token_explicit_max_ttl", "token_period"}}
	default:
		return appRole(mount, role)
	}
}

func (p previous) kind() roleKind { return kindOfRole(p.Kind, p.Mount, p.Role) }

// path of a role that is no AppRole.
func (k roleKind) path(role string) string {
	if k.kind == "token" {
		return "auth/token/roles/" + role
	}
	return k.mount + "/roles/" + role
}

// at is where a limit is read and written.
func (k roleKind) at(r roleTTL) string {
	if k.kind == "" {
		return r.path(k.mount, k.role)
	}
	return k.path(k.role)
}

func (k roleKind) capability() string {
	if k.kind == "pki" {
		return "patch"
	}
	return "update"
}

// roleKinds are the roles, besides AppRole's, whose TTLs may be corrected.
func (c Config) roleKinds() []roleKind {
	var list []roleKind
	for _, m := range c.RoleTTLs.PKIMounts {
		list = append(list, kindOfRole("pki", m, ""))
	}
	for _, m := range c.RoleTTLs.DatabaseMounts {
		list = append(list, kindOfRole("database", m, ""))
	}
	if c.RoleTTLs.Token {
		list = append(list, kindOfRole("token", "token", ""))
	}
	return list
}

// tokenRole is the token role that a token came from; none, if it came from
// none or such roles are not to be corrected. That of re-issued tokens is the
// enforcer's own.
func (t *Target) tokenRole(d *pb.Decision) roleKind {
	labels := d.GetSubject().GetLabels()
	role := labels["role_name"]
	if !t.cfg.RoleTTLs.Token || labels["mount_type"] != "token" || !plainName(role) || role == t.cfg.Reissue.TokenRole {
		return roleKind{}
	}
	return kindOfRole("token", "token", role)
}

// issuingRole is the role of a lease or certificate, which the path that issued
// it names: MOUNT/creds/ROLE/ID, MOUNT/issue/ROLE/ID, or a label.
func (t *Target) issuingRole(d *pb.Decision) (k roleKind, refused string) {
	sub := d.GetSubject()
	_, id, _ := strings.Cut(d.GetCredential(), "/"+sub.GetType()+"/")
	for _, k := range t.cfg.roleKinds() {
		if k.kind == "token" {
			continue
		}
		for _, verb := range []string{"creds", "issue", "sign"} {
			if rest, ok := strings.CutPrefix(id, k.mount+"/"+verb+"/"); ok && sub.GetType() == "lease" {
				k.role, _, _ = strings.Cut(rest, "/")
			}
		}
		if k.kind == "pki" && sub.GetType() == "certificate" && strings.Trim(sub.GetLabels()["mount_point"], "/") == k.mount {
			k.role = sub.GetLabels()["role_name"]
		}
		if plainName(k.role) {
			return k, ""
		}
	}
	return roleKind{}, "its role is not known, or its mount is not among enforcer.vault.role_ttls"
}

func plainName(role string) bool { return role != "" && !strings.ContainsAny(role, "/?#%\\") }

// planRoleTTLs says how the role would be corrected that issued a lease or a
// certificate. Nothing is delivered: whoever needs one asks for it.
func (t *Target) planRoleTTLs(ctx context.Context, d *pb.Decision) (*pb.Reissue, string, error) {
	k, refused := t.issuingRole(d)
	limit := limitOf(d)
	switch {
	case refused != "":
		return nil, refused, nil
	case limit == 0:
		return nil, "no finding is about how long it lives, and only TTLs of such roles are corrected", nil
	}
	plan := &pb.Reissue{PolicyName: "TTLs of role " + k.path(k.role), GrantedBefore: 1, GrantedAfter: 1}
	if err := t.addRoleTTLs(ctx, k, limit, plan); err != nil || plan.Previous != "" {
		return plan, "", err
	}
	return nil, strings.TrimPrefix(plan.Narrowed, "; "), nil
}

// addRoleTTLs notes in a plan what becomes of a role's TTLs, if they are past
// policy.
func (t *Target) addRoleTTLs(ctx context.Context, k roleKind, limit time.Duration, plan *pb.Reissue) error {
	ttls, err := t.planTTLs(ctx, k, limit)
	switch {
	case status(err, http.StatusNotFound):
		plan.Narrowed += "; role " + k.role + " does not exist any more"
		return nil
	case err != nil:
		return err
	case len(ttls) == 0:
		plan.Narrowed += "; the TTLs of role " + k.role + " are within policy already"
		return nil
	}
	raw, err := json.Marshal(previous{Kind: k.kind, Mount: k.mount, Role: k.role, TTLs: ttls})
	if err != nil {
		return impossible("note the role's TTLs", err)
	}
	plan.Previous = string(raw)
	text := make([]string, len(ttls))
	for i, r := range ttls {
		text[i] = r.String()
	}
	if plan.Narrowed != "" {
		plan.Narrowed += "; "
	}
	plan.Narrowed += "role " + k.path(k.role) + ": " + strings.Join(text, ", ")
	return nil
}

// cutRoleTTLs carries out a plan that is about a role's TTLs alone.
func (t *Target) cutRoleTTLs(ctx context.Context, plan *pb.Reissue) (*pb.Reissue, error) {
	var was previous
	if err := json.Unmarshal([]byte(plan.Previous), &was); err != nil || !slices.Contains([]string{"pki", "database"}, was.Kind) {
		return nil, impossible("correct the role's TTLs", fmt.Errorf("the plan names no role of PKI or of a database"))
	}
	if err := t.cutTTLs(ctx, was); err != nil {
		return nil, err
	}
	return proto.CloneOf(plan), nil
}
