// Package usage compares what an issuer's log and the agents' own logs tell of one credential over one window of time:
// issued and never used, used and never issued, or each telling another story.
//
// It is a pure function of its input: it reads no clock, holds no state and does not block. It concludes nothing from
// the silence of a source that was not read, nor from records that may still be on their way: what would rest on such a
// gap is unknown, with the reason. Positive evidence needs no coverage: a use that one source saw happened, whatever the
// other missed.
package usage

import "time"

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
	Kind
	// IssuedAt and EndedAt are 0 if unknown, and not ended. EndedAt is revocation or expiry.
	IssuedAt, EndedAt int64
	// Vouched: the issuer spoke of it in another way than by its use: an inventory lists it, a record renews it.
	Vouched bool
	// OtherIDs: the issuer tells nothing of it, and is not known to name such credentials by ids of its form (a hash or the
	// id itself). The credential may be one that the issuer tells of under another name.
	OtherIDs bool
	// Inferred: its id was made of the record of its issuance, since no log names it. No use can be told to be its.
	Inferred bool
	// Uses and Denied are counts within the window; FirstUseAt is the first of all uses, ever.
	Uses, Denied uint64
	FirstUseAt   int64
	// Recent of them are so new that the agents' records of the same calls may be on their way.
	Recent uint64
}

func (i *Issuer) calls() uint64 { return i.Uses + i.Denied }

// Agents is what agents' own logs tell of it.
type Agents struct {
	Source
	// Uses are calls that agents say went through, or of which they do not say what became; Denied those that were
	// refused for want of permission; Failed those that failed otherwise. All within the window.
	Uses, Denied, Failed uint64
	// FirstAt is the first of them, ever; LastSuccessAt the last that an agent says went through. 0: none.
	FirstAt, LastSuccessAt int64
	// Recent of them are so new that the issuer's records of the same calls may be on their way.
	Recent uint64
	// Sampled logs leave calls out: fewer of them prove nothing.
	Sampled bool
	// Copies is how many logs, or forms of them, may tell of one call: a span and a log record of it. 0 is 1.
	Copies uint64
}

func (a *Agents) calls() uint64 { return a.Uses + a.Denied + a.Failed }

// Options of a comparison. The zero value has the defaults.
type Options struct {
	// Grace is how long a credential must have lived within the window before it is called unused. Default 1h.
	Grace time.Duration
	// Skew is how far clocks may differ. Default 5m.
	Skew time.Duration
	// Delay is how long a record may be on its way: what one source told within it, the other may still tell. Default
	// none.
	Delay time.Duration
	// Slack is how many calls, and which share of them, the two counts may differ by: calls at the ends of the window,
	// retries inside a client. Defaults 3 and 0.1.
	Slack      uint64
	SlackShare float64
}

// Grace is the default of Options.Grace.
const Grace = time.Hour

func (o Options) withDefaults() Options {
	if o.Grace <= 0 {
		o.Grace = Grace
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

// Judge gives the judgement about one credential over window, without words: it allocates nothing.
func Judge(window Span, issuer *Issuer, agents *Agents, opts Options) Judgement {
	c := comparison{window: window, issuer: issuer, agents: agents, opts: opts.withDefaults()}
	return Judgement{Unused: c.unused(), Unissued: c.unissued(), Contradiction: c.contradiction()}
}

type comparison struct {
	window Span
	issuer *Issuer
	agents *Agents
	opts   Options
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
func (c *comparison) unused() Reason {
	lived := c.lived()
	switch {
	case c.issuer.IssuedAt == 0, lived.To-lived.From < int64(c.opts.Grace):
		return None
	case c.issuer.calls()+c.agents.calls() > 0, c.issuer.FirstUseAt != 0, c.agents.FirstAt != 0:
		return None
	case c.issuer.Inferred:
		return IDNotLogged
	case c.issuer.LogsUse && !c.issuer.LeavesOut:
		if _, silent := c.issuer.missing(lived); silent {
			return IssuerSilent
		}
		return NeverUsed
	case c.agents.Since == 0 && c.issuer.LogsUse:
		return CallsLeftOut
	case c.agents.Since == 0:
		return NoWitness
	}
	if _, silent := c.agents.missing(lived); silent {
		return AgentsSilent
	}
	return NeverUsed
}

// unissued: a credential that was used was issued by somebody. That its issuer does not know it means something only if
// the issuer's log reaches back far enough to know.
func (c *comparison) unissued() Reason {
	if c.issuer.IssuedAt != 0 || c.issuer.Vouched || c.issuer.calls()+c.agents.calls() == 0 {
		return None
	}
	switch {
	case !c.issuer.LogsIssuance:
		return IssuanceNotLogged
	case c.issuer.Since == 0:
		return IssuerSilent
	case c.issuer.OtherIDs:
		return IDsDiffer
	case c.issuer.Longest <= 0, c.issuer.Since > c.needed().From:
		return HistoryTooShort
	}
	if _, silent := c.issuer.missing(c.needed()); silent {
		return IssuerSilent
	}
	if c.firstUse() > c.window.To-int64(c.opts.Delay) {
		return TooRecent
	}
	return NoIssuance
}

// needed is when it may have been issued: not earlier than its longest life before it was first used.
func (c *comparison) needed() Span {
	return Span{c.firstUse() - int64(c.issuer.Longest), c.firstUse() + int64(c.opts.Skew)}
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
