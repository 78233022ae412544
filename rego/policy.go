package rego

import (
	"time"

	"github.com/gobwas/glob"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Policy is one policy as its YAML says, checked.
type Policy struct {
	ID          string
	Description string
	Rationale   string
	// MatchAll: all metrics must stand past their thresholds; otherwise any one is enough.
	MatchAll    bool
	Metrics     []Threshold
	Actions     []Action
	AppliesTo   AppliesTo
	Enforcement Enforcement
	Exception   ExceptionRule
	// File and Line say where it is written.
	File string
	Line int
}

// Threshold is one metric of a policy.
type Threshold struct {
	Metric    Metric
	Source    string // as written: vault, iam, any, ...
	Condition Condition
	Value     float64 // durations in seconds
	Text      string  // the threshold as written
}

// Action says how bad a violation is and who is told.
type Action struct {
	Severity string // low, medium, high, critical
	Channel  string // a channel of the enforcer's configuration
	Hint     string
}

// AppliesTo narrows a policy. Within one list any entry is enough; every list that is given must match.
type AppliesTo struct {
	Types      []string // credential types
	Sources    []string // credential sources
	Identities []Pattern
	Owners     []Pattern
	Policies   []Pattern // names of the issuer's policies that the credential holds
	Labels     map[string]Pattern
}

// Pattern is a glob: * stands for any text, ? for one character, [abc] and {a,b} for alternatives.
type Pattern struct {
	Text string
	glob *glob.Pattern
}

// Match says whether the whole text fits the pattern.
func (p Pattern) Match(text string) bool { return p.glob != nil && p.glob.Match(text) }

// Mode is how far a policy goes. The zero value only observes.
type Mode uint8

// Modes, weakest first.
const (
	Observe Mode = iota
	Notify
	Enforce
)

var modeNames = []string{"observe", "notify", "enforce"}

// String gives the name used in YAML.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// DefaultGrace is the grace period of a policy that names none.
const DefaultGrace = 24 * time.Hour

// Enforcement is what a violation leads to. Left out, a policy observes: it is reported and nobody is told.
type Enforcement struct {
	Mode   Mode
	Grace  time.Duration   // from notification to revocation; default 24 h
	Remind []time.Duration // before the revocation, descending; default none
	// Revoke defaults to true where the mode is enforce, Reissue to false.
	Revoke  bool
	Reissue bool
	// RevokeUntold is the reason, in words, for revoking although the owner could not be told; empty: escalate instead.
	RevokeUntold string
	// Approval: a person must approve the revocation first.
	Approval bool
	// Care is how carefully the policy wants it done: approvals by what an act
	// does, business hours, freezes, escalation path, collateral. Nil: nothing
	// is said. The bundle does not see it; Evaluate adds it to the ladder.
	Care *leastwisev1.Ladder
}

// ExceptionRule bounds the exceptions that may be granted from a policy. The zero value sets no bound.
type ExceptionRule struct {
	MaxDuration time.Duration
	Approvers   []string
}

// sourcesOf turns the source of a metric as written into the credential sources it speaks of; nil is any.
func sourcesOf(name string) ([]string, bool) {
	switch name {
	case "any":
		return nil, true
	case "iam":
		return []string{"cloudtrail", "gcpaudit"}, true
	case "aws":
		return []string{"cloudtrail"}, true
	case "gcp":
		return []string{"gcpaudit"}, true
	case "jwt":
		return []string{"jwtregistry", "jwt"}, true
	case "vault", "cloudtrail", "gcpaudit", "spire", "certlog", "jwtregistry", "agentusage":
		return []string{name}, true
	}
	return nil, false
}

const sourceNames = "vault, iam, aws, gcp, spire, certlog, jwt, agentusage, any"

// speaksOf says whether a threshold concerns credentials of the given source.
func (t *Threshold) speaksOf(source string) bool {
	sources, _ := sourcesOf(t.Source)
	if sources == nil {
		return true
	}
	for _, s := range sources {
		if s == source {
			return true
		}
	}
	return false
}
