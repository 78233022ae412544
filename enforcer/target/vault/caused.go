package vault

import (
	"maps"
	"slices"
	"strings"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxFormer bounds the rules that are kept of the former scope: with more, what
// is denied later can not be told apart.
const maxFormer = 512

// rules of the grants, for the journal. What holds more than capabilities is
// marked: whether it allowed a call is not known.
func (g grants) rules() []*pb.Rule {
	if len(g) > maxFormer {
		return nil
	}
	var list []*pb.Rule
	for _, pattern := range slices.Sorted(maps.Keys(g)) {
		r := g[pattern]
		list = append(list, &pb.Rule{Resource: pattern, Capabilities: slices.Sorted(maps.Keys(r.caps)), Conditional: r.special != ""})
	}
	return list
}

func grantsOf(rules []*pb.Rule) grants {
	g := grants{}
	for _, r := range rules {
		special := ""
		if r.Conditional {
			special = "a condition"
		}
		g.add(r.Resource, r.Capabilities, special)
	}
	return g
}

// Caused tells that a token which holds the narrow policy was refused what the
// former policies allowed and the narrow one does not.
func (t *Target) Caused(done *pb.Reissue, _ time.Time, by *pb.Decision, permission string) bool {
	if !slices.Contains(by.GetSubject().GetPolicies(), done.GetPolicyName()) || len(done.GetFormer()) == 0 {
		return false
	}
	operation, path, _ := strings.Cut(permission, " ")
	narrow := grants{}
	if err := narrow.parse(done.GetPolicyText()); err != nil {
		return false
	}
	return grantsOf(done.Former).allow(operation, path) && !narrow.allow(operation, path)
}

// allow answers as Vault does when it knows, else no: of all patterns that
// match the most specific decides
// (https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching).
func (g grants) allow(operation, path string) bool {
	if operation == "header" {
		operation = "read"
	}
	if !slices.Contains(everything, operation) && operation != "subscribe" && operation != "recover" {
		return false
	}
	best, found := "", false
	for _, asked := range forms(operation, path) {
		for pattern := range g {
			if matches(pattern, asked) && (!found || lessSpecific(best, pattern)) {
				best, found = pattern, true
			}
		}
		if found {
			break
		}
	}
	r := g[best]
	return found && r.special == "" && !r.caps["deny"] && r.caps[operation] && (r.caps["sudo"] || !mayNeedSudo(path))
}

// forms in which Vault looks for a path: a list also without its last slash.
func forms(operation, path string) []string {
	if bare, ok := strings.CutSuffix(path, "/"); ok && operation == "list" {
		return []string{path, bare}
	}
	return []string{path}
}

// mayNeedSudo tells whether a path may be one of those that root alone, or
// sudo, may call; it rather says yes, also below auth/ and in a mount's root.
func mayNeedSudo(path string) bool {
	return strings.HasPrefix(path, "sys/") || strings.HasPrefix(path, "auth/token/") || strings.Contains(path, "/root")
}

// matches tells whether a policy's path covers a request's; what a template
// stands for is not known here: any segment.
func matches(pattern, path string) bool {
	pattern, glob := strings.CutSuffix(pattern, "*")
	if !strings.ContainsAny(pattern, "+{") {
		return path == pattern || glob && strings.HasPrefix(path, pattern)
	}
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(have) < len(want) || !glob && len(have) != len(want) {
		return false
	}
	for i, segment := range want {
		last := glob && i == len(want)-1
		if segment != "+" && !strings.Contains(segment, "{{") && segment != have[i] && !(last && strings.HasPrefix(have[i], segment)) {
			return false
		}
	}
	return true
}

// lessSpecific tells whether pattern a gives way to b where both match.
func lessSpecific(a, b string) bool {
	if x, y := firstWildcard(a), firstWildcard(b); x != y {
		return x < y
	}
	if x, y := strings.HasSuffix(a, "*"), strings.HasSuffix(b, "*"); x != y {
		return x
	}
	if x, y := strings.Count(a, "+"), strings.Count(b, "+"); x != y {
		return x > y
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func firstWildcard(pattern string) int {
	if i := strings.IndexByte(pattern, '+'); i >= 0 {
		return i
	}
	if strings.HasSuffix(pattern, "*") {
		return len(pattern) - 1
	}
	return len(pattern) + 1
}
