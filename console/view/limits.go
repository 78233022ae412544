package view

import (
	"math"
	"slices"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
)

// Limits are the thresholds that hold for a credential: those of the policies that apply to it, and of them the metrics
// that speak of its source.
func (v *View) Limits(it *fleet.Item, s rules.Subject) []contract.Limit {
	out := []contract.Limit{}
	applying := v.Policies.Applying(s)
	all, _ := v.Policies.All()
	for i := range all {
		p := &all[i]
		if !slices.Contains(applying, p.ID) {
			continue
		}
		for _, m := range p.Metrics {
			if m.Sources != nil && !slices.Contains(m.Sources, it.Source) {
				continue
			}
			one := contract.Limit{Policy: p.ID, Title: p.Title, Severity: p.Severity, Mode: p.Mode, Match: Match(p), Metric: m.Name,
				Condition: m.Condition, Threshold: m.Text, Value: m.Value, Unit: m.Unit}
			if value, known := v.Value(it, m.Name); known {
				past := holds(m.Condition, value, m.Value)
				one.Past = &past
				if one.Endless = math.IsInf(value, 0); !one.Endless {
					one.Now = &value
				}
			}
			out = append(out, one)
		}
	}
	return out
}

// Match says whether one of a policy's conditions is enough.
func Match(p *rules.Policy) string {
	if p.MatchAll {
		return "all"
	}
	return "any"
}

// measured are the metrics whose days a credential's page shows whatever its policies ask: one of each of the four measures.
var measured = map[string]string{"credential_age": "seconds", "permission_scope_complexity": "count", "idle_time": "seconds", "elevation_attempts": "count"}

// Metrics whose days are of interest: those of its limits, and one of each of the four measures.
func Metrics(limits []contract.Limit) (names, units []string) {
	for _, l := range limits {
		if l.Unit != "flag" && !slices.Contains(names, l.Metric) {
			names, units = append(names, l.Metric), append(units, l.Unit)
		}
	}
	for _, name := range []string{"credential_age", "permission_scope_complexity", "idle_time", "elevation_attempts"} {
		if !slices.Contains(names, name) {
			names, units = append(names, name), append(units, measured[name])
		}
	}
	return names, units
}
