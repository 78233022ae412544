package reach

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/iam"
)

// trusts looks at the trust policy of a role: does it let the caller, or the service that a rule names, act as it? Without
// one known the step is only suggested.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func trusts(p *place, t *target, r *Rule, c Certainty) (Certainty, string, bool) {
	grant := t.trust
	if grant == nil || grant.Incomplete != "" {
		return Suggested, "its trust policy is not known", true
	}
	best, found := Suggested, false
	for _, rule := range grant.Rules {
		if !slices.ContainsFunc(rule.Actions, func(a string) bool { return iam.Match(strings.ToLower(a), "sts:assumerole") }) {
			continue
		}
		for _, who := range rule.Resources {
			ok := false
			if r.Trusts == "caller" {
				ok = caller(who, p.self)
			} else {
				ok = who == "Service:"+r.Trusts
			}
			switch {
			case !ok:
			case rule.Deny && !rule.Conditional:
				return c, "", false
			case rule.Deny:
			case rule.Conditional:
				found = true
			default:
				best, found = Allowed, true
			}
		}
	}
	if !found {
		return c, "", false
	}
	if best == Suggested {
		return Suggested, "its trust policy allows it under a condition", true
	}
	return max(c, best), "its trust policy allows it", true
}

// caller tells whether a principal of a trust policy is the one, or the whole of its account.
func caller(who, self string) bool {
	name, ok := strings.CutPrefix(who, "AWS:")
	if !ok {
		return false
	}
	account := ""
	if parts := strings.Split(self, ":"); len(parts) > 4 {
		account = parts[4]
	}
	switch {
	case name == "*":
		return true
	case name == account, strings.HasSuffix(name, ":root") && strings.Contains(name, ":"+account+":"):
		return account != ""
	}
	return name == self || scope.Canonical("cloudtrail", name) == scope.Canonical("cloudtrail", self) || strings.ContainsAny(name, "*?") && iam.Match(name, self)
}
