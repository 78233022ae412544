// Package rightsize proposes the scope that observed use justifies, shows what it would have refused, and writes it in the
// issuer's own language.
//
// A proposal never grants what is not granted now: each permission that was used stays, on the narrowest part of a granted
// pattern that covers what it was used on. A wildcard stays only where use varied. What is not known (a call whose resource
// no record tells, more resources than are looked at) keeps the granted pattern whole. Nothing here blocks or changes
// anything.
package rightsize

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/iam"
	"github.com/leastwise/leastwise/processor/scope/level"
)

// Use is one permission used on one resource.
type Use struct {
	// Permission as the scope counts it: a capability of Vault, an action of AWS, a permission of GCP.
	Permission string `json:"permission"`
	// Resource is a path, an ARN or a full resource name; empty if no record tells.
	Resource string    `json:"resource"`
	Count    uint64    `json:"count"`
	LastAt   time.Time `json:"last_at"`
}

// Proposal is what would be granted in place of what is.
type Proposal struct {
	System string       `json:"system"`
	Rules  []scope.Rule `json:"rules"`
	// Unjustified are uses of permissions that are not granted (any more): no proposal gives them.
	Unjustified []Use `json:"unjustified"`
}

// Propose narrows what is granted to what was used.
func Propose(system string, granted *scope.Powers, uses []Use) *Proposal {
	p := &Proposal{System: system, Rules: []scope.Rule{}, Unjustified: []Use{}}
	byPermission := map[string][]Use{}
	var calls []scope.Call
	for _, use := range uses {
		if granted.On(use.Permission, use.Resource) == level.No {
			p.Unjustified = append(p.Unjustified, use)
			continue
		}
		byPermission[use.Permission] = append(byPermission[use.Permission], use)
		calls = append(calls, scope.Call{Capability: use.Permission, Path: use.Resource})
	}
	if system == "vault" {
		p.Rules = scope.Narrow(granted.Rules, calls)
		return p
	}
	on := map[string][]string{} // permissions by resource
	for _, permission := range slices.Sorted(maps.Keys(byPermission)) {
		for _, resource := range narrowed(system, granted.Places(permission), byPermission[permission]) {
			on[resource] = append(on[resource], permission)
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(on)) {
		p.Rules = append(p.Rules, scope.Rule{Resource: resource, Capabilities: on[resource]})
	}
	return p
}

// narrowed gives the parts of granted patterns that cover the uses, each once, sorted.
func narrowed(system string, patterns []string, uses []Use) []string {
	out := map[string]bool{}
	for _, pattern := range patterns {
		var on []string
		whole := false
		for _, use := range uses {
			switch {
			case use.Resource == "":
				whole = true
			case system == "gcpaudit" || iam.Match(pattern, use.Resource):
				on = append(on, use.Resource)
			}
		}
		switch {
		case whole, system == "gcpaudit" && len(on) > 0:
			out[pattern] = true // a role of GCP is bound on a resource, whatever below it was used; On has said that it holds
		case len(on) > 0:
			out[within(pattern, on)] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// within a pattern: the one resource that was used, or the folder of all of them where the pattern is a prefix.
func within(pattern string, resources []string) string {
	slices.Sort(resources)
	if resources = slices.Compact(resources); len(resources) == 1 {
		return resources[0]
	}
	prefix, wild := strings.CutSuffix(pattern, "*")
	folder := scope.Common(resources)
	if !wild || strings.ContainsAny(prefix, "*?") || len(folder) <= len(prefix) {
		return pattern
	}
	return folder + "*"
}

// Refused replays uses against a narrower scope: those that are less sure to be let through than they were, the most
// frequent first.
func Refused(before, after *scope.Powers, uses []Use) []Use {
	out := []Use{}
	for _, use := range uses {
		if after.On(use.Permission, use.Resource) < before.On(use.Permission, use.Resource) {
			out = append(out, use)
		}
	}
	slices.SortStableFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Permission, b.Permission), cmp.Compare(a.Resource, b.Resource))
	})
	return out
}

// Powers of the proposal, for Refused and for the question what could be reached with it.
func (p *Proposal) Powers() *scope.Powers { return scope.PowersOf(p.System, p.Rules) }
