package reach

import (
	"iter"
	"slices"
	"sort"
	"strings"
)

// left is a list from which targets are taken, and which skips those that were.
type left struct {
	*list
	next []int32 // the place itself, or one nearer to the next that is there
}

func newLeft(of *list) *left {
	l := &left{list: of, next: make([]int32, len(of.all)+1)}
	for i := range l.next {
		l.next[i] = int32(i)
	}
	return l
}

func (l *left) find(i int32) int32 {
	for l.next[i] != i {
		l.next[i] = l.next[l.next[i]]
		i = l.next[i]
	}
	return i
}

func (l *left) taken(t *target) bool { return l.next[t.at] != int32(t.at) }

// take reports whether it was there.
func (l *left) take(t *target) bool {
	if l.taken(t) {
		return false
	}
	l.next[t.at] = int32(t.at) + 1
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
				if t != nil && t.list == l.list && !l.taken(t) && !yield(t) {
					return
				}
				continue
			}
			from := sort.Search(len(l.all), func(i int) bool { return l.all[i].short >= prefix.text })
			for i := l.find(int32(from)); int(i) < len(l.all) && strings.HasPrefix(l.all[i].short, prefix.text); i = l.find(i + 1) {
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
			places := p.powers.Places(permission)
			out = slices.Grow(out, len(places))
			for _, pattern := range places {
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
	if strings.IndexByte(pattern, '*') < 0 && strings.IndexByte(pattern, '?') < 0 {
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
