package rego

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Subject is what applies_to is matched on: the credential, and who holds it.
type Subject struct {
	Credential, Type, Source, Principal, Agent, Owner string
	Labels                                            map[string]string
	Policies                                          []string
}

// Index holds the thresholds of the policies that can apply to one kind of subject. It never changes, and all subjects to
// which the same thresholds apply share one. It answers whether anything could have changed, without OPA.
type Index struct {
	candidates []candidate
	cuts       [NumMetrics]cuts
	moving     []Metric // those with cuts that move by the clock
	askEvery   time.Duration
	class      uint32 // which Index of its set this is, for Signature
}

// candidate is one policy with those of its thresholds that speak of the subject's source.
type candidate struct {
	policy     *Policy
	thresholds []*Threshold
	term       *ast.Term // the same as OPA reads it
}

// cuts divide the values of one metric at its thresholds. A value at or beyond n cuts has passed them; class[n] names the
// truth of all conditions there, so that two stretches with the same truth have the same name.
type cuts struct {
	at    []cut
	class []uint16 // len(at)+1; nil if no condition names the metric
}

// cut lies just below the value, or just above it.
type cut struct {
	value float64
	above bool
}

func (c cut) passed(value float64) bool {
	if c.above {
		return value > c.value
	}
	return value >= c.value
}

// Signature tells apart the truths of all conditions of an Index: two signatures of one Index are equal exactly if every
// condition is as true, false or unknown in the one as in the other. Signatures of different Index objects of one Set differ.
// Compare with ==.
type Signature struct {
	index   uint32
	classes [NumMetrics]uint16
}

// Signature costs a few comparisons a metric and allocates nothing.
func (ix *Index) Signature(v *Values) Signature {
	s := Signature{index: ix.class}
	for m := range ix.cuts {
		c := &ix.cuts[m]
		if c.class == nil {
			continue
		}
		if value, known := v.Get(Metric(m)); known {
			s.classes[m] = c.class[c.passed(value)]
		}
	}
	return s
}

func (c *cuts) passed(value float64) int {
	n := 0
	if len(c.at) > 16 {
		return sort.Search(len(c.at), func(i int) bool { return !c.at[i].passed(value) })
	}
	for n < len(c.at) && c.at[n].passed(value) {
		n++
	}
	return n
}

// crossingSlack is added to a computed crossing, so that at the returned time the value lies past the threshold in spite
// of rounding: a float of seconds keeps a tenth of a microsecond at thirty years.
const crossingSlack = time.Millisecond

// NextCrossing is the earliest time after now at which some condition changes by the mere passing of time, given the
// values at now; at most three milliseconds after the crossing itself and never before it. Policies in free-form Rego
// that ask to be asked every so often count too. The zero time means never.
func (ix *Index) NextCrossing(v *Values, now time.Time) time.Time {
	var next time.Time
	if ix.askEvery > 0 {
		next = now.Add(ix.askEvery)
	}
	for _, m := range ix.moving {
		value, known := v.Get(m)
		if !known || math.IsInf(value, 0) {
			continue
		}
		c := &ix.cuts[m]
		here := c.passed(value)
		distance := math.Inf(1)
		if m.rate() > 0 {
			for n := here; n < len(c.at); n++ {
				if c.class[n+1] != c.class[here] {
					distance = c.at[n].value - value
					break
				}
			}
		} else {
			for n := here; n > 0; n-- {
				if c.class[n-1] != c.class[here] {
					distance = value - c.at[n-1].value
					break
				}
			}
		}
		if distance > (100 * 365 * 24 * time.Hour).Seconds() {
			continue
		}
		at := now.Add(time.Duration(math.Ceil(max(0, distance)*1000))*time.Millisecond + crossingSlack)
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Policies lists the policies that can apply, by id.
func (ix *Index) Policies() []string {
	out := make([]string, 0, len(ix.candidates))
	for i := range ix.candidates {
		out = append(out, ix.candidates[i].policy.ID)
	}
	return out
}

func newIndex(candidates []candidate, class uint32, askEvery time.Duration) *Index {
	ix := &Index{candidates: candidates, class: class, askEvery: askEvery}
	byMetric := map[Metric][]*Threshold{}
	for _, c := range candidates {
		for _, t := range c.thresholds {
			byMetric[t.Metric] = append(byMetric[t.Metric], t)
		}
	}
	for m, thresholds := range byMetric {
		ix.cuts[m] = newCuts(thresholds)
		if m.rate() != 0 {
			ix.moving = append(ix.moving, m)
		}
	}
	slices.Sort(ix.moving)
	return ix
}

func newCuts(thresholds []*Threshold) cuts {
	var at []cut
	for _, t := range thresholds {
		switch t.Condition {
		case GreaterThan, LessOrEqual:
			at = append(at, cut{t.Value, true})
		case GreaterOrEqual, LessThan:
			at = append(at, cut{t.Value, false})
		default:
			at = append(at, cut{t.Value, false}, cut{t.Value, true})
		}
	}
	slices.SortFunc(at, func(a, b cut) int {
		switch {
		case a.value < b.value, a.value == b.value && !a.above && b.above:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	at = slices.Compact(at)
	c := cuts{at: at, class: make([]uint16, len(at)+1)}
	names := map[string]uint16{} // by truth of every condition; 0 stays for unknown
	for n := range c.class {
		inside := sample(at, n)
		truth := make([]byte, len(thresholds))
		for i, t := range thresholds {
			if t.Condition.holds(inside, t.Value) {
				truth[i] = 1
			}
		}
		name, ok := names[string(truth)]
		if !ok {
			name = uint16(len(names) + 1)
			names[string(truth)] = name
		}
		c.class[n] = name
	}
	return c
}

// sample gives a value that has passed exactly n of the cuts.
func sample(at []cut, n int) float64 {
	switch {
	case n == 0:
		if len(at) == 0 || at[0].above {
			return math.Inf(-1)
		}
		return math.Nextafter(at[0].value, math.Inf(-1))
	case at[n-1].above:
		return math.Nextafter(at[n-1].value, math.Inf(1))
	}
	return at[n-1].value
}
