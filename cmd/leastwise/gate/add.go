package gate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/processor/catalog"
)

// add writes the catalog YAML that is missing. Where the agent is known, what to put into its entry; otherwise a whole
// entry. Owner and system of record are people's to say, so where none is known they are left as OWNER and SYSTEM, which
// the catalog refuses until somebody says them.
func (g *Gate) add(v *Verdict) string {
	inForce := g.catalog.InForce()
	if inForce == nil {
		return ""
	}
	var missing []Identity
	lacking := map[string]bool{} // agents without a system of record
	for _, s := range v.Identities {
		switch s.State {
		case NoOwner:
			missing = append(missing, s.Identity)
		case NoSystem:
			for _, a := range s.agents() {
				lacking[a] = true
			}
		}
	}
	agents := v.agentsKnown()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	owners, systems := ids(inForce.Owners(), func(o *catalog.Owner) string { return o.ID }), ids(inForce.Systems(), func(s *catalog.System) string { return s.ID })
	systemLine := func() { line("    system: \"SYSTEM\" # %s", choices("the system of record", systems)) }
	if len(missing) > 0 {
		name := ""
		line("agents:")
		switch len(agents) {
		case 0:
			name = newID(v, inForce)
			line("  - id: %s", strconv.Quote(name))
			line("    owner: \"OWNER\" # %s", choices("who answers for it", owners))
			systemLine()
		case 1:
			where := "a new entry"
			if agent, ok := inForce.Agent(agents[0]); ok {
				where = "at " + agent.Where + ": add to its entry"
			}
			line("  - id: %s # %s", strconv.Quote(agents[0]), where)
			if lacking[agents[0]] {
				systemLine()
				delete(lacking, agents[0])
			}
		default:
			line("  - id: \"AGENT\" # the one it belongs to: %s", strings.Join(agents, " or "))
		}
		line("    match:")
		for _, id := range missing {
			if id.Kind != Agent || id.Name != name || len(missing) == 1 { // the catalog finds an agent by its id
				line("      - %s", id.rule())
			}
		}
	}
	for _, a := range inForce.Agents() {
		if !lacking[a.ID] {
			continue
		}
		if b.Len() == 0 {
			line("agents:")
		}
		line("  - id: %s # at %s: add to its entry", strconv.Quote(a.ID), a.Where)
		systemLine()
	}
	return b.String()
}

// agentsKnown lists the agents that the workload's other identities belong to.
func (v *Verdict) agentsKnown() []string {
	var all []Claim
	for _, s := range v.Identities {
		all = append(all, s.Claims...)
	}
	return distinct(all, func(c Claim) string { return c.Agent })
}

func ids[T any](items []T, id func(T) string) []string {
	out := make([]string, 0, len(items))
	for _, item := range items {
		out = append(out, id(item))
	}
	return out
}

// maxChoices of owners or systems are named; a large site has hundreds.
const maxChoices = 8

func choices(what string, known []string) string {
	switch {
	case len(known) == 0:
		return what + "; the catalog has none yet"
	case len(known) > maxChoices:
		return fmt.Sprintf("%s; the catalog has %d: %s, …", what, len(known), strings.Join(known[:maxChoices], ", "))
	}
	return what + "; the catalog has " + strings.Join(known, ", ")
}

// newID proposes an id for an agent that is not in the catalog: what the label says, or the name of the workload.
func newID(v *Verdict, c *catalog.Catalog) string {
	name := v.Name
	for _, s := range v.Identities {
		if s.Kind == Agent {
			name = s.Name
		}
	}
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@-", r) {
			return r
		}
		return '-'
	}, name), "-._@")
	if len(name) > 80 {
		name = name[:80]
	}
	name = or(name, "agent")
	if _, taken := c.Agent(name); taken {
		name = strings.Trim(v.Namespace+"-"+name, "-")
	}
	for i, base := 2, name; slices.ContainsFunc(c.Agents(), func(a *catalog.Agent) bool { return a.ID == name }); i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	return name
}
