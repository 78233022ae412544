package reach

import (
	"iter"
	"sort"
	"strings"
)

// left is a sorted list from which targets are taken, and which skips those that were.
type left struct {
	all  []*target
	next []int // the place itself, or one nearer to the next that is there
	at   map[*target]int
}

func newLeft(all []*target) *left {
	l := &left{all: all, next: make([]int, len(all)+1), at: make(map[*target]int, len(all))}
	for i := range l.next {
		l.next[i] = i
	}
	for i, t := range all {
		l.at[t] = i
	}
	return l
}

func (l *left) find(i int) int {
	for l.next[i] != i {
		l.next[i] = l.next[l.next[i]]
		i = l.next[i]
	}
	return i
}

func (l *left) taken(t *target) bool {
	i, ok := l.at[t]
	return !ok || l.next[i] != i
}

// take reports whether it was there.
func (l *left) take(t *target) bool {
	if l == nil || l.taken(t) {
		return false
	}
	i := l.at[t]
	l.next[i] = i + 1
	return true
}

// within gives those that are there and that the places of the rule's target allow. The caller may take them.
func (l *left) within(m *Map, p *place, r *Rule) iter.Seq[*target] {
	return func(yield func(*target) bool) {
		if l == nil {
			return
		}
		for _, prefix := range prefixes(p, r) {
			if prefix.whole {
				t := m.named(p, prefix.text)
				if t != nil && !l.taken(t) && !yield(t) {
					return
				}
				continue
			}
			from := sort.Search(len(l.all), func(i int) bool { return l.all[i].short >= prefix.text })
			for i := l.find(from); i < len(l.all) && strings.HasPrefix(l.all[i].short, prefix.text); i = l.find(i + 1) {
				if !yield(l.all[i]) {
					return
				}
			}
		}
	}
}

// prefix of the short names of targets; whole: the name of one.
type prefix struct {
	text  string
	whole bool
}

// prefixes within which the targets of a rule lie: those of its first need of one. A rule without any may reach all.
func prefixes(p *place, r *Rule) (out []prefix) {
	for _, n := range r.needs {
		if !n.target {
			continue
		}
		for _, permission := range n.permissions {
			for _, pattern := range p.powers.Places(permission) {
				one := shortened(p.system, pattern)
				if one.text == "" && !one.whole {
					return []prefix{one}
				}
				out = append(out, one)
				if p.system == "gcpaudit" && !one.whole {
					out = append(out, prefix{text: "-/"}) // accounts whose address does not tell the project
				}
			}
		}
		return out
	}
	return []prefix{{}}
}

func shortened(system, pattern string) prefix {
	if system == "gcpaudit" {
		_, after, ok := strings.Cut(pattern, "projects/")
		if !ok {
			return prefix{}
		}
		id, rest, _ := strings.Cut(after, "/")
		if address, one := strings.CutPrefix(rest, "serviceAccounts/"); one {
			return prefix{address, true}
		}
		return prefix{id + "/", false}
	}
	if !strings.ContainsAny(pattern, "*?") {
		return prefix{pattern, true}
	}
	parts := strings.SplitN(pattern, ":", 6)
	if len(parts) < 6 {
		return prefix{}
	}
	_, name, ok := strings.Cut(parts[5], "/")
	if kind, _, _ := strings.Cut(parts[5], "/"); !ok || strings.ContainsAny(kind, "*?") {
		return prefix{}
	}
	if wild := strings.IndexAny(name, "*?"); wild >= 0 {
		name = name[:wild]
	}
	return prefix{name, false}
}
