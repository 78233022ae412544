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
	Contradiction Verdict = "usage_contradiction"
	// Unknown: a source that would have to be asked was silent, is not configured, or was not read for long enough.
	Unknown Verdict = "unknown"
)

// Reason is why, from a closed set: fit for a label.
type Reason uint8

// Reasons of verdicts. None: the sources agree, or there is nothing to compare.
const (
	None Reason = iota
	NeverUsed
	NoIssuance
	NotInIssuersLog
	NotReported
	MoreReported
	FewerReported
	OutcomeDiffers
	BeforeIssue
	AfterEnd

	// Those from here on leave it unknown.
	IssuerSilent
	AgentsSilent
	NoWitness
	CallsLeftOut
	IDNotLogged
	HistoryTooShort
	IssuanceNotLogged
	IDsDiffer
	TooRecent
)

var reasons = [...]string{"", "never_used", "no_issuance", "reported_but_not_in_issuers_log", "in_issuers_log_but_not_reported",
	"more_reported_than_logged", "fewer_reported_than_logged", "reported_outcome_differs", "reported_before_issue",
	"reported_after_end", "issuer_silent", "agents_silent", "no_source_tells_of_use", "log_leaves_out_calls", "id_in_no_log",
	"history_too_short", "issuance_not_logged", "ids_not_comparable", "too_recent"}

// String gives the name that findings bear.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}

// Unknown is whether the reason leaves the question open.
func (r Reason) Unknown() bool { return r >= IssuerSilent }

// Found is whether the verdict holds.
func (r Reason) Found() bool { return r != None && !r.Unknown() }

// Judgement is at most one reason about each of unused, unissued and contradiction. It is comparable.
type Judgement struct{ Unused, Unissued, Contradiction Reason }

// Each calls fn for each question that has a reason, in a fixed order.
func (j Judgement) Each(fn func(about Verdict, why Reason)) {
	for _, one := range [...]struct {
		about Verdict
		why   Reason
	}{{IssuedButUnused, j.Unused}, {UsedButUnissued, j.Unissued}, {Contradiction, j.Contradiction}} {
		if one.why != None {
			fn(one.about, one.why)
		}
	}
}

// Finding is one verdict with its evidence.
type Finding struct {
	Verdict Verdict
	// About is what an Unknown verdict would have been about; otherwise it is Verdict itself.
	About  Verdict
	Reason Reason
	// Why is one sentence with the figures.
	Why string
}

// Compare gives Judge's judgement as findings, in a fixed order. No finding is agreement.
func Compare(window Span, issuer *Issuer, agents *Agents, opts Options) []Finding {
	c := comparison{window: window, issuer: issuer, agents: agents, opts: opts.withDefaults()}
	var findings []Finding
	Judge(window, issuer, agents, opts).Each(func(about Verdict, why Reason) {
		f := Finding{Verdict: about, About: about, Reason: why, Why: c.why(about, why)}
		if why.Unknown() {
			f.Verdict = Unknown
		}
		findings = append(findings, f)
	})
	return findings
}

// why is the sentence of a reason, with the figures it rests on.
func (c *comparison) why(about Verdict, reason Reason) string {
	issuer, agents, first := c.issuer.Name, c.agents.Name, stamp(c.firstUse())
	said := fmt.Sprintf("agents report %s, %s tells of %d", calls(c.agents.calls()), issuer, c.issuer.calls())
	const another = ": somebody else may hold the credential"
	switch reason {
	case NeverUsed:
		if c.issuer.LogsUse && !c.issuer.LeavesOut {
			return fmt.Sprintf("issued at %s; %s, read throughout, tells of no use", stamp(c.issuer.IssuedAt), issuer)
		}
		return fmt.Sprintf("issued at %s; no agent reports a use", stamp(c.issuer.IssuedAt))
	case NoIssuance:
		return fmt.Sprintf("used at %s, and %s, read since %s, tells of no issuance", first, issuer, stamp(c.issuer.Since))
	case NotInIssuersLog:
		return fmt.Sprintf("agents report %s since %s, and %s, read throughout, tells of none", calls(c.agents.calls()), stamp(c.agents.FirstAt), issuer)
	case NotReported:
		return fmt.Sprintf("%s tells of %s, and no agent reports one%s", issuer, calls(c.issuer.calls()), another)
	case MoreReported:
		return said
	case FewerReported:
		return said + another
	case OutcomeDiffers:
		return fmt.Sprintf("agents report %s that went through; %s refused all %d", calls(c.agents.Uses), issuer, c.issuer.Denied)
	case BeforeIssue:
		return fmt.Sprintf("an agent reports a use at %s, before it was issued at %s", stamp(c.agents.FirstAt), stamp(c.issuer.IssuedAt))
	case AfterEnd:
		return fmt.Sprintf("an agent reports a use at %s, after it had ended at %s", stamp(c.agents.LastSuccessAt), stamp(c.issuer.EndedAt))
	case IssuanceNotLogged:
		return fmt.Sprintf("used at %s, but %s does not tell of everything that is issued in this way", first, issuer)
	case HistoryTooShort:
		return fmt.Sprintf("used at %s, but it may have been issued before %s was first read, at %s", first, issuer, stamp(c.issuer.Since))
	case NoWitness:
		return issuer + " does not tell of uses, and no agent's log is known to"
	case CallsLeftOut:
		if about == Contradiction {
			return said + ", but leaves out kinds of calls"
		}
		return "no use is known, but " + issuer + " leaves out kinds of calls, and no agent's log is known to tell of them"
	case IDNotLogged:
		return "no use is known, but no log names its id: it was made of the record of its issuance (confidence: inferred)"
	case IDsDiffer:
		return said + ", which is not known to name such credentials by ids of this form: one may be plain, the other hashed"
	case TooRecent:
		return said + ", whose record may be on its way"
	case IssuerSilent:
		return c.silent(about, c.issuer.Source)
	case AgentsSilent:
		return c.silent(about, c.agents.Source)
	}
	return agents
}

// silent is the sentence of a gap in what a source tells.
func (c *comparison) silent(about Verdict, source Source) string {
	if source.Since == 0 {
		return c.known(about) + ", but " + source.Name + " is not read"
	}
	span := c.lived()
	switch about {
	case UsedButUnissued:
		span = c.needed()
	case Contradiction:
		if source.Name == c.issuer.Name {
			span = c.reporting()
		}
	}
	gap, _ := source.missing(span)
	return c.known(about) + ", but " + source.Name + " was not read " + gap.String()
}

func (c *comparison) known(about Verdict) string {
	switch about {
	case UsedButUnissued:
		return "used at " + stamp(c.firstUse()) + ", no issuance is known"
	case Contradiction:
		return fmt.Sprintf("agents report %s, %s tells of %d", calls(c.agents.calls()), c.issuer.Name, c.issuer.calls())
	}
	return "no use is known"
}

func calls(n uint64) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// String tells a span to people.
func (s Span) String() string {
	if s.To == 0 {
		return "since " + stamp(s.From)
	}
	return "from " + stamp(s.From) + " to " + stamp(s.To)
}

func stamp(nanos int64) string { return time.Unix(0, nanos).UTC().Format(time.RFC3339) }
