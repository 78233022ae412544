package rego

import (
	"math"
	"strings"
)

// Metric is one thing measured of a credential.
type Metric uint8

// The metrics that a policy may name. Their units are those of unit().
const (
	CredentialAge         Metric = iota // time since issuance
	Lifetime                            // time between issuance and expiry; +Inf if it never expires
	RemainingValidity                   // time until expiry; +Inf if it never expires
	ScopeComplexity                     // distinct permissions granted, wildcards expanded
	ScopeWeight                         // permissions granted, weighted by access level
	UnusedPermissionRatio               // share of the granted permissions that were never used, 0 to 1
	IdleTime                            // time since the last allowed use
	UtilizationRatio                    // uses against the expected rate; 1 is as expected
	ElevationAttempts                   // distinct permissions probed beyond scope
	Novelty                             // permission classes used for the first time
	RotationAge                         // time since the last rotation
	UnresolvedIdentity                  // 1 if no single owner is known, else 0; always known
	IssuedButUnused                     // 1 if issued and never seen in use, else 0
	UsedButUnissued                     // 1 if seen in use and its issuance in no log, else 0
	UsageContradiction                  // 1 if issuer's and agents' logs tell of use what can not both be, else 0

	NumMetrics // how many there are
)

var metricNames = [NumMetrics]string{
	"credential_age", "lifetime", "remaining_validity", "permission_scope_complexity", "scope_weight",
	"unused_permission_ratio", "idle_time", "utilization_ratio", "elevation_attempts", "novelty", "rotation_age",
	"unresolved_identity", "issued_but_unused", "used_but_unissued", "usage_contradiction",
}

// String gives the name used in YAML.
func (m Metric) String() string {
	if m < NumMetrics {
		return metricNames[m]
	}
	return "unknown"
}

// ParseMetric finds a metric by its name in YAML.
func ParseMetric(name string) (Metric, bool) {
	for i, n := range metricNames {
		if n == name {
			return Metric(i), true
		}
	}
	return 0, false
}

// rate tells how a metric moves by the mere passing of time, in seconds a second.
func (m Metric) rate() float64 {
	switch m {
	case CredentialAge, IdleTime, RotationAge:
		return 1
	case RemainingValidity:
		return -1
	}
	return 0
}

type unit uint8

const (
	duration unit = iota // seconds
	count                // a number, not negative
	share                // a ratio between 0 and 1
	ratio                // a ratio, not negative
	flag                 // 0 or 1
)

func (m Metric) unit() unit {
	switch m {
	case CredentialAge, Lifetime, RemainingValidity, IdleTime, RotationAge:
		return duration
	case UnusedPermissionRatio:
		return share
	case UtilizationRatio:
		return ratio
	case UnresolvedIdentity, IssuedButUnused, UsedButUnissued, UsageContradiction:
		return flag
	}
	return count
}

// whole tells whether the metric counts things one by one.
func (m Metric) whole() bool { return m.unit() == count && m != ScopeWeight }

// expected says in words what a threshold of the unit looks like.
func (u unit) expected() string {
	switch u {
	case duration:
		return `a duration such as "90s", "15m", "1h", "30d"`
	case share:
		return `a ratio between 0 and 1 such as "0.8", or a percentage such as "80%"`
	case ratio:
		return `a ratio such as "0.8" or "1.5", or a percentage such as "80%"`
	case flag:
		return `"true" or "false"`
	}
	return `a number such as "5"`
}

// Condition says how a value is compared with its threshold.
type Condition uint8

// The conditions that a policy may name.
const (
	GreaterThan Condition = iota
	GreaterOrEqual
	LessThan
	LessOrEqual
	Equals
	NotEquals
	numConditions
)

var conditionNames = [numConditions]string{
	"greater_than", "greater_or_equal", "less_than", "less_or_equal", "equals", "not_equals",
}

// String gives the name used in YAML.
func (c Condition) String() string {
	if c < numConditions {
		return conditionNames[c]
	}
	return "unknown"
}

func (c Condition) holds(value, threshold float64) bool {
	switch c {
	case GreaterThan:
		return value > threshold
	case GreaterOrEqual:
		return value >= threshold
	case LessThan:
		return value < threshold
	case LessOrEqual:
		return value <= threshold
	case Equals:
		return value == threshold
	case NotEquals:
		return value != threshold
	}
	return false
}

// Values are the measured metrics of one credential at one moment. The zero value knows none of them.
type Values struct {
	known  uint32
	values [NumMetrics]float64
}

// Set notes a measured value: durations in seconds, ratios as numbers, flags as 0 or 1; +Inf stands for "never ends".
// NaN is no measurement and leaves the metric unknown.
func (v *Values) Set(m Metric, value float64) {
	if math.IsNaN(value) {
		v.Unset(m)
		return
	}
	v.values[m] = value
	v.known |= 1 << m
}

// Unset makes a metric unknown again.
func (v *Values) Unset(m Metric) {
	v.values[m] = 0
	v.known &^= 1 << m
}

// Get returns a value, and whether it is known.
func (v *Values) Get(m Metric) (float64, bool) {
	return v.values[m], v.known&(1<<m) != 0
}

// String is for logs and test failures.
func (v *Values) String() string {
	var b strings.Builder
	for m := range NumMetrics {
		if value, ok := v.Get(m); ok {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(m.String() + "=" + Format(m, value))
		}
	}
	return b.String()
}
