package rightsize

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope"
)

// oidcScopes are those of which OpenID Connect's UserInfo endpoint answers, each with claims of its own
// (https://openid.net/specs/openid-connect-core-1_0.html, sections 5.3 and 5.4).
var oidcScopes = []string{"openid", "profile", "email", "address", "phone"}

// IsOAuth tells whether what is granted at a system are scopes (RFC 6749, section 3.3), as tokens themselves name them.
func IsOAuth(system string) bool { return system == "jwtregistry" }

// ProposeScopes narrows the scopes of a token to those that uses name. A use names the scopes that it needed as its
// permission; a call of UserInfo needs those of OpenID Connect, and a refresh keeps offline_access. held are the scopes that
// any of the credentials had, so that one that is not granted any more is known to be one. unnamed are the uses of which no
// record tells the scope: each may have needed any, so with one of them nothing can be proposed.
func ProposeScopes(granted, held []string, uses []Use) (p *Proposal, used []string, unnamed []Use) {
	p = &Proposal{System: "jwtregistry", Rules: []scope.Rule{}, Unjustified: []Use{}}
	for _, use := range uses {
		needs := strings.Fields(use.Permission)
		switch use.Permission {
		case "userinfo":
			needs = slices.DeleteFunc(slices.Clone(oidcScopes), func(s string) bool { return !slices.Contains(granted, s) })
		case "token":
			needs = []string{"offline_access"}
		}
		switch {
		case len(needs) > 0 && all(needs, granted):
			used = append(used, needs...)
		case use.Permission == "token": // a refresh within a session needs no scope
		case len(needs) > 0 && all(needs, held):
			p.Unjustified = append(p.Unjustified, use)
		default:
			unnamed = append(unnamed, use)
		}
	}
	slices.Sort(used)
	if used = slices.Compact(used); len(used) > 0 {
		p.Rules = append(p.Rules, scope.Rule{Capabilities: used})
	}
	return p, used, unnamed
}

// all tells whether scopes are all in a list.
func all(scopes, in []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(in, s) })
}

// oauthScopes is the list as a request for a token bears it.
func oauthScopes(rules []scope.Rule) Artifact {
	var list []string
	for _, rule := range rules {
		list = append(list, rule.Capabilities...)
	}
	return Artifact{Kind: "oauth-scopes", Text: strings.Join(list, " ") + "\n",
		Apply: "ask for it as scope (RFC 6749, section 3.3) when the token is requested, and take the others from the client at the issuer"}
}
