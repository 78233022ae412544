package core

import (
	"strconv"
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// What a credential was denied goes to the enforcer with its decision, whether it violates anything or not: only the
// enforcer knows whether a scope was narrowed lately. It is told at once, and then at most once a heartbeat while more
// comes, until the credential has ended too. How much was told stands behind the decision's input revision, so that a
// restart, which reads the decision back, tells the rest and nothing twice.

const denialsMark = "+"

// denied counts the refusals that are told: those whose time is known.
func denied(e *Entry) (n uint64) {
	for _, r := range e.Refused() {
		if r.LastAt != 0 {
			n += r.Count
		}
	}
	return n
}

// denialsRevision is what an input revision says of the refusals; empty: there are none.
func denialsRevision(e *Entry) string {
	if n := denied(e); n > 0 {
		return denialsMark + strconv.FormatUint(n, 10)
	}
	return ""
}

// without is an input revision as far as the policies see it.
func without(revision string) string {
	base, _, _ := strings.Cut(revision, denialsMark)
	return base
}

// untold tells whether there were refusals since the last decision.
func untold(e *Entry) bool {
	if len(e.Refused()) == 0 {
		return false
	}
	_, told, _ := strings.Cut(e.Decided.Revision, denialsMark)
	now := denialsRevision(e)
	return now != "" && now != denialsMark+told
}

// denialsDue tells whether they are to be told now.
func (c *Core) denialsDue(e *Entry, now int64) bool {
	return untold(e) && now >= c.denialsAt(e)
}

// denialsAt is when those that were not told may be: not long after the last decision, so that a storm of refused calls
// is none of decisions. 0: at once.
func (c *Core) denialsAt(e *Entry) int64 {
	if !strings.Contains(e.Decided.Revision, denialsMark) {
		return 0
	}
	return e.Decided.At + int64(c.opts.Heartbeat)
}

func denials(e *Entry) (list []*pb.Denial) {
	for _, r := range e.Refused() {
		if r.LastAt != 0 {
			list = append(list, &pb.Denial{Permission: r.Permission, Count: r.Count, FirstAt: stamp(r.FirstAt), LastAt: stamp(r.LastAt)})
		}
	}
	return list
}

// ended decides for the last time about a credential that is over, and once more for what it was denied before.
func (c *Core) ended(e *Entry, now int64) {
	if len(e.Decided.Policies) > 0 || e.Decided.Revision != "" && without(e.Decided.Revision) != endedRevision || c.denialsDue(e, now) {
		c.publish(e, &pb.Decision{}, now, endedRevision)
		c.markDirty(e)
	}
	if untold(e) {
		c.schedule(e, c.denialsAt(e))
	}
}

const endedRevision = "ended"
