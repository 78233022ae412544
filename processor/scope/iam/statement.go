package iam

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// takesAway: a Deny without condition on all resources. Any other leaves its actions granted somewhere or sometimes.
func takesAway(rule *pb.Rule) bool {
	return rule.Deny && !rule.Conditional &&
		slices.ContainsFunc(rule.Resources, func(r string) bool { return strings.Trim(r, "*") == "" })
}

// covers tells whether statements allow a pattern that matches no action of the list, by its text, whether only under
// conditions, and how far.
func covers(rules []*pb.Rule, text string) (ok, conditional bool, reach level.Reach) {
	conditional = true
	for _, rule := range rules {
		if !speaksOf(rule, text) {
			continue
		}
		if takesAway(rule) {
			return false, false, 0
		}
		if !rule.Deny {
			ok, conditional, reach = true, conditional && rule.Conditional, max(reach, reachOf(rule))
		}
	}
	return ok, ok && conditional, reach
}

// speaksOf tells whether a statement is about an action.
func speaksOf(rule *pb.Rule, action string) bool {
	match := func(pattern string) bool { return matchFold(pattern, action) }
	if len(rule.NotActions) > 0 {
		return !slices.ContainsFunc(rule.NotActions, match)
	}
	return slices.ContainsFunc(rule.Actions, match)
}

func matchFold(pattern, text string) bool {
	if pattern == text {
		return true
	}
	return Match(strings.ToLower(pattern), strings.ToLower(text))
}

// reachOf a statement: that of its widest resource. Without any it is the one resource that the policy stands on.
func reachOf(rule *pb.Rule) level.Reach {
	if len(rule.NotResources) > 0 {
		return level.All
	}
	reach := level.One
	for _, resource := range rule.Resources {
		reach = max(reach, reachOfARN(resource))
	}
	return reach
}

// reachOfARN: arn:partition:service:region:account:resource. A wildcard for all of the resource part reaches the whole
// service; a policy variable, ${aws:username}, stands for one value.
func reachOfARN(resource string) level.Reach {
	for {
		from := strings.Index(resource, "${")
		if from < 0 {
			break
		}
		to := strings.IndexByte(resource[from:], '}')
		if to < 0 {
			break
		}
		resource = resource[:from] + "x" + resource[from+to+1:]
	}
	if !strings.ContainsAny(resource, "*?") {
		return level.One
	}
	parts := strings.SplitN(resource, ":", 6)
	if strings.Trim(parts[len(parts)-1], "*:/") == "" {
		return level.All
	}
	return level.Prefix
}
