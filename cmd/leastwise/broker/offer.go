package broker

import (
	"slices"
	"strings"
)

// lacks says what of a wish no offer gives the agent; empty if all is offered. An offer is permission to ask: whether it is
// issued is policy's to say.
func (c *Config) lacks(agent string, w *Wish) string {
	var mine []Offer
	for _, o := range c.Offers {
		if slices.Contains(o.Agents, agent) || slices.Contains(o.Agents, "*") {
			mine = append(mine, o)
		}
	}
	for _, name := range w.Policies {
		if !slices.ContainsFunc(mine, func(o Offer) bool { return slices.Contains(o.Policies, name) }) {
			return "policy " + name
		}
	}
	for _, r := range w.Rules {
		for _, capability := range r.Capabilities {
			if !slices.ContainsFunc(mine, func(o Offer) bool {
				return slices.ContainsFunc(o.Rules, func(of Rule) bool { return slices.Contains(of.Capabilities, capability) && covers(of.Path, r.Path) })
			}) {
				return capability + " on " + r.Path
			}
		}
	}
	if w.Role != "" && !slices.ContainsFunc(mine, func(o Offer) bool {
		return slices.ContainsFunc(o.Certificates, func(x Certificate) bool { return x.Role == w.Role && slices.Contains(x.Names, w.Name) })
	}) {
		return "a certificate of role " + w.Role + " for " + w.Name
	}
	return ""
}

// covers: everything that asked matches, offered matches. Both have at most one *, at the end.
func covers(offered, asked string) bool {
	prefix, all := strings.CutSuffix(offered, "*")
	if !all {
		return offered == asked
	}
	return strings.HasPrefix(strings.TrimSuffix(asked, "*"), prefix)
}
