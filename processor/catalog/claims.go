package catalog

import (
	"slices"
	"strings"
)

// Claim is one agent's hold on an identity: who answers, and the rule that says so.
type Claim struct {
	Agent *Agent
	// Where is the file:line of the rule.
	Where string
}

// Claims lists every agent that claims what the query describes, once each, by id, with the rule that names it closest.
// Where Resolve decides, Claims shows all sides.
func (c *Catalog) Claims(q Query) []Claim {
	if c == nil || len(c.anchors) == 0 {
		return nil
	}
	closest := map[*Agent]*rule{}
	for _, r := range c.find(&q, nil) {
		best := closest[r.agent]
		if best == nil || r.weight() > best.weight() || r.weight() == best.weight() && r.where < best.where {
			closest[r.agent] = r
		}
	}
	out := make([]Claim, 0, len(closest))
	for agent, r := range closest {
		out = append(out, Claim{Agent: agent, Where: r.where})
	}
	slices.SortFunc(out, func(a, b Claim) int { return strings.Compare(a.Agent.ID, b.Agent.ID) })
	return out
}
