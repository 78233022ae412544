package scope

import (
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/iam"
)

// Call is one capability of Vault used on one path; "" is a path that no record tells.
type Call struct{ Capability, Path string }

// Narrow gives the rules of a Vault policy that let through what rules let through of the calls, and nothing that rules do
// not. Each call keeps its capability on the narrowest part of the rule that let it through: its own path if there is one,
// else the folder of all, else the rule's pattern.
//
// Of several patterns that match a path Vault takes the most specific one alone
// (https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching). So a rule that held a wider one back
// stays, with what is left of it or with deny, and a narrower one has the capabilities that were used below it.
func Narrow(rules []Rule, calls []Call) []Rule {
	s := &Scope{Rules: rules}
	by := map[int]map[string][]string{} // by rule and capability: the paths; nil: unknown
	for _, call := range calls {
		for _, i := range s.deciding(call) {
			if by[i] == nil {
				by[i] = map[string][]string{}
			}
			if call.Path == "" || by[i][call.Capability] != nil && by[i][call.Capability][0] == "" {
				by[i][call.Capability] = []string{""}
				continue
			}
			by[i][call.Capability] = append(by[i][call.Capability], call.Path)
		}
	}
	out := map[string]map[string]bool{}
	add := func(pattern string, capabilities ...string) {
		if out[pattern] == nil {
			out[pattern] = map[string]bool{}
		}
		for _, c := range capabilities {
			out[pattern][c] = true
		}
	}
	for i, used := range by {
		for capability, paths := range used {
			pattern := s.part(i, paths)
			add(pattern, capability)
			if slices.Contains(rules[i].Capabilities, "sudo") && slices.ContainsFunc(paths, func(p string) bool { return p == "" || needsSudo(p) }) {
				add(pattern, "sudo")
			}
		}
	}
	s.shield(out)
	mend(out, s, calls)
	return ruled(out)
}

// deciding are the rules that let a call through: one, or of a path that is not told all that might.
func (s *Scope) deciding(call Call) (out []int) {
	if call.Path == "" {
		for i, rule := range s.Rules {
			if slices.Contains(rule.Capabilities, call.Capability) {
				out = append(out, i)
			}
		}
		return out
	}
	i := s.granting(call.Path, call.Capability)
	if i < 0 || !slices.Contains(s.Rules[i].Capabilities, call.Capability) {
		return nil
	}
	return []int{i}
}

// part of a rule's pattern that covers paths. It is the pattern itself where a narrower one would win over a rule that
// held this one back.
func (s *Scope) part(i int, paths []string) string {
	whole := s.Rules[i].Resource
	pattern := folder(whole, paths)
	if !strings.HasSuffix(pattern, "*") || pattern == whole {
		return pattern
	}
	for k, other := range s.Rules {
		if k != i && overlap(other.Resource, pattern) && lessSpecific(whole, other.Resource) && !lessSpecific(pattern, other.Resource) {
			return whole
		}
	}
	return pattern
}

func folder(whole string, paths []string) string {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if paths[0] == "" {
		return whole
	}
	if len(paths) == 1 {
		return paths[0]
	}
	prefix, wild := strings.CutSuffix(whole, "*")
	if !wild || strings.ContainsAny(prefix, "+{") {
		return whole
	}
	common := Common(paths)
	if len(common) <= len(prefix) {
		return whole
	}
	return common + "*"
}

// Common gives the folder that sorted paths share, up to its last / or :.
func Common(sorted []string) string {
	first, last := sorted[0], sorted[len(sorted)-1]
	n := 0
	for n < len(first) && n < len(last) && first[n] == last[n] {
		n++
	}
	return first[:strings.LastIndexAny(first[:n], "/:")+1]
}

func overlap(a, b string) bool { return iam.Overlap(wide(a), wide(b)) }

// shield keeps the rules that hold a wider one back.
func (s *Scope) shield(out map[string]map[string]bool) {
	for _, pattern := range slices.Collect(maps.Keys(out)) {
		capabilities := out[pattern]
		for _, other := range s.Rules {
			if out[other.Resource] != nil || !lessSpecific(pattern, other.Resource) || !overlap(pattern, other.Resource) {
				continue
			}
			kept := map[string]bool{}
			for c := range capabilities {
				if slices.Contains(other.Capabilities, c) {
					kept[c] = true
				}
			}
			if len(kept) == len(capabilities) {
				continue // it holds nothing back
			}
			out[other.Resource] = kept
			if len(kept) == 0 {
				kept["deny"] = true
			}
		}
	}
}

// mend gives rules the capabilities of calls that they now decide on.
func mend(out map[string]map[string]bool, s *Scope, calls []Call) {
	for again := true; again; {
		again = false
		now := &Scope{Rules: ruled(out)}
		for _, call := range calls {
			if call.Path == "" || len(s.deciding(call)) == 0 {
				continue
			}
			i := now.granting(call.Path, call.Capability)
			if i >= 0 && !slices.Contains(now.Rules[i].Capabilities, call.Capability) {
				rule := out[now.Rules[i].Resource]
				delete(rule, "deny")
				rule[call.Capability] = true
				again = true
			}
		}
	}
}

func ruled(out map[string]map[string]bool) []Rule {
	list := make([]Rule, 0, len(out))
	for _, pattern := range slices.Sorted(maps.Keys(out)) {
		list = append(list, Rule{Resource: pattern, Capabilities: slices.Sorted(maps.Keys(out[pattern]))})
	}
	return list
}
