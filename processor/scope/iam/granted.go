package iam

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Granted is what a set of statements grants. It is never changed.
type Granted struct {
	actions []action // sorted by index
	// unknown are patterns allowed that match no action of the list, sorted.
	unknown []pattern
	// layers are the statements of the policies, of their boundary, of the session: each has to grant.
	layers [][]*pb.Rule
}

// action is one that is granted. Few bytes: there may be many scopes.
type action struct {
	index       uint16
	conditional bool
	reach       level.Reach
}

type pattern struct {
	text        string
	conditional bool
	reach       level.Reach
}

// What is found out of each action, one bit after another.
const (
	isAllowed = 1 << iota
	isConditional
	isDenied
	isExcluded // by a NotAction
	isPrefix
	isAll
)

var reachBits = [level.Reaches]uint8{level.One: 0, level.Prefix: isPrefix, level.All: isAll}

// Evaluate gives what statements grant together, denies taken away.
func Evaluate(rules []*pb.Rule) *Granted {
	g := &Granted{layers: [][]*pb.Rule{rules}}
	state := make([]uint8, len(actions().names))
	for _, rule := range rules {
		var mark uint8
		switch {
		case takesAway(rule):
			mark = isDenied
		case rule.Deny:
			continue
		case rule.Conditional:
			mark = isConditional | reachBits[reachOf(rule)]
		default:
			mark = isAllowed | reachBits[reachOf(rule)]
		}
		each(rule, state, func(i int) { state[i] |= mark })
	}
	for i, s := range state {
		if s&isDenied != 0 || s&(isAllowed|isConditional) == 0 {
			continue
		}
		a := action{index: uint16(i), conditional: s&isAllowed == 0}
		switch {
		case s&isAll != 0:
			a.reach = level.All
		case s&isPrefix != 0:
			a.reach = level.Prefix
		}
		g.actions = append(g.actions, a)
	}
	g.actions = slices.Clip(g.actions)
	for _, rule := range rules {
		for _, text := range rule.Actions {
			if !rule.Deny && len(actions().matching(text)) == 0 {
				g.pass(text)
			}
		}
	}
	return g
}

// each calls fn for the actions that a statement speaks of. It leaves no isExcluded behind.
func each(rule *pb.Rule, state []uint8, fn func(i int)) {
	c := actions()
	for _, text := range rule.Actions {
		for _, i := range c.matching(text) {
			fn(int(i))
		}
	}
	if len(rule.NotActions) == 0 {
		return
	}
	for _, text := range rule.NotActions {
		for _, i := range c.matching(text) {
			state[i] |= isExcluded
		}
	}
	for i := range state {
		if state[i]&isExcluded == 0 {
			fn(i)
		}
		state[i] &^= isExcluded
	}
}

// pass takes a pattern that matches no action into what is granted, if every layer's text lets it through.
func (g *Granted) pass(text string) {
	p := pattern{text: text, reach: level.All}
	for _, layer := range g.layers {
		ok, conditional, reach := covers(layer, text)
		if !ok {
			return
		}
		p.conditional, p.reach = p.conditional || conditional, min(p.reach, reach)
	}
	at, there := slices.BinarySearchFunc(g.unknown, text, func(p pattern, text string) int {
		return strings.Compare(strings.ToLower(p.text), strings.ToLower(text))
	})
	if !there {
		g.unknown = slices.Insert(g.unknown, at, p)
	}
}

// Within gives what is granted by both: a policy within its permissions boundary, a session within its policies.
func (g *Granted) Within(bound *Granted) *Granted {
	out := &Granted{layers: slices.Concat(g.layers, bound.layers)}
	for i, j := 0, 0; i < len(g.actions) && j < len(bound.actions); {
		a, b := g.actions[i], bound.actions[j]
		switch {
		case a.index < b.index:
			i++
		case a.index > b.index:
			j++
		default:
			out.actions = append(out.actions, action{a.index, a.conditional || b.conditional, min(a.reach, b.reach)})
			i++
			j++
		}
	}
	for _, p := range slices.Concat(g.unknown, bound.unknown) {
		out.pass(p.text)
	}
	return out
}

// Figures sum up what is granted. A pattern of no known action counts as one permission: the least it can be.
func (g *Granted) Figures() (f level.Figures) {
	for _, a := range g.actions {
		f.Add(actions().levels[a.index], a.reach, a.conditional, true)
	}
	for _, p := range g.unknown {
		f.Add(level.Unknown, p.reach, p.conditional, false)
	}
	return f
}

// Names of what is granted without and only under conditions, sorted, without patterns of no known action; never nil.
func (g *Granted) Names() (allow, conditional []string) {
	allow, conditional = []string{}, []string{}
	for _, a := range g.actions {
		if a.conditional {
			conditional = append(conditional, actions().names[a.index])
		} else {
			allow = append(allow, actions().names[a.index])
		}
	}
	return allow, conditional
}

// Unknown gives the patterns granted that match no known action, sorted.
func (g *Granted) Unknown() []string {
	out := make([]string, len(g.unknown))
	for i, p := range g.unknown {
		out[i] = p.text
	}
	return out
}

// Used tells which of what is granted the calls needed, each permission once, sorted. Calls are named by action.
func (g *Granted) Used(calls []string) []level.Use {
	uses := map[string][]string{}
	g.use(calls, func(permission, action string) { uses[permission] = g.resources(action) })
	return level.Sorted(uses)
}

// CountUsed counts what Used lists.
func (g *Granted) CountUsed(calls []string) int {
	uses := make(map[string]bool, len(calls))
	g.use(calls, func(permission, _ string) { uses[permission] = true })
	return len(uses)
}

// use calls fn for each permission that a call needed, with the name of the action.
func (g *Granted) use(calls []string, fn func(permission, action string)) {
	for _, call := range calls {
		name := ActionOf(call)
		i, known := actions().places[strings.ToLower(name)]
		if known && g.grants(i) {
			fn(actions().names[i], name)
		}
		for _, p := range g.unknown {
			if !known && matchFold(p.text, name) {
				fn(p.text, name)
			}
		}
	}
}

func (g *Granted) grants(index uint16) bool {
	_, found := slices.BinarySearchFunc(g.actions, index, func(a action, index uint16) int { return int(a.index) - int(index) })
	return found
}

// resources that the policies, apart from any boundary, grant an action on.
func (g *Granted) resources(name string) (out []string) {
	for _, rule := range g.layers[0] {
		if rule.Deny || !speaksOf(rule, name) {
			continue
		}
		out = append(out, rule.Resources...)
		for _, not := range rule.NotResources {
			out = append(out, "not:"+not)
		}
	}
	return out
}
