package reach

import "strings"

// step is an edge: how one place is left for another.
type step struct {
	from      int // of walk.places
	node      Node
	target    *target // nil: a place that leads no further
	certainty Certainty
	rule      *Rule
	text      string
	evidence  string
	sources   []string
}

// walk goes from the start as far as steps of at most one certainty lead, the fewest steps first.
type walk struct {
	m      *Map
	least  Certainty
	places []*place
	by     []*step // how each place was reached; nil for the start
	// left are the principals not reached yet, by list. What many may reach is so asked of each of them once.
	left map[string]*left
	ends map[string]*step // places that lead no further, by key
	kept map[string]*place
}

func (m *Map) walk(start *place, least Certainty, kept map[string]*place) *walk {
	w := &walk{m: m, least: least, places: []*place{start}, by: []*step{nil}, left: map[string]*left{}, ends: map[string]*step{}, kept: kept}
	for list, all := range m.principals {
		w.left[list] = newLeft(all)
	}
	for i := 0; i < len(w.places); i++ {
		w.expand(i)
	}
	return w
}

func (w *walk) expand(i int) {
	p := w.places[i]
	for _, seen := range w.m.seen[p.holder] {
		if t := w.m.byName[Canonical(seen.To)]; t != nil {
			w.reach(&step{from: i, target: t, certainty: Proven, text: "the log shows it becoming " + t.name, evidence: seen.Evidence})
		}
	}
	for n, s := range w.m.Sensitive {
		if p.system == s.System && p.instance == s.Instance {
			w.touch(i, p, s, p.system != "cloudtrail" || p.mask.overlaps(w.m.possible.things[n]))
		}
	}
	for _, r := range w.m.rules {
		if r.System != p.system || p.system == "cloudtrail" && !w.m.possible.all(r, p.mask) {
			continue
		}
		w.apply(i, p, r)
	}
}

// touch tells whether a sensitive thing is within reach of a place. Without perhaps nothing it is granted can be it.
func (w *walk) touch(i int, p *place, s Sensitive, perhaps bool) {
	found := &step{from: i, certainty: Suggested, node: Node{Key: "sensitive/" + s.ID, Kind: "sensitive", Name: s.Name}}
	ok := false
	for _, permission := range s.Permissions {
		if !perhaps {
			break
		}
		if c, granted := certain(p.powers.On(permission, s.Resource)); granted && (!ok || c < found.certainty) {
			found.certainty, ok = c, true
			found.text = "call " + permission + " on " + s.Resource
			if s.System == "vault" {
				found.text = permission + " " + s.Resource
			}
		}
	}
	if w.m.Used != nil {
		if evidence := w.m.Used(p.holder, s); evidence != "" {
			found.certainty, found.evidence, ok = Proven, evidence, true
			if found.text == "" {
				found.text = "use " + s.Resource
			}
		}
	}
	if !ok || !w.end(found) || s.Opens == "" {
		return
	}
	if t := w.m.byName[Canonical(s.Opens)]; t != nil {
		w.reach(&step{from: i, target: t, certainty: max(found.certainty, Allowed), text: "read " + s.Name + ", which is a credential of " + t.name, evidence: found.evidence})
	}
}

// reach adds a principal, if the step is certain enough and it is new.
func (w *walk) reach(s *step) {
	if s.certainty > w.least || s.target == nil {
		return
	}
	list := s.target.system + "/" + s.target.instance + "/" + s.target.kind
	if w.left[list].take(s.target) {
		w.arrive(s)
	}
}

func (w *walk) arrive(s *step) {
	p := w.kept[s.target.key]
	if p == nil {
		p = w.m.place(s.target)
		w.kept[s.target.key] = p
	}
	s.node = p.Node
	w.places, w.by = append(w.places, p), append(w.by, s)
}

// end adds a place that leads no further. It reports whether the step is certain enough.
func (w *walk) end(s *step) bool {
	if s.certainty > w.least {
		return false
	}
	if w.ends[s.node.Key] == nil {
		w.ends[s.node.Key] = s
	}
	return true
}

// apply takes all steps of one rule from one place.
func (w *walk) apply(i int, p *place, r *Rule) {
	least := Allowed
	if r.Certainty != "" {
		least = Suggested
	}
	if least > w.least {
		return
	}
	switch r.System {
	case "spire":
		if p.flags[r.needs[0].permissions[0]] == "true" {
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: Allowed, rule: r, text: r.Does, sources: r.Sources})
		}
		return
	case "vault":
		w.vault(i, p, r, least)
		return
	}
	switch r.Reaches {
	case everything, secrets:
		c, ok := w.holds(p, r, "", least)
		if ok {
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: r.Does, sources: r.Sources})
		}
		return
	}
	if _, ok := w.holds(p, r, anyTarget, least); !ok {
		return
	}
	list := p.system + "/" + p.instance + "/" + r.Reaches
	for t := range w.left[list].within(w.m, p, r) {
		if s := w.try(i, p, r, t, least); s != nil && s.certainty <= w.least {
			w.left[list].take(t)
			w.arrive(s)
		}
	}
}

// anyTarget asks whether the needs may hold for some target at all.
const anyTarget = "*"

func (w *walk) try(i int, p *place, r *Rule, t *target, least Certainty) *step {
	c, ok := w.holds(p, r, t.name, least)
	if !ok {
		return nil
	}
	evidence := ""
	if r.Trusts != "" {
		var trusted bool
		if c, evidence, trusted = w.m.trusts(p, t, r, c); !trusted {
			return nil
		}
	}
	return &step{from: i, target: t, certainty: c, rule: r, text: strings.ReplaceAll(r.Does, "{target}", t.name), evidence: evidence, sources: r.Sources}
}

// holds tells whether all needs of a rule hold, and how certainly at best.
func (w *walk) holds(p *place, r *Rule, target string, least Certainty) (Certainty, bool) {
	out := least
	for _, n := range r.needs {
		resources := []string{""}
		switch {
		case n.target && target == anyTarget:
		case n.target:
			resources[0] = target
		case n.self:
			resources[0] = p.self
			if p.self == "" {
				return out, false
			}
		case n.ownPolicy:
			resources = p.policies
		}
		best, ok := Suggested, false
		for _, permission := range n.permissions {
			for _, resource := range resources {
				if c, granted := certain(p.powers.On(permission, resource)); granted {
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
