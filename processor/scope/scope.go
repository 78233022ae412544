// Package scope says in figures what a credential may do, and what of it was used. The measure is described in
// docs/scope.md.
//
// A permission is a Vault capability on one path pattern, an AWS action, a GCP permission. The scope of a Vault token is
// the union of its policies' rules, a deny taking away the whole pattern, as Vault merges them; that of a cloud
// credential is what its principal is granted (see cloud.go). Unknown is unknown: a policy that was not fetched, or whose
// rules are not complete, makes the scope unknown.
package scope

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// weights of Vault's capabilities: what one permission adds to the weight of a scope. A capability on a path that manages
// permissions weighs as management.
var weights = map[string]float64{"list": 1, "read": 2, "subscribe": 2, "create": 4, "update": 4, "patch": 4, "recover": 4, "delete": 5, "sudo": 10}

// levels of Vault's capabilities, apart from paths that manage permissions.
var levels = map[string]level.Level{"list": level.List, "read": level.Read, "subscribe": level.Read, "create": level.Write,
	"update": level.Write, "patch": level.Write, "recover": level.Write, "delete": level.Write, "sudo": level.Management}

// Scope is what a set of policies permits. It is shared and never changed.
type Scope struct {
	// Known tells that every policy was fetched and understood; Why says what is missing otherwise.
	Known bool
	Why   string
	// Rules are sorted by resource, with sorted capabilities, without denied patterns. Vault only.
	Rules []Rule
	level.Figures

	// cloud is nil for Vault.
	cloud granted
}

// granted is what a cloud grants: *iam.Granted, *gcp.Granted.
type granted interface {
	Figures() level.Figures
	Names() (allow, conditional []string)
	Unknown() []string
	Used(calls []string) []level.Use
	CountUsed(calls []string) int
}

// Rule is what is allowed on one pattern, or, of a cloud, on the patterns joined by spaces.
type Rule struct {
	Resource     string
	Capabilities []string
}

// Of merges the rules of the named Vault policies. lookup gives a policy's grant, or nil if it was not fetched.
func Of(policies []string, lookup func(name string) *pb.Grant) *Scope {
	var missing []string
	allowed := map[string]map[string]bool{}
	denied := map[string]bool{}
	for _, name := range policies {
		grant := lookup(name)
		switch {
		case grant == nil:
			missing = append(missing, name+" not fetched")
			continue
		case grant.Deleted:
			continue // a policy that does not exist grants nothing
		case grant.Incomplete != "":
			missing = append(missing, name+": "+grant.Incomplete)
		}
		for _, rule := range grant.Rules {
			for _, capability := range rule.Capabilities {
				if capability == "deny" {
					denied[rule.Resource] = true
					continue
				}
				if allowed[rule.Resource] == nil {
					allowed[rule.Resource] = map[string]bool{}
				}
				allowed[rule.Resource][capability] = true
			}
		}
	}
	s := &Scope{Known: len(missing) == 0 && len(policies) > 0, Why: strings.Join(missing, "; ")}
	if len(policies) == 0 {
		s.Why = "no record told its policies"
	}
	for _, resource := range slices.Sorted(maps.Keys(allowed)) {
		if denied[resource] {
			continue
		}
		rule := Rule{Resource: resource, Capabilities: slices.Sorted(maps.Keys(allowed[resource]))}
		s.Rules = append(s.Rules, rule)
		for _, capability := range rule.Capabilities {
			s.add(resource, capability)
		}
	}
	return s
}

// add counts one capability on one pattern.
func (s *Scope) add(resource, capability string) {
	of, known := levels[capability]
	weight := weights[capability]
	if manages(resource) && capability != "read" && capability != "list" {
		of, weight = level.Management, level.Management.Weight()
	}
	reach := level.One
	switch {
	case resource == "*":
		reach = level.All
	case strings.HasSuffix(resource, "*") || strings.Contains(resource, "+"):
		reach = level.Prefix
	}
	s.Add(of, reach, false, known)
	s.Weight += weight - of.Weight() // capabilities are weighed one by one
}

func manages(resource string) bool {
	return strings.HasPrefix(resource, "sys/polic") || resource == "*" ||
		strings.HasPrefix(resource, "auth/") && !strings.HasPrefix(resource, "auth/token/") ||
		strings.HasPrefix(resource, "identity/") || strings.HasPrefix(resource, "sys/auth")
}

// Names lists what a cloud grants: without condition, only under conditions, and the patterns that stand for nothing
// known here. It is empty for Vault, whose Rules say all.
func (s *Scope) Names() (allow, conditional, unknown []string) {
	if s.cloud == nil {
		return nil, nil, nil
	}
	allow, conditional = s.cloud.Names()
	return allow, conditional, s.cloud.Unknown()
}

// Usage is one operation that was seen in use: on one path, or on many below a folder.
type Usage struct {
	Operation string
	// Path ends with * if Many.
	Path string
	Many bool
}

// Used counts the permissions of Use, and costs less.
func (s *Scope) Used(usages []Usage) int {
	if s.cloud != nil {
		return s.cloud.CountUsed(calls(usages))
	}
	return Count(s.Use(usages))
}

// Use marks what of the scope the usages needed. The result has the rules' order; a rule without any used capability
// is left out. Where it is not sure which rule let a call through, all that may have are kept.
func (s *Scope) Use(usages []Usage) []Rule {
	if s.cloud != nil {
		return s.used(usages)
	}
	used := make([]map[string]bool, len(s.Rules))
	mark := func(i int, capability, path string) {
		rule := s.Rules[i]
		if used[i] == nil {
			used[i] = map[string]bool{}
		}
		if slices.Contains(rule.Capabilities, capability) {
			used[i][capability] = true
		}
		if needsSudo(path) && slices.Contains(rule.Capabilities, "sudo") {
			used[i]["sudo"] = true
		}
	}
	for _, usage := range usages {
		capability := capability(usage.Operation)
		if capability == "" {
			continue
		}
		if usage.Many {
			folder := strings.TrimSuffix(usage.Path, "*")
			for i, rule := range s.Rules {
				if strings.HasPrefix(rule.Resource, folder) || Matches(rule.Resource, folder+"x") {
					mark(i, capability, folder)
				}
			}
			continue
		}
		if i := s.granting(usage.Path, capability); i >= 0 {
			mark(i, capability, usage.Path)
		}
	}
	var out []Rule
	for i, capabilities := range used {
		if len(capabilities) > 0 {
			out = append(out, Rule{s.Rules[i].Resource, slices.Sorted(maps.Keys(capabilities))})
		}
	}
	return out
}

// granting finds the rule that decides on a path: the most specific one that matches. A list is asked with and without
// the trailing slash.
func (s *Scope) granting(path, capability string) int {
	best := -1
	for i, rule := range s.Rules {
		matches := Matches(rule.Resource, path)
		if !matches && capability == "list" {
			matches = Matches(rule.Resource, strings.TrimSuffix(path, "/")) || Matches(rule.Resource, path+"/")
		}
		if matches && (best < 0 || lessSpecific(s.Rules[best].Resource, rule.Resource)) {
			best = i
		}
	}
	return best
}

// Count of the permissions in rules.
func Count(rules []Rule) int {
	n := 0
	for _, rule := range rules {
		n += len(rule.Capabilities)
	}
	return n
}

// Proto gives rules as messages.
func Proto(rules []Rule) []*pb.Rule {
	out := make([]*pb.Rule, len(rules))
	for i, rule := range rules {
		out[i] = &pb.Rule{Resource: rule.Resource, Capabilities: rule.Capabilities}
	}
	return out
}

// Union of two sets of rules.
func Union(a, b []Rule) []Rule {
	all := map[string]map[string]bool{}
	for _, rule := range slices.Concat(a, b) {
		if all[rule.Resource] == nil {
			all[rule.Resource] = map[string]bool{}
		}
		for _, capability := range rule.Capabilities {
			all[rule.Resource][capability] = true
		}
	}
	out := make([]Rule, 0, len(all))
	for resource, capabilities := range all {
		out = append(out, Rule{resource, slices.Sorted(maps.Keys(capabilities))})
	}
	slices.SortFunc(out, func(x, y Rule) int { return cmp.Compare(x.Resource, y.Resource) })
	return out
}

// String gives "read,list secret/data/*".
func (r Rule) String() string {
	return fmt.Sprintf("%s %s", strings.Join(r.Capabilities, ","), r.Resource)
}
