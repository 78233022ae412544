package reach

import "strings"

// vault takes the steps of a rule of Vault: its resources are paths with {policy}, or with {mount} and {role} of each role
// that is known.
func (w *walk) vault(i int, p *place, r *Rule, least Certainty) {
	text := strings.Join(r.Needs, " ")
	switch {
	case strings.Contains(text, "{role}"):
		w.roles(i, p, r, least)
	case strings.Contains(text, "{policy}"):
		for _, policy := range p.policies {
			fill := strings.NewReplacer("{policy}", policy)
			if c, ok := p.holdsOn(r, fill, least); ok {
				w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: fill.Replace(r.Does), sources: r.Sources})
			}
		}
	default:
		if c, ok := p.holdsOn(r, strings.NewReplacer(), least); ok {
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: r.Does, sources: r.Sources})
		}
	}
}

func (w *walk) roles(i int, p *place, r *Rule, least Certainty) {
	list := "vault/" + p.instance + "/" + kindVaultRole
	for _, t := range w.m.principals[list] {
		if !rightKind(r.Kind, t.role.Type) || r.Reaches != everything && w.left[list].taken(t) {
			continue // a role that was reached can still be rewritten
		}
		c, ok := p.holdsOn(r, strings.NewReplacer("{mount}", t.role.Mount, "{role}", t.role.Name), least)
		if !ok || c > w.least {
			continue
		}
		s := &step{from: i, certainty: c, rule: r, text: strings.ReplaceAll(r.Does, "{target}", t.name), evidence: t.role.Evidence, sources: r.Sources}
		if r.Reaches == everything {
			s.node = everythingOf(p, everything)
			w.end(s)
			return
		}
		s.target = t
		w.left[list].take(t)
		w.arrive(s)
	}
}

func rightKind(rule, role string) bool {
	switch rule {
	case "other":
		return role != "approle" && role != "token"
	default:
		return rule == role
	}
}

// holdsOn tells whether all needs hold on their paths.
func (p *place) holdsOn(r *Rule, fill *strings.Replacer, least Certainty) (Certainty, bool) {
	out := least
	for _, n := range r.needs {
		best, ok := Suggested, false
		for _, path := range n.resources {
			for _, capability := range n.permissions {
				if c, granted := certain(p.powers.On(capability, fill.Replace(path))); granted {
					best, ok = min(best, c), true
				}
			}
		}
		if !ok {
			return out, false
		}
		out = max(out, best)
	}
	return out, true
}
