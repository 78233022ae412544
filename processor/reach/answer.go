package reach

import (
	"cmp"
	"slices"
	"strings"
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
	kept, done, over := make([]*place, m.targets), make([]bool, m.targets), map[string]bool{}
	if t := m.find(s.Principal); t != nil {
		done[t.number] = true // it is itself already
	}
	for _, least := range []Certainty{Proven, Allowed, Suggested} {
		w := m.walk(start, least, kept)
		a.Paths = slices.Grow(a.Paths, max(0, len(w.by)+len(w.ends)-len(a.Paths)))
		for _, by := range w.by {
			if by != nil && !done[by.target.number] {
				done[by.target.number] = true
				a.Paths = append(a.Paths, w.path(by))
			}
		}
		for key, s := range w.ends {
			if !over[key] {
				over[key] = true
				a.Paths = append(a.Paths, w.path(s))
			}
		}
		if !w.more {
			break // no step was left out, so those of less certainty lead nowhere else
		}
	}
	slices.SortFunc(a.Paths, func(x, y Path) int {
		switch {
		case x.To.Kind != y.To.Kind && rank(x.To.Kind) != rank(y.To.Kind):
			return rank(x.To.Kind) - rank(y.To.Kind)
		case x.Certainty != y.Certainty:
			return cmp.Compare(x.Certainty, y.Certainty)
		case len(x.Steps) != len(y.Steps):
			return len(x.Steps) - len(y.Steps)
		}
		return strings.Compare(x.To.Key, y.To.Key)
	})
	return a
}

func rank(kind string) int {
	switch kind {
	case "sensitive":
		return 0
	case everything:
		return 1
	case secrets:
		return 2
	}
	return 3
}

func (w *walk) path(last *step) Path {
	n := 0
	for s := last; s != nil; s = w.by[s.from] {
		n++
	}
	p := Path{To: *last.node, Steps: make([]Step, n)}
	for s := last; s != nil; s = w.by[s.from] {
		n--
		out := &p.Steps[n]
		out.From, out.To, out.Certainty, out.Does, out.Evidence = w.places[s.from].Node, *s.node, s.certainty, s.text, s.evidence
		if s.rule != nil {
			out.Rule, out.Stays, out.Sources = s.rule.ID, s.rule.Stays, s.rule.Sources
			if s.text == "" {
				s.text = s.rule.does(s.target)
				out.Does = s.text
			}
		}
		p.Certainty, p.Stays = max(p.Certainty, s.certainty), p.Stays || out.Stays
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
