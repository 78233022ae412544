package reach

import (
	"strings"
	"sync"

	"github.com/leastwise/leastwise/processor/scope/iam"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// possible tells quickly which of the permissions that are asked for a statement of AWS may grant at all, so that most
// principals need no look at their resources.
type possible struct {
	names []string // of the permissions that are asked for, in lower case
	index map[string]int

	needs  map[*Rule][]bits // one a need
	things []bits           // one a sensitive thing

	mu  sync.Mutex
	set map[string]bits // by action pattern; guarded by mu
}

type bits [4]uint64

func (b *bits) add(i int) { b[i/64] |= 1 << (i % 64) }

func (b *bits) or(o bits) {
	for i := range b {
		b[i] |= o[i]
	}
}

func (b *bits) overlaps(o bits) bool {
	for i := range b {
		if b[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

// newPossible knows the permissions of the rules and of sensitive things of AWS, as far as there is room.
func newPossible(rules []*Rule, sensitive []Sensitive) *possible {
	p := &possible{index: map[string]int{}, set: map[string]bits{}, needs: make(map[*Rule][]bits, len(rules))}
	for _, r := range rules {
		if r.System != "cloudtrail" {
			continue
		}
		for _, n := range r.needs {
			p.needs[r] = append(p.needs[r], p.any(n.permissions))
		}
	}
	for _, s := range sensitive {
		p.things = append(p.things, p.any(s.Permissions))
	}
	return p
}

var everyBit = bits{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// any is the set of permissions; every bit if there is no room for one of them.
func (p *possible) any(permissions []string) (b bits) {
	for _, permission := range permissions {
		name := strings.ToLower(permission)
		i, ok := p.index[name]
		if !ok {
			if i = len(p.names); i == 64*len(b) {
				return everyBit
			}
			p.index[name] = i
			p.names = append(p.names, name)
		}
		b.add(i)
	}
	return b
}

func (p *possible) of(pattern string) bits {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.set[pattern]; ok {
		return b
	}
	var b bits
	lower := strings.ToLower(pattern)
	for i, name := range p.names {
		if iam.Match(lower, name) {
			b.add(i)
		}
	}
	p.set[pattern] = b
	return b
}

// granted is what statements may grant.
func (p *possible) granted(rules []*pb.Rule) (b bits) {
	for _, rule := range rules {
		if rule.Deny {
			continue
		}
		if len(rule.NotActions) > 0 {
			return everyBit
		}
		for _, pattern := range rule.Actions {
			b.or(p.of(pattern))
		}
	}
	return b
}

func (p *possible) all(r *Rule, granted bits) bool {
	for _, any := range p.needs[r] {
		if !granted.overlaps(any) {
			return false
		}
	}
	return true
}
