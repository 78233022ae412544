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
	lanes   leaders // farthest from policy first; only with Options.Places
}

func (s *summary) add(c Credential) {
	s.states[c.State]++
	s.usage.add(c)
	if c.Lane != nil {
		s.lanes.most = lanesShown
		s.lanes.add(c, farther)
	}
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
	most  int // of first; 0: listed
}

func (l *leaders) add(c Credential, order func(a, b *Credential) int) {
	l.n++
	most := cmp.Or(l.most, listed)
	at, _ := slices.BinarySearchFunc(l.first, c, func(a, b Credential) int { return cmp.Or(order(&a, &b), cmp.Compare(a.Key, b.Key)) })
	if at == most {
		return
	}
	l.first = slices.Insert(l.first, at, c)
	l.first = l.first[:min(most, len(l.first))]
}

// lanesShown is how many credentials the page draws.
const lanesShown = 30

// farther sorts by distance from policy: the worst finding, how many there are, and then who may do much for long.
func farther(a, b *Credential) int {
	living := func(c *Credential) int {
		if c.State == "active" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(severe(a), severe(b)), cmp.Compare(b.Violations, a.Violations), cmp.Compare(living(a), living(b)),
		left(b).Compare(left(a)), cmp.Compare(b.Uses, a.Uses))
}

func severe(c *Credential) int {
	if c.Severity == "" {
		return len(Severities) + 1
	}
	return rank(c.Severity)
}
