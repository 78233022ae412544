package record

import (
	"time"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/usage"
)

// reported are the columns of a credential that tell what agents say of it, and how that fits what its issuer says.
type reported struct {
	uses, denied, failed            []uint64
	first, last                     []*time.Time
	sampled                         []bool
	unused, unissued, contradiction []*bool
	reasons                         []map[string]string
}

func newReported(n int) *reported {
	return &reported{uses: counts(n), denied: counts(n), failed: counts(n), first: times(n), last: times(n), sampled: make([]bool, n),
		unused: make([]*bool, n), unissued: make([]*bool, n), contradiction: make([]*bool, n), reasons: make([]map[string]string, n)}
}

func (c *reported) take(i int, e *core.Entry) {
	r := e.Reported()
	if r != nil {
		c.uses[i], c.denied[i], c.failed[i], c.sampled[i] = r.Uses, r.Denied, r.Failed, r.Sampled
		c.first[i], c.last[i] = maybeNanos(r.FirstAt), maybeNanos(r.LastAt)
	}
	j := e.Usage()
	c.unused[i], c.unissued[i] = maybeFound(j.Unused), maybeFound(j.Unissued)
	if r != nil { // without an agent's word nothing was compared
		c.contradiction[i] = maybeFound(j.Contradiction)
	}
	j.Each(func(about usage.Verdict, why usage.Reason) {
		if c.reasons[i] == nil {
			c.reasons[i] = map[string]string{}
		}
		c.reasons[i][string(about)] = why.String()
	})
}

// maybeFound gives NULL for what is not known.
func maybeFound(why usage.Reason) *bool {
	if why.Unknown() {
		return nil
	}
	found := why.Found()
	return &found
}

func (c *reported) columns() []column {
	return []column{{"reported_uses", c.uses}, {"reported_denied", c.denied}, {"reported_failed", c.failed},
		{"reported_first_at", c.first}, {"reported_last_at", c.last}, {"reported_sampled", c.sampled},
		{"issued_but_unused", c.unused}, {"used_but_unissued", c.unissued}, {"usage_contradiction", c.contradiction},
		{"usage_reasons", c.reasons}}
}
