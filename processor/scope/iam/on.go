package iam

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// On tells whether statements grant an action on a resource, an ARN or a pattern of ARNs; "" asks for any resource at
// all. Of a pattern it is enough that some of it is granted. Each layer (policies, boundary, session) has to grant
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
func On(layers [][]*pb.Rule, name, resource string) level.Verdict {
	out := level.Yes
	for _, layer := range layers {
		out = min(out, layerOn(layer, name, resource))
	}
	return out
}

func layerOn(rules []*pb.Rule, name, resource string) level.Verdict {
	out := level.No
	denied := false
	for _, rule := range rules {
		if !speaksOf(rule, name) {
			continue
		}
		some, all := reaches(rule, resource)
		switch {
		case !some:
		case rule.Deny && all && !rule.Conditional:
			return level.No
		case rule.Deny:
			denied = true // somewhere or sometimes
		case rule.Conditional || hasVariable(rule):
			out = max(out, level.Perhaps)
		default:
			out = level.Yes
		}
	}
	if denied {
		out = min(out, level.Perhaps)
	}
	return out
}

// Places are the patterns of resources that statements allow an action on; "*" where they name none.
func Places(rules []*pb.Rule, name string) (out []string) {
	for _, rule := range rules {
		if rule.Deny || !speaksOf(rule, name) {
			continue
		}
		if len(rule.Resources) == 0 {
			out = append(out, "*")
		}
		for _, pattern := range rule.Resources {
			out = append(out, withoutVariables(pattern))
		}
	}
	return out
}

// reaches tells whether a statement speaks of some, and of all, of what a pattern of ARNs covers.
func reaches(rule *pb.Rule, resource string) (some, all bool) {
	switch {
	case len(rule.NotResources) > 0:
		if resource == "" {
			return true, false
		}
		all = !slices.ContainsFunc(rule.NotResources, func(p string) bool { return Overlap(p, resource) })
		return !slices.ContainsFunc(rule.NotResources, func(p string) bool { return Match(p, resource) }), all
	case len(rule.Resources) == 0:
		return true, false // the one resource that the policy stands on
	}
	for _, pattern := range rule.Resources {
		pattern = withoutVariables(pattern)
		every := strings.Trim(pattern, "*") == ""
		some = some || every || resource == "" || Overlap(pattern, resource)
		all = all || every || resource != "" && Match(pattern, resource)
	}
	return some, all
}

func hasVariable(rule *pb.Rule) bool {
	return slices.ContainsFunc(rule.Resources, func(r string) bool { return strings.Contains(r, "${") })
}

// withoutVariables puts a * for each policy variable, whose value is not known here.
func withoutVariables(pattern string) string {
	for {
		from := strings.Index(pattern, "${")
		if from < 0 {
			return pattern
		}
		to := strings.IndexByte(pattern[from:], '}')
		if to < 0 {
			return pattern
		}
		pattern = pattern[:from] + "*" + pattern[from+to+1:]
	}
}
