package view

import (
	"fmt"
	"math"
	"slices"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
)

// value of a metric by today's measures; false where it is not known.
func (v *View) value(it *fleet.Item, metric string) (float64, bool) {
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
	return 0, false // novelty, rotation_age: ClickHouse does not tell them
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

// judge tells whether a credential stands past a policy; unknown where that hangs on a value that is not known.
func (v *View) judge(it *fleet.Item, p *rules.Policy, thresholds []float64) (past, unknown bool) {
	asked := 0
	all := true
	for i, m := range p.Metrics {
		if m.Sources != nil && !slices.Contains(m.Sources, it.Source) {
			all = false // a policy that needs a metric of another source does not apply
			continue
		}
		asked++
		value, known := v.value(it, m.Name)
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

// WhatIf moves one threshold of a policy. subject fills in what a policy needs to know of whom it applies to.
func (v *View) WhatIf(p *rules.Policy, metric, threshold string, subject func(*fleet.Item) rules.Subject) (contract.WhatIf, error) {
	out := contract.WhatIf{Metric: metric, Threshold: threshold, WouldFall: []contract.Credential{}, WouldBeFree: []contract.Credential{}}
	at := slices.IndexFunc(p.Metrics, func(m rules.Metric) bool { return m.Name == metric })
	if at < 0 {
		return out, fmt.Errorf("%w: policy %s has no metric %q", rules.ErrRefused, p.ID, metric)
	}
	moved, err := v.Policies.Parse(metric, threshold)
	if err != nil {
		return out, fmt.Errorf("%w: threshold: %w", rules.ErrRefused, err)
	}
	today := make([]float64, len(p.Metrics))
	for i, m := range p.Metrics {
		today[i] = m.Value
	}
	then := slices.Clone(today)
	then[at] = moved
	now := v.Now.UnixNano()
	for _, it := range v.Sorted(fleet.ByDeviation) {
		if it.Ended(now) || !slices.Contains(v.Policies.Applying(subject(it)), p.ID) {
			continue
		}
		before, _ := v.judge(it, p, today)
		after, unknown := v.judge(it, p, then)
		if before {
			out.Now++
		}
		switch {
		case after:
			out.Then++
			if !before && len(out.WouldFall) < 200 {
				out.WouldFall = append(out.WouldFall, v.Credential(it))
			}
		case unknown:
			out.Unknown++
		case before && len(out.WouldBeFree) < 200:
			out.WouldBeFree = append(out.WouldBeFree, v.Credential(it))
		}
	}
	return out, nil
}
