package scan

import (
	"cmp"
	"slices"
	"time"
)

// listed is how many of a kind the text report lists; JSON lists all.
const listed = 20

// summary is what the text report says of all credentials together: counts, and the first few of some orders.
type summary struct {
	states  map[string]int
	probing leaders // were refused, most distinct permissions first
	active  leaders // most time left first
	used    leaders // not active, but used: most uses first
	usage   usageSummary
}

func (s *summary) add(c Credential) {
	s.states[c.State]++
	s.usage.add(c)
	if c.Denied > 0 {
		s.probing.add(c, func(a, b *Credential) int { return cmp.Compare(b.DeniedPermissions, a.DeniedPermissions) })
	}
	switch {
	case c.State == "active":
		s.active.add(c, func(a, b *Credential) int { return left(b).Compare(left(a)) })
	case c.Uses > 0:
		s.used.add(c, func(a, b *Credential) int { return cmp.Compare(b.Uses, a.Uses) })
	}
}

func left(c *Credential) time.Time {
	if c.ExpiresAt == nil {
		return time.Unix(1<<40, 0)
	}
	return *c.ExpiresAt
}

// leaders are the first of n credentials by some order, and by key where it says nothing.
type leaders struct {
	first []Credential
	n     int
}

func (l *leaders) add(c Credential, order func(a, b *Credential) int) {
	l.n++
	at, _ := slices.BinarySearchFunc(l.first, c, func(a, b Credential) int { return cmp.Or(order(&a, &b), cmp.Compare(a.Key, b.Key)) })
	if at == listed {
		return
	}
	l.first = slices.Insert(l.first, at, c)
	l.first = l.first[:min(listed, len(l.first))]
}
