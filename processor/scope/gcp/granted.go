package gcp

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Binding is a role given on a resource.
type Binding struct {
	Role string
	// Rules of a custom role, or of a predefined one that was told anew; nil: the list's.
	Rules       []*pb.Rule
	Resource    string
	Conditional bool
}

// Granted is what bindings give together. It is never changed.
type Granted struct {
	permissions []permission // sorted by name
	bindings    []Binding
}

type permission struct {
	name        string
	conditional bool
	known       bool
	reach       level.Reach
}

// Evaluate gives what bindings grant, deny rules taken away, and the roles of which nothing is known.
func Evaluate(bindings []Binding, denies []*pb.Rule) (g *Granted, missing []string) {
	all := map[string]permission{}
	for _, b := range bindings {
		own, ok := b.permissions()
		if !ok {
			missing = append(missing, b.Role)
			continue
		}
		reach := ReachOf(b.Resource)
		for _, name := range own {
			if denied(denies, name, b.Resource) {
				continue
			}
			p, again := all[name]
			if !again {
				p.name, p.known = known(name)
				p.conditional = true
			}
			p.conditional, p.reach = p.conditional && b.Conditional, max(p.reach, reach)
			all[p.name] = p
		}
	}
	g = &Granted{bindings: bindings, permissions: make([]permission, 0, len(all))}
	for _, p := range all {
		g.permissions = append(g.permissions, p)
	}
	slices.SortFunc(g.permissions, func(a, b permission) int { return strings.Compare(a.name, b.name) })
	slices.Sort(missing)
	return g, slices.Compact(missing)
}

func (b Binding) permissions() ([]string, bool) {
	if b.Rules == nil {
		return Predefined(b.Role)
	}
	var out []string
	for _, rule := range b.Rules {
		out = append(out, rule.Actions...)
	}
	return out, true
}

func (b Binding) has(name string) bool {
	if b.Rules == nil {
		at, ok := slices.BinarySearch(roles().permissions, name)
		if !ok {
			return false
		}
		_, has := slices.BinarySearch(roles().roles[b.Role], uint16(at))
		return has
	}
	return slices.ContainsFunc(b.Rules, func(r *pb.Rule) bool { return slices.Contains(r.Actions, name) })
}

// denied: by a rule of a deny policy without condition, on all resources or on the very one that the role is bound on.
// Any other leaves the permission granted somewhere or sometimes.
func denied(rules []*pb.Rule, name, resource string) bool {
	for _, rule := range rules {
		if !rule.Deny || rule.Conditional || len(rule.Resources) > 0 && !slices.Contains(rule.Resources, resource) && !slices.Contains(rule.Resources, "*") {
			continue
		}
		match := func(pattern string) bool { return matches(pattern, name) }
		if slices.ContainsFunc(rule.Actions, match) && !slices.ContainsFunc(rule.NotActions, match) {
			return true
		}
	}
	return false
}

// matches a permission as deny policies write it, storage.googleapis.com/buckets.delete, with * for all of a part
// (https://cloud.google.com/iam/docs/deny-permissions-support).
func matches(pattern, name string) bool {
	pattern, name = strings.Replace(pattern, ".googleapis.com/", ".", 1), strings.Replace(name, ".googleapis.com/", ".", 1)
	if pattern == name || pattern == "*" {
		return true
	}
	if !strings.Contains(pattern, "*") {
		return false
	}
	want, have := strings.Split(pattern, "."), strings.Split(name, ".")
	for i, part := range want {
		switch {
		case part == "*" && i == len(want)-1:
			return i < len(have)
		case i >= len(have) || part != "*" && part != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// ReachOf a role that is bound on a resource: on a project, a folder or an organization it reaches all of it, and so on
// a resource that is not told.
func ReachOf(resource string) level.Reach {
	path := resource
	if after, ok := strings.CutPrefix(path, "//"); ok {
		_, path, _ = strings.Cut(after, "/")
	}
	kind, name, _ := strings.Cut(path, "/")
	switch kind {
	case "projects", "folders", "organizations":
		if !strings.Contains(name, "/") {
			return level.All
		}
	case "", "*":
		return level.All
	}
	if strings.Contains(path, "*") {
		return level.Prefix
	}
	return level.One
}

// Figures sum up what is granted.
func (g *Granted) Figures() (f level.Figures) {
	for _, p := range g.permissions {
		f.Add(LevelOf(p.name), p.reach, p.conditional, p.known)
	}
	return f
}

// Names of what is granted without and only under conditions, sorted, without the unknown; never nil.
func (g *Granted) Names() (allow, conditional []string) {
	allow, conditional = []string{}, []string{}
	for _, p := range g.permissions {
		switch {
		case !p.known:
		case p.conditional:
			conditional = append(conditional, p.name)
		default:
			allow = append(allow, p.name)
		}
	}
	return allow, conditional
}

// Unknown gives the permissions granted that no predefined role has, sorted.
func (g *Granted) Unknown() []string {
	out := []string{}
	for _, p := range g.permissions {
		if !p.known {
			out = append(out, p.name)
		}
	}
	return out
}

// Used tells which of what is granted the calls needed. Calls are named by permission.
func (g *Granted) Used(calls []string) []level.Use {
	uses := map[string][]string{}
	for _, call := range calls {
		if !g.grants(call) {
			continue
		}
		var resources []string
		for _, b := range g.bindings {
			if b.has(call) {
				resources = append(resources, b.Resource)
			}
		}
		uses[call] = resources
	}
	return level.Sorted(uses)
}

// CountUsed counts what Used lists.
func (g *Granted) CountUsed(calls []string) int {
	uses := make(map[string]bool, len(calls))
	for _, call := range calls {
		if g.grants(call) {
			uses[call] = true
		}
	}
	return len(uses)
}

func (g *Granted) grants(name string) bool {
	_, ok := slices.BinarySearchFunc(g.permissions, name, func(p permission, name string) int { return strings.Compare(p.name, name) })
	return ok
}
