package view

import (
	"math"
	"slices"

	"github.com/leastwise/leastwise/console/rules"
)

// Sheet is a policy's past with one threshold left open: of each credential and day the value of that metric, and what the
// policy's other metrics come to. Moving the threshold is then one comparison a day. It does not change once it is made.
type Sheet struct {
	history History
	policy  *rules.Policy
	metric  int // whose threshold moves
	days    int // without the last, which is now
	value   []float64
	rest    []rest
	applies []bool // by credential: the metric is measured at its source
	at      map[string]int
}

// rest is what the other metrics of a policy say of a day.
type rest uint8

const (
	absent  rest = iota // it was not there
	silent              // they leave it to the metric
	past                // they alone put it past the policy
	clear               // they alone keep it within
	unknown             // it hangs on one that is not known
)

// NewSheet works a history out for one metric of a policy, by its index.
func NewSheet(p *rules.Policy, metric int, history History) *Sheet {
	n := max(0, len(history.At)-1)
	s := &Sheet{history: history, policy: p, metric: metric, days: n, value: make([]float64, n*len(history.Items)),
		rest: make([]rest, n*len(history.Items)), applies: make([]bool, len(history.Items)), at: make(map[string]int, len(history.Items))}
	for i := range history.Items {
		h := &history.Items[i]
		s.at[h.Key] = i
		m := p.Metrics[metric]
		s.applies[i] = m.Sources == nil || slices.Contains(m.Sources, h.Source)
		for day := range n {
			if !h.Alive(day) {
				continue
			}
			k := i*n + day
			s.rest[k] = others(p, metric, h, day)
			s.value[k] = math.NaN()
			if value, known := h.Value(metric, day); known {
				s.value[k] = value
			}
		}
	}
	return s
}

// others judges the metrics but one, as judge does.
func others(p *rules.Policy, but int, h *Happened, day int) rest {
	out := silent
	for i, m := range p.Metrics {
		if m.Sources != nil && !slices.Contains(m.Sources, h.Source) {
			if p.MatchAll {
				return clear // a policy that needs a metric of another source does not apply
			}
			continue
		}
		if i == but {
			continue
		}
		value, known := h.Value(i, day)
		switch {
		case !known:
			out = unknown
		case holds(m.Condition, value, m.Value):
			if !p.MatchAll {
				return past
			}
		case p.MatchAll:
			return clear
		}
	}
	return out
}

// judge one day of one credential with a threshold.
func (s *Sheet) judge(i, k int, threshold float64) (isPast, isUnknown bool) {
	switch s.rest[k] {
	case past:
		return true, false
	case clear:
		return false, false
	}
	if !s.applies[i] {
		return false, s.rest[k] == unknown
	}
	value := s.value[k]
	if math.IsNaN(value) {
		return false, true
	}
	if holds(s.policy.Metrics[s.metric].Condition, value, threshold) {
		if s.policy.MatchAll && s.rest[k] == unknown {
			return false, true
		}
		return true, false
	}
	if s.policy.MatchAll {
		return false, false
	}
	return false, s.rest[k] == unknown
}
