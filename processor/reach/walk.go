package reach

// step is an edge: how one place is left for another.
type step struct {
	from      int     // of walk.places
	node      *Node   // where it ends
	target    *target // nil: a place that leads no further
	certainty Certainty
	rule      *Rule
	text      string // empty: what the rule does to the target
	evidence  string
}

// walk goes from the start as far as steps of at most one certainty lead, the fewest steps first.
type walk struct {
	m      *Map
	least  Certainty
	places []*place
	by     []*step // how each place was reached; nil for the start
	// left are the principals not reached yet, by list. What many may reach is so asked of each of them once.
	left []*left
	ends map[string]*step // places that lead no further, by key
	kept []*place         // by target, from one walk to the next
	// more tells that some step was left out because it is not certain enough: a walk of less certainty may get further.
	more bool
	ways map[powers][]*Rule
}

// powers say which rules may hold: of an issuer, and of AWS by what may be granted at all.
type powers struct {
	system string
	mask   bits
}

func (m *Map) walk(start *place, least Certainty, kept []*place) *walk {
	w := &walk{m: m, least: least, places: []*place{start}, by: []*step{nil}, left: make([]*left, len(m.lists)), ends: map[string]*step{},
		kept: kept, ways: map[powers][]*Rule{}}
	for i := 0; i < len(w.places); i++ {
		w.expand(i)
	}
	return w
}

func (w *walk) expand(i int) {
	p := w.places[i]
	for _, seen := range w.m.seen[p.holder] {
		if t := w.m.find(seen.To); t != nil {
			w.reach(&step{from: i, target: t, certainty: Proven, text: "the log shows it becoming " + t.name, evidence: seen.Evidence})
		}
	}
	for n, s := range w.m.Sensitive {
		if p.system == s.System && p.instance == s.Instance {
			w.touch(i, p, s, p.system != "cloudtrail" || p.mask.overlaps(w.m.possible.things[n]))
		}
	}
	for _, r := range w.rules(p) {
		w.apply(i, p, r)
	}
}

// rules by which a place may be left at all.
func (w *walk) rules(p *place) []*Rule {
	by := powers{p.system, p.mask}
	ways, known := w.ways[by]
	if !known {
		for _, r := range w.m.rules {
			if r.System == p.system && (r.System != "cloudtrail" || w.m.possible.all(r, p.mask)) {
				ways = append(ways, r)
			}
		}
		w.ways[by] = ways
	}
	return ways
}

// of a kind at a place's issuer, those that were not reached yet; nil: there are none of that kind.
func (w *walk) of(p *place, kind string) *left {
	l := w.m.lists[listID{p.system, p.instance, kind}]
	if l == nil {
		return nil
	}
	return w.rest(l)
}

func (w *walk) rest(l *list) *left {
	if w.left[l.number] == nil {
		w.left[l.number] = newLeft(l)
	}
	return w.left[l.number]
}

// touch tells whether a sensitive thing is within reach of a place. Without perhaps nothing it is granted can be it.
func (w *walk) touch(i int, p *place, s Sensitive, perhaps bool) {
	if !perhaps && w.m.Used == nil {
		return
	}
	found, ok := &step{from: i, certainty: Suggested}, false
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
	if !ok {
		return
	}
	found.node = &Node{Key: "sensitive/" + s.ID, Kind: "sensitive", Name: s.Name}
	if !w.end(found) || s.Opens == "" {
		return
	}
	if t := w.m.find(s.Opens); t != nil {
		w.reach(&step{from: i, target: t, certainty: max(found.certainty, Allowed), text: "read " + s.Name + ", which is a credential of " + t.name, evidence: found.evidence})
	}
}

// reach adds a principal, if the step is certain enough and it is new.
func (w *walk) reach(s *step) {
	if s.certainty > w.least {
		w.more = true
		return
	}
	if w.rest(s.target.list).take(s.target) {
		w.arrive(s)
	}
}

func (w *walk) arrive(s *step) {
	p := w.kept[s.target.number]
	if p == nil {
		p = w.m.place(s.target)
		w.kept[s.target.number] = p
	}
	s.node = &p.Node
	w.places, w.by = append(w.places, p), append(w.by, s)
}

// end adds a place that leads no further. It reports whether the step is certain enough.
func (w *walk) end(s *step) bool {
	if s.certainty > w.least {
		w.more = true
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
		w.more = true
		return
	}
	switch r.System {
	case "spire":
		if p.flags[r.needs[0].permissions[0]] == "true" {
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: Allowed, rule: r, text: r.Does})
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
			w.end(&step{from: i, node: everythingOf(p, r.Reaches), certainty: c, rule: r, text: r.Does})
		}
		return
	}
	targets := w.of(p, r.Reaches)
	if _, ok := w.holds(p, r, anyTarget, least); !ok || targets == nil {
		return
	}
	for t := range targets.within(w.m, p, r) {
		if s := w.try(i, p, r, t, least); s != nil {
			targets.take(t)
			w.arrive(s)
		}
	}
}

// anyTarget asks whether the needs may hold for some target at all.
const anyTarget = "*"

// try gives the step to a target, or nil if there is none that is certain enough. Whom a role trusts is asked first: it
// costs less than what is granted.
func (w *walk) try(i int, p *place, r *Rule, t *target, least Certainty) *step {
	trust, evidence := least, ""
	if r.Trusts != "" {
		var trusted bool
		if trust, evidence, trusted = trusts(p, t, r, least); !trusted {
			return nil
		}
	}
	if trust > w.least && w.more {
		return nil
	}
	c, ok := w.holds(p, r, t.name, least)
	if !ok {
		return nil
	}
	if c = max(c, trust); c > w.least {
		w.more = true
		return nil
	}
	return &step{from: i, target: t, certainty: c, rule: r, evidence: evidence}
}

// holds tells whether all needs of a rule hold, and how certainly at best.
func (w *walk) holds(p *place, r *Rule, target string, least Certainty) (Certainty, bool) {
	out, first := least, true
	var one [1]string
	for _, n := range r.needs {
		one[0] = ""
		resources := one[:]
		switch {
		case n.target && target == anyTarget:
			if first {
				first = false
				continue // within asks for its places
			}
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
