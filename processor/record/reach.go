package record

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/reach"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// usedWithin is how far back the log is asked who used a sensitive thing.
const usedWithin = 30 * 24 * time.Hour

// Around is what paths lead through beside grants: what roles of Vault were seen to give, who was seen to become whom, and
// who used what is sensitive.
type Around struct {
	Roles     []reach.Role
	Seen      []reach.Seen
	Sensitive []reach.Sensitive
	// Used tells of each sensitive thing, by its id, who used it, with the record.
	Used map[string]map[string]string
}

// Reach reads everything that paths lead through; uses of sensitive things are those of the last thirty days.
func Reach(ctx context.Context, conn *store.DB, sensitive []reach.Sensitive, now time.Time) (*reach.Map, *scope.Grants, error) {
	grants := scope.NewGrants()
	if err := LoadGrants(ctx, conn, grants.Put); err != nil {
		return nil, nil, err
	}
	a, err := ReachAround(ctx, conn, sensitive)
	if err == nil {
		a.Used, err = UsersOf(ctx, conn, sensitive, now)
	}
	if err != nil {
		return nil, nil, err
	}
	return a.Map(grants), grants, nil
}

// ReachAround reads all but who used what.
func ReachAround(ctx context.Context, conn *store.DB, sensitive []reach.Sensitive) (a Around, err error) {
	a.Sensitive = sensitive
	var listed []*pb.Grant
	if err := loadGrants(ctx, conn, `WHERE startsWith(id, 'vault/') AND position(id, '/role/auth/') > 0`, func(g *pb.Grant) bool {
		listed = append(listed, g)
		return true
	}); err != nil {
		return a, err
	}
	roles, err := vaultRoles(ctx, conn)
	if err != nil {
		return a, err
	}
	a.Roles = withListed(roles, listed)
	a.Seen, err = seenBecoming(ctx, conn)
	return a, err
}

// UsersOf gives for each sensitive thing, by its id, the principals that used it within the last thirty days.
func UsersOf(ctx context.Context, conn *store.DB, sensitive []reach.Sensitive, now time.Time) (map[string]map[string]string, error) {
	used := map[string]map[string]string{}
	for _, s := range sensitive {
		users, err := usersOf(ctx, conn, s, now.Add(-usedWithin))
		if err != nil {
			return nil, err
		}
		used[s.ID] = users
	}
	return used, nil
}

// Map of it all.
func (a *Around) Map(grants *scope.Grants) *reach.Map {
	m := reach.NewMap(grants, a.Roles, a.Seen, a.Sensitive)
	m.Used = func(principal string, s reach.Sensitive) string { return a.Used[s.ID][principal] }
	return m
}

// Told is all of it but the evidence, in an order of its own: it changes when an answer may.
func (a *Around) Told() string {
	var lines []string
	for _, r := range a.Roles {
		lines = append(lines, fmt.Sprintf("role %q %q %q %q %q", r.Instance, r.Mount, r.Type, r.Name, r.Policies))
	}
	for _, s := range a.Seen {
		lines = append(lines, fmt.Sprintf("seen %q %q", s.From, s.To))
	}
	for _, s := range a.Sensitive {
		lines = append(lines, fmt.Sprintf("sensitive %q", s))
	}
	for id, users := range a.Used {
		for user := range users {
			lines = append(lines, fmt.Sprintf("used %q %q", id, user))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// SensitiveOf gives the sensitive things of a catalog; nil has none.
func SensitiveOf(cat *catalog.Catalog) (out []reach.Sensitive) {
	if cat == nil {
		return nil
	}
	for _, s := range cat.Sensitive() {
		out = append(out, reach.Sensitive{ID: s.ID, Name: s.Name, System: s.System, Instance: s.Instance, Resource: s.Resource,
			Permissions: s.Permissions, Opens: s.Opens})
	}
	return out
}

// vaultRoles gives the roles by which tokens were issued, with what the newest token of each has.
func vaultRoles(ctx context.Context, conn *store.DB) (out []reach.Role, err error) {
	rows, err := conn.Query(ctx, `SELECT instance, labels['mount_point'] AS mount, any(labels['mount_type']), labels['role_name'] AS role,
		argMax(policies, coalesce(issued_at, first_seen_at)), argMax(credential, coalesce(issued_at, first_seen_at))
		FROM credentials FINAL WHERE source = 'vault' AND type = 'token' AND mount != '' AND role != '' GROUP BY instance, mount, role`)
	if err != nil {
		return nil, fmt.Errorf("read roles of Vault: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r reach.Role
		var newest string
		if err := rows.Scan(&r.Instance, &r.Mount, &r.Type, &r.Name, &r.Policies, &newest); err != nil {
			return nil, fmt.Errorf("read roles of Vault: %w", err)
		}
		if r.Mount == "auth/token/" {
			r.Type = "token"
		}
		slices.Sort(r.Policies)
		r.Evidence = "its newest token has these policies: " + newest
		out = append(out, r)
	}
	return out, rows.Err()
}

// withListed adds the roles that Vault's inventory knows and no token shows, and drops those that it knows to be deleted. Where
// both know a role the newest token stays: it also has what its entity adds.
func withListed(roles []reach.Role, listed []*pb.Grant) []reach.Role {
	known := map[string]bool{}
	for _, r := range roles {
		known[r.Instance+"/"+r.Mount+r.Name] = true
	}
	deleted := map[string]bool{}
	for _, g := range listed {
		key, err := schemas.ParseKey(g.Id)
		at := strings.LastIndexByte(key.ID, '/')
		if err != nil || key.Type != "role" || at < 0 {
			continue
		}
		r := reach.Role{Instance: key.Instance, Mount: key.ID[:at+1], Type: "approle", Name: key.ID[at+1:], Evidence: "Vault's inventory: role " + key.ID}
		for _, setting := range g.GetRules() {
			for _, text := range setting.Capabilities {
				if kind, ok := strings.CutPrefix(text, "mount_type=auth/"); ok {
					r.Type = kind
				}
			}
		}
		if r.Mount == "auth/token/" {
			r.Type = "token"
		}
		id := r.Instance + "/" + r.Mount + r.Name
		if deleted[id] = g.Deleted; g.Deleted || known[id] {
			continue
		}
		for _, a := range g.Attached {
			r.Policies = append(r.Policies, strings.TrimPrefix(a.Grant, key.System+"/"+key.Instance+"/policy/"))
		}
		slices.Sort(r.Policies)
		roles = append(roles, r)
	}
	return slices.DeleteFunc(roles, func(r reach.Role) bool { return deleted[r.Instance+"/"+r.Mount+r.Name] })
}

// seenBecoming gives the principals for which credentials were made with a credential of another principal.
func seenBecoming(ctx context.Context, conn *store.DB) (out []reach.Seen, err error) {
	rows, err := conn.Query(ctx, `SELECT parent.principal, child.principal, argMax(child.credential, child.issued_at), max(child.issued_at)
		FROM credentials AS child FINAL INNER JOIN credentials AS parent FINAL ON child.parent = parent.credential
		WHERE child.parent != '' AND child.principal != '' AND parent.principal != '' AND child.principal != parent.principal
		GROUP BY parent.principal, child.principal`)
	if err != nil {
		return nil, fmt.Errorf("read who became whom: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s reach.Seen
		var credential string
		var at *time.Time
		if err := rows.Scan(&s.From, &s.To, &credential, &at); err != nil {
			return nil, fmt.Errorf("read who became whom: %w", err)
		}
		s.Evidence = "made " + credential
		if at != nil {
			s.Evidence += " at " + at.UTC().Format(time.RFC3339)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// usersOf gives the principals that used a sensitive thing, each with the newest record of it.
func usersOf(ctx context.Context, conn *store.DB, s reach.Sensitive, since time.Time) (map[string]string, error) {
	var permissions []string
	for _, p := range s.Permissions {
		permissions = append(permissions, strings.ToLower(p))
	}
	rows, err := conn.Query(ctx, `SELECT principal, argMax(record_id, occurred_at), max(occurred_at) FROM events
		WHERE kind = 'USED' AND source = ? AND instance = ? AND principal != '' AND occurred_at > ?
		AND lower(splitByChar(' ', permission)[1]) IN (?) AND resource LIKE ? GROUP BY principal`,
		s.System, s.Instance, since, permissions, like(s.Resource))
	if err != nil {
		return nil, fmt.Errorf("read who used %s: %w", s.ID, err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var principal, id string
		var at time.Time
		if err := rows.Scan(&principal, &id, &at); err != nil {
			return nil, fmt.Errorf("read who used %s: %w", s.ID, err)
		}
		out[reach.Canonical(principal)] = fmt.Sprintf("record %s of %s", id, at.UTC().Format(time.RFC3339))
	}
	return out, rows.Err()
}

// like writes a pattern with * as one of LIKE.
func like(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(pattern)
}
