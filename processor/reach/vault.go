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
				w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: fill.Replace(r.Does)})
			}
		}
	default:
		if c, ok := p.holdsOn(r, strings.NewReplacer(), least); ok {
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: r.Does})
		}
	}
}

func (w *walk) roles(i int, p *place, r *Rule, least Certainty) {
	targets := w.of(p, kindVaultRole)
	if targets == nil {
		return
	}
	for _, t := range targets.all {
		if !rightKind(r.Kind, t.role.Type) || r.Reaches != everything && targets.taken(t) {
			continue // a role that was reached can still be rewritten
		}
		c, ok := p.holdsOn(r, strings.NewReplacer("{mount}", t.role.Mount, "{role}", t.role.Name), least)
		if ok && c > w.least {
			w.more = true
		}
		if !ok || c > w.least {
			continue
		}
		s := &step{from: i, target: t, certainty: c, rule: r, evidence: t.role.Evidence}
		if r.Reaches == everything {
			s.target, s.node, s.text = nil, everythingOf(p, everything), r.does(t)
			w.end(s)
			return
		}
		targets.take(t)
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
