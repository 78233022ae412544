package reach

import (
	"cmp"
	"slices"
)

// Step is one step of a path, in words.
type Step struct {
	From      Node      `json:"from"`
	To        Node      `json:"to"`
	Certainty Certainty `json:"certainty"`
	// Rule of rules.yaml; empty: the log shows it, or the permission is its own.
	Rule string `json:"rule,omitempty"`
	// Does comes after "it can".
	Does string `json:"does"`
	// Evidence is what the step rests on beside the scope.
	Evidence string   `json:"evidence,omitempty"`
	Sources  []string `json:"sources,omitempty"`
	// Stays tells that what is made so outlives the credential.
	Stays bool `json:"stays,omitempty"`
}

// Path leads from the start to one place.
type Path struct {
	To        Node      `json:"to"`
	Certainty Certainty `json:"certainty"`
	Steps     []Step    `json:"steps"`
	// Stays tells that some step of it makes something that outlives the credential.
	Stays bool `json:"stays"`
}

// Answer is what the holder could reach.
type Answer struct {
	Start Node `json:"start"`
	// Paths, sensitive things first, then everything and secrets, then principals; the most certain first.
	Paths []Path `json:"paths"`
}

// From answers for one start.
func (m *Map) From(s Start) *Answer {
	start := m.start(s)
	a := &Answer{Start: start.Node, Paths: []Path{}}
	kept := map[string]*place{}
	done := map[string]bool{}
	if t := m.byName[Canonical(s.Principal)]; t != nil {
		done[t.key] = true // it is itself already
	}
	for _, least := range []Certainty{Proven, Allowed, Suggested} {
		w := m.walk(start, least, kept)
		for i, by := range w.by {
			if by != nil && !done[w.places[i].Key] {
				done[w.places[i].Key] = true
				a.Paths = append(a.Paths, w.path(by))
			}
		}
		for key, s := range w.ends {
			if !done[key] {
				done[key] = true
				a.Paths = append(a.Paths, w.path(s))
			}
		}
	}
	slices.SortFunc(a.Paths, func(x, y Path) int {
		return cmp.Or(cmp.Compare(rank(x.To.Kind), rank(y.To.Kind)), cmp.Compare(x.Certainty, y.Certainty),
			cmp.Compare(len(x.Steps), len(y.Steps)), cmp.Compare(x.To.Key, y.To.Key))
	})
	return a
}

func rank(kind string) int {
	at := slices.Index([]string{"sensitive", everything, secrets}, kind)
	if at < 0 {
		return 3
	}
	return at
}

func (w *walk) path(last *step) Path {
	var steps []*step
	for s := last; s != nil; s = w.by[s.from] {
		steps = append(steps, s)
	}
	slices.Reverse(steps)
	p := Path{To: last.node}
	for _, s := range steps {
		out := Step{From: w.places[s.from].Node, To: s.node, Certainty: s.certainty, Does: s.text, Evidence: s.evidence, Sources: s.sources}
		if s.rule != nil {
			out.Rule, out.Stays = s.rule.ID, s.rule.Stays
		}
		p.Certainty, p.Stays = max(p.Certainty, s.certainty), p.Stays || out.Stays
		p.Steps = append(p.Steps, out)
	}
	return p
}

// Group of a place: sensitive, everything, secrets, or principals for all that can be acted as.
func (p Path) Group() string {
	switch p.To.Kind {
	case "sensitive", everything, secrets:
		return p.To.Kind
	default:
		return "principals"
	}
}

// Count of the places reached, by Group.
func (a *Answer) Count() map[string]int {
	n := map[string]int{}
	for _, p := range a.Paths {
		n[p.Group()]++
	}
	return n
}
