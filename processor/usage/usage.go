// Package usage compares what an issuer's log and the agents' own logs tell of one credential over one window of time:
// issued and never used, used and never issued, or each telling another story.
//
// It is a pure function of its input: it reads no clock, holds no state and does not block. It concludes nothing from
// the silence of a source that was not read: what would rest on such a gap is Unknown, with the source and the time that
// are missing. Positive evidence needs no coverage: a use that one source saw happened, whatever the other missed.
package usage

import (
	"fmt"
	"time"
)

// Verdict is what the comparison says. The texts stand in findings and policies.
type Verdict string

const (
	// IssuedButUnused: the credential existed, whoever would have seen its use was listening, and there was none.
	IssuedButUnused Verdict = "issued_but_unused"
	// UsedButUnissued: it was used, and its issuer, which tells of what it issues, never told of it.
	UsedButUnissued Verdict = "used_but_unissued"
	// Contradiction: both were listening, and what one tells can not be if the other is right.
	Contradiction Verdict = "contradiction"
	// Unknown: a source that would have to be asked was silent, is not configured, or was not read for long enough.
	Unknown Verdict = "unknown"
)

// Reason is why, from a closed set: fit for a label.
type Reason string

// Reasons of verdicts.
const (
	NeverUsed         Reason = "never_used"
	NoIssuance        Reason = "no_issuance"
	NotInIssuersLog   Reason = "reported_but_not_in_issuers_log"
	NotReported       Reason = "in_issuers_log_but_not_reported"
	MoreReported      Reason = "more_reported_than_logged"
	FewerReported     Reason = "fewer_reported_than_logged"
	OutcomeDiffers    Reason = "reported_outcome_differs"
	BeforeIssue       Reason = "reported_before_issue"
	AfterEnd          Reason = "reported_after_end"
	IssuerSilent      Reason = "issuer_silent"
	AgentsSilent      Reason = "agents_silent"
	NoWitness         Reason = "no_source_tells_of_use"
	HistoryTooShort   Reason = "history_too_short"
	IssuanceNotLogged Reason = "issuance_not_logged"
)

// Finding is one verdict with its evidence.
type Finding struct {
	Verdict Verdict
	// About is what an Unknown verdict would have been about; otherwise it is Verdict itself.
	About  Verdict
	Reason Reason
	// Why is one sentence with the figures.
	Why string
}

// Span is the time from From up to and without To, in unix nanoseconds. As a gap, To of 0 is still open.
type Span struct{ From, To int64 }

func (s Span) empty() bool { return s.To <= s.From }

// Source is how well a log was read.
type Source struct {
	// Name is shown: system/instance.
	Name string
	// Since is the time of the first record that can be known; 0: the source is not read at all.
	Since int64
	// Gaps are when it was silent: no heartbeat, a heartbeat that tells of trouble, or no record for far longer than is
	// usual.
	Gaps []Span
}

// missing is the first time in span that the source does not tell of; false if it was read throughout.
func (s *Source) missing(span Span) (Span, bool) {
	if span.empty() {
		return Span{}, false
	}
	if s.Since == 0 {
		return span, true
	}
	if s.Since > span.From {
		return Span{span.From, min(s.Since, span.To)}, true
	}
	first := Span{}
	for _, gap := range s.Gaps {
		cut := Span{max(gap.From, span.From), span.To}
		if gap.To != 0 {
			cut.To = min(gap.To, span.To)
		}
		if !cut.empty() && (first.empty() || cut.From < first.From) {
			first = cut
		}
	}
	return first, !first.empty()
}

// Issuer is what the issuer's own log tells of the credential.
type Issuer struct {
	Source
	// LogsIssuance and LogsUse: whether such a log tells of each at all. A certificate log tells of issuance alone, an
	// audit log of both, CloudTrail of no issuance for the keys of instance profiles.
	LogsIssuance, LogsUse bool
	// IssuedAt and EndedAt are 0 if unknown, and not ended. EndedAt is revocation or expiry.
	IssuedAt, EndedAt int64
	// Longest is the longest time that a credential of this kind lives; 0 is unknown.
	Longest time.Duration
	// Uses and Denied are counts within the window; FirstUseAt is the first of all uses, ever.
	Uses, Denied uint64
	FirstUseAt   int64
}

// Agents is what agents' own logs tell of it.
type Agents struct {
	Source
	// Uses are calls that agents say went through, or of which they do not say what became; Denied those that were
	// refused for want of permission; Failed those that failed otherwise. All within the window.
	Uses, Denied, Failed uint64
	// FirstAt and LastAt are the first and the last of them; 0 if there are none.
	FirstAt, LastAt int64
	// Sampled logs leave calls out: fewer of them prove nothing.
	Sampled bool
}

func (a *Agents) calls() uint64 { return a.Uses + a.Denied + a.Failed }

// Options of a comparison. The zero value has the defaults.
type Options struct {
	// Grace is how long a credential must have lived within the window before it is called unused. Default 1h.
	Grace time.Duration
	// Skew is how far clocks may differ. Default 5m.
	Skew time.Duration
	// Slack is how many calls, and which share of them, the two counts may differ by: calls at the ends of the window,
	// retries inside a client. Defaults 3 and 0.1.
	Slack      uint64
	SlackShare float64
}

func (o Options) withDefaults() Options {
	if o.Grace <= 0 {
		o.Grace = time.Hour
	}
	if o.Skew <= 0 {
		o.Skew = 5 * time.Minute
	}
	if o.Slack == 0 {
		o.Slack = 3
	}
	if o.SlackShare <= 0 {
		o.SlackShare = 0.1
	}
	return o
}

// Compare gives the findings about one credential over window, in a fixed order: at most one about each of unused,
// unissued and contradiction. No finding is agreement.
func Compare(window Span, issuer Issuer, agents Agents, opts Options) []Finding {
	c := comparison{window: window, issuer: issuer, agents: agents, opts: opts.withDefaults()}
	var findings []Finding
	for _, ask := range []func() (Finding, bool){c.unused, c.unissued, c.contradiction} {
		if f, ok := ask(); ok {
			findings = append(findings, f)
		}
	}
	return findings
}

type comparison struct {
	window Span
	issuer Issuer
	agents Agents
	opts   Options
}

func found(v Verdict, reason Reason, why string, args ...any) (Finding, bool) {
	return Finding{Verdict: v, About: v, Reason: reason, Why: fmt.Sprintf(why, args...)}, true
}

func unknown(about Verdict, reason Reason, why string, args ...any) (Finding, bool) {
	return Finding{Verdict: Unknown, About: about, Reason: reason, Why: fmt.Sprintf(why, args...)}, true
}

// lived is the part of the window in which the credential existed.
func (c *comparison) lived() Span {
	span := Span{max(c.window.From, c.issuer.IssuedAt), c.window.To}
	if c.issuer.EndedAt != 0 {
		span.To = min(span.To, c.issuer.EndedAt)
	}
	return span
}

// unused: the issuer's log is the judge where it tells of uses, since what steals a credential reports nothing.
func (c *comparison) unused() (Finding, bool) {
	lived := c.lived()
	switch {
	case c.issuer.IssuedAt == 0, lived.To-lived.From < int64(c.opts.Grace):
		return Finding{}, false
	case c.issuer.Uses+c.issuer.Denied+c.agents.calls() > 0:
		return Finding{}, false
	case c.issuer.LogsUse:
		if gap, silent := c.issuer.missing(lived); silent {
			return unknown(IssuedButUnused, IssuerSilent, "no use is known, but %s was not read %s", c.issuer.Name, gap)
		}
		return found(IssuedButUnused, NeverUsed, "issued at %s; %s, read throughout, tells of no use %s", stamp(c.issuer.IssuedAt), c.issuer.Name, lived)
	case c.agents.Since == 0:
		return unknown(IssuedButUnused, NoWitness, "%s does not tell of uses, and no log of agents is read", c.issuer.Name)
	}
	if gap, silent := c.agents.missing(lived); silent {
		return unknown(IssuedButUnused, AgentsSilent, "no use is known, but %s was not read %s", c.agents.Name, gap)
	}
	return found(IssuedButUnused, NeverUsed, "issued at %s; no agent reports a use %s", stamp(c.issuer.IssuedAt), lived)
}

// unissued: a credential that was used was issued by somebody. That its issuer does not know it means something only if
// the issuer's log reaches back far enough to know.
func (c *comparison) unissued() (Finding, bool) {
	calls := c.issuer.Uses + c.issuer.Denied + c.agents.calls()
	if c.issuer.IssuedAt != 0 || calls == 0 {
		return Finding{}, false
	}
	first := c.firstUse()
	switch {
	case !c.issuer.LogsIssuance:
		return unknown(UsedButUnissued, IssuanceNotLogged, "used, but %s does not tell of what is issued in this way", c.issuer.Name)
	case c.issuer.Since == 0:
		return unknown(UsedButUnissued, IssuerSilent, "used, but %s is not read", c.issuer.Name)
	case c.issuer.Longest <= 0:
		return unknown(UsedButUnissued, HistoryTooShort, "used, but it may have been issued before %s was first read, at %s", c.issuer.Name, stamp(c.issuer.Since))
	}
	// It can not have been issued earlier than its longest life before it was first used.
	needed := Span{first - int64(c.issuer.Longest), first + int64(c.opts.Skew)}
	if c.issuer.Since > needed.From {
		return unknown(UsedButUnissued, HistoryTooShort, "used at %s, but it may have been issued before %s was first read, at %s",
			stamp(first), c.issuer.Name, stamp(c.issuer.Since))
	}
	if gap, silent := c.issuer.missing(needed); silent {
		return unknown(UsedButUnissued, IssuerSilent, "used at %s, but it may have been issued while %s was not read %s", stamp(first), c.issuer.Name, gap)
	}
	return found(UsedButUnissued, NoIssuance, "used at %s, and %s, read since %s, tells of no issuance", stamp(first), c.issuer.Name, stamp(c.issuer.Since))
}

func (c *comparison) firstUse() int64 {
	first := c.issuer.FirstUseAt
	if at := c.agents.FirstAt; first == 0 || at != 0 && at < first {
		first = at
	}
	if first == 0 {
		return c.window.From
	}
	return first
}
