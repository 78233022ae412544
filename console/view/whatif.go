package view

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
)

// Value of a metric by today's measures; false where it is not known.
func (v *View) Value(it *fleet.Item, metric string) (float64, bool) {
	m := v.Measures(it)
	known := func(p *float64) (float64, bool) {
		if p == nil {
			return 0, false
		}
		return *p, true
	}
	yes := func(n int8) (float64, bool) { return float64(n), n >= 0 }
	heard := v.heard(it)
	switch metric {
	case "credential_age":
		return known(m.AgeSeconds)
	case "lifetime":
		if m.NeverExpires {
			return math.Inf(1), true
		}
		return known(m.LifetimeSeconds)
	case "remaining_validity":
		if m.NeverExpires {
			return math.Inf(1), true
		}
		return known(m.SecondsLeft)
	case "permission_scope_complexity":
		if m.ScopePermissions == nil || !m.ScopeKnown {
			return 0, false
		}
		return float64(*m.ScopePermissions), true
	case "scope_weight":
		if !m.ScopeKnown {
			return 0, false
		}
		return known(m.ScopeWeight)
	case "unused_permission_ratio":
		return known(m.UnusedRatio)
	case "utilization_ratio":
		return known(m.Utilization)
	case "idle_time":
		last := max(it.IssuedAt, it.LastUsedAt)
		return float64(v.Now.UnixNano()-last) / 1e9, last != 0 && heard
	case "elevation_attempts":
		return float64(it.Attempts), true
	case "unresolved_identity":
		if it.Owner == "" {
			return 1, true
		}
		return 0, true
	case "issued_but_unused":
		return yes(it.Unused)
	case "used_but_unissued":
		return yes(it.Unissued)
	case "usage_contradiction":
		return yes(it.Contradiction)
	}
	if v.Told != nil {
		return v.Told(it.Key, metric)
	}
	return 0, false
}

func holds(condition string, value, threshold float64) bool {
	switch condition {
	case "greater_than":
		return value > threshold
	case "greater_or_equal":
		return value >= threshold
	case "less_than":
		return value < threshold
	case "less_or_equal":
		return value <= threshold
	case "equals":
		return value == threshold
	case "not_equals":
		return value != threshold
	}
	return false
}

// judge tells whether a credential of a source stands past a policy; unknown where that hangs on a value that is not known.
func judge(source string, p *rules.Policy, thresholds []float64, of func(metric int) (float64, bool)) (past, unknown bool) {
	asked := 0
	all := true
	for i, m := range p.Metrics {
		if m.Sources != nil && !slices.Contains(m.Sources, source) {
			all = false // a policy that needs a metric of another source does not apply
			continue
		}
		asked++
		value, known := of(i)
		switch {
		case !known:
			unknown = true
		case holds(m.Condition, value, thresholds[i]):
			past = true
			if !p.MatchAll {
				return true, false
			}
		default:
			if p.MatchAll {
				return false, false
			}
		}
	}
	if p.MatchAll && (!all || asked == 0) {
		return false, false
	}
	if p.MatchAll {
		return past && !unknown, unknown
	}
	return false, unknown
}

// Happened is what is known of one credential's last days.
type Happened struct {
	Key, Source string
	// Alive tells whether it was there at the end of a day, Value what a metric of the policy, by its index, was then.
	Alive func(day int) bool
	Value func(metric, day int) (float64, bool)
}

// History of those that a policy applies to. The last of At is now.
type History struct {
	At    []time.Time
	Items []Happened
	// Missing is why there is none; empty: there is.
	Missing string
}

// many is how many credentials a list of what-if names.
const many = 200

// span sums up a credential's days.
type span struct{ past, unknown, alive uint64 }

// verdict of today's measures on one credential.
type verdict struct{ before, after, unknown bool }

// WhatIf moves one threshold of a policy. subject fills in what a policy needs to know of whom it applies to; sheet is its past.
func (v *View) WhatIf(p *rules.Policy, metric, threshold string, subject func(*fleet.Item) rules.Subject, sheet *Sheet) (contract.WhatIf, error) {
	out := contract.WhatIf{Metric: metric, Threshold: threshold, Days: []contract.Day{}, WouldFall: []contract.Fallen{}, WouldBeFree: []contract.Fallen{}}
	today, then, err := v.moved(p, metric, threshold)
	if err != nil {
		return out, err
	}
	now := v.Now.UnixNano()
	said := map[string]verdict{} // of those that do not stand within policy either way
	type fallen struct {
		it   *fleet.Item
		into *[]contract.Fallen
	}
	var list []fallen
	values, known := make([]float64, len(p.Metrics)), make([]bool, len(p.Metrics))
	of := func(m int) (float64, bool) { return values[m], known[m] }
	for _, it := range v.Sorted(fleet.ByDeviation) {
		if it.Ended(now) {
			continue
		}
		for m := range p.Metrics {
			values[m], known[m] = v.Value(it, p.Metrics[m].Name)
		}
		var d verdict
		d.before, _ = judge(it.Source, p, today, of)
		d.after, d.unknown = judge(it.Source, p, then, of)
		if d == (verdict{}) || !slices.Contains(v.Policies.Applying(subject(it)), p.ID) { // cheap first: most stand within
			continue
		}
		said[it.Key] = d
		if d.before {
			out.Now++
		}
		switch {
		case d.after:
			out.Then++
			if !d.before && len(out.WouldFall) < many {
				out.WouldFall = append(out.WouldFall, contract.Fallen{})
				list = append(list, fallen{it, &out.WouldFall})
			}
		case d.unknown:
			out.Unknown++
		case d.before && len(out.WouldBeFree) < many:
			out.WouldBeFree = append(out.WouldBeFree, contract.Fallen{})
			list = append(list, fallen{it, &out.WouldBeFree})
		}
	}
	spans := v.days(sheet, today, then, said, &out)
	places := map[*[]contract.Fallen]int{}
	for _, f := range list {
		s := spans(f.it.Key)
		(*f.into)[places[f.into]] = contract.Fallen{Credential: v.Credential(f.it), DaysPast: s.past, DaysUnknown: s.unknown, DaysAlive: s.alive}
		places[f.into]++
	}
	return out, nil
}

// moved gives a policy's thresholds, and the same with one moved.
func (v *View) moved(p *rules.Policy, metric, threshold string) (today, then []float64, err error) {
	at := slices.IndexFunc(p.Metrics, func(m rules.Metric) bool { return m.Name == metric })
	if at < 0 {
		return nil, nil, fmt.Errorf("%w: policy %s has no metric %q", rules.ErrRefused, p.ID, metric)
	}
	value, err := v.Policies.Parse(metric, threshold)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: threshold: %w", rules.ErrRefused, err)
	}
	today = make([]float64, len(p.Metrics))
	for i, m := range p.Metrics {
		today[i] = m.Value
	}
	then = slices.Clone(today)
	then[at] = value
	return today, then, nil
}

// days judges every credential on every day, with both thresholds. A day on which it can not be told counts as unknown,
// never as within policy. Now is judged by the fleet's own measures. What it gives tells one credential's days.
func (v *View) days(sheet *Sheet, today, then []float64, said map[string]verdict, out *contract.WhatIf) func(key string) span {
	if sheet.history.Missing != "" {
		out.NoDays = &sheet.history.Missing
		return func(string) span { return span{} }
	}
	for _, at := range sheet.history.At {
		out.Days = append(out.Days, contract.Day{At: at})
	}
	before, after := today[sheet.metric], then[sheet.metric]
	spans := make([]span, len(sheet.history.Items))
	count := func(s *span, d *contract.Day, is verdict) (ever bool) {
		d.Alive++
		s.alive++
		if is.before {
			d.InForce++
		}
		switch {
		case is.after:
			d.Then++
			s.past++
		case is.unknown:
			d.Unknown++
			s.unknown++
		}
		return is.before
	}
	for i := range sheet.history.Items {
		s := &spans[i]
		ever := false
		for day := range sheet.days {
			k := i*sheet.days + day
			if sheet.rest[k] == absent {
				continue
			}
			var is verdict
			is.before, _ = sheet.judge(i, k, before)
			is.after, is.unknown = sheet.judge(i, k, after)
			ever = count(s, &out.Days[day], is) || ever
		}
		if h := &sheet.history.Items[i]; len(sheet.history.At) > 0 && h.Alive(sheet.days) {
			is := said[h.Key]
			is.unknown = is.unknown || v.Get(h.Key) == nil
			ever = count(s, &out.Days[sheet.days], is) || ever
		}
		if ever {
			out.EverNow++
		}
		if s.past > 0 {
			out.EverThen++
		}
	}
	return func(key string) span {
		if i, ok := sheet.at[key]; ok {
			return spans[i]
		}
		return span{}
	}
}
