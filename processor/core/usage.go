package core

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// recordDelay is how long a record may be on its way from a source that is followed: CloudTrail's take a quarter of an
	// hour. What one source told within it, the other may still tell.
	recordDelay = 15 * time.Minute
	// bucket is how exact the counts of a window are at its near end.
	bucket = 5 * time.Minute
)

// compared is what stands on both sides of a comparison.
type compared struct {
	window usage.Span
	issuer usage.Issuer
	agents usage.Agents
	opts   usage.Options
}

// Usage tells what the issuer's log and the agents' logs say of a credential, where they do not agree.
func (c *Core) Usage(e *Entry, now int64) []usage.Finding {
	x := c.compared(e, now)
	return usage.Compare(x.window, &x.issuer, &x.agents, x.opts)
}

// Usage is the judgement when the credential was last looked at.
func (e *Entry) Usage() usage.Judgement { return e.usage }

// judge compares both accounts. A new judgement is to be written.
func (c *Core) judge(e *Entry, now int64) usage.Judgement {
	var j usage.Judgement
	if !e.undisputed() {
		x := c.compared(e, now)
		j = usage.Judge(x.window, &x.issuer, &x.agents, x.opts)
	}
	if j != e.usage {
		e.usage = j
		c.markDirty(e)
	}
	return j
}

// undisputed is what most credentials are: issued, used, and named by no agent. Nothing can be said of them, which saves
// comparing with every event.
func (e *Entry) undisputed() bool {
	return e.IssuedAt != 0 && (e.FirstUsedAt != 0 || e.LastDeniedAt != 0) && e.Reported() == nil
}

// usageValues: what is not known is left out. That nobody contradicts an issuer is known only where agents tell.
func (c *Core) usageValues(e *Entry, now int64, v *rego.Values) {
	j := c.judge(e, now)
	set := func(m rego.Metric, why usage.Reason) {
		if !why.Unknown() {
			v.Set(m, flag(why.Found()))
		}
	}
	set(rego.IssuedButUnused, j.Unused)
	set(rego.UsedButUnissued, j.Unissued)
	if e.Reported() != nil {
		set(rego.UsageContradiction, j.Contradiction)
	}
}

// usageEvidence gives violations of the comparison the sentence that they rest on.
func (c *Core) usageEvidence(e *Entry, violations []*pb.Violation, now int64) {
	for _, violation := range violations {
		if m, _ := rego.ParseMetric(violation.Metric); m != rego.IssuedButUnused && m != rego.UsedButUnissued && m != rego.UsageContradiction {
			continue
		}
		for _, f := range c.Usage(e, now) {
			if string(f.About) == violation.Metric {
				violation.Evidence = f.Why
			}
		}
	}
}

func (e *Entry) tooRecent() bool {
	return e.usage.Unissued == usage.TooRecent || e.usage.Contradiction == usage.TooRecent
}

// rejudge is when time alone may change the judgement; 0 never.
func (c *Core) rejudge(e *Entry, now int64) int64 {
	if e.tooRecent() {
		last := max(e.LastUsedAt, e.LastDeniedAt)
		if r := e.Reported(); r != nil {
			last = max(last, r.LastAt)
		}
		return max(now, last+int64(recordDelay)) + int64(bucket)
	}
	ripe := e.IssuedAt + int64(usage.Grace+time.Second)
	if e.undisputed() || e.usage.Unused != usage.None || e.IssuedAt == 0 || e.Reported() != nil || ripe <= now {
		return 0
	}
	if kind := kindOf(e.Key); !kind.LogsUse || kind.LeavesOut {
		return 0
	}
	return ripe
}

// compared gathers both accounts, over the same window.
func (c *Core) compared(e *Entry, now int64) compared {
	x := compared{issuer: usage.Issuer{Kind: kindOf(e.Key), IssuedAt: e.IssuedAt, FirstUseAt: e.FirstUsedAt,
		Vouched: e.Vouched(), Inferred: e.Inferred(), OtherIDs: c.otherIDs(e)}, opts: usage.Options{Delay: recordDelay}}
	if x.issuer.FirstUseAt == 0 {
		x.issuer.FirstUseAt = e.LastDeniedAt
	}
	switch e.State(now) {
	case lifecycle.Revoked:
		x.issuer.EndedAt = e.RevokedAt
	case lifecycle.Expired:
		x.issuer.EndedAt = e.ExpiresAt
	}
	source := sourceOf(e.Key)
	reading := c.reading[source]
	x.issuer.Name, x.issuer.Since = source, earlierOf(reading.From, e.FirstUsedAt)
	if e.IssueSeen() {
		x.issuer.Since = earlierOf(x.issuer.Since, e.IssuedAt)
	}
	x.issuer.Gaps = gaps(nil, reading, now)
	r := e.Reported()
	if r == nil {
		x.window = usage.Span{From: edge(now, month), To: now}
		x.issuer.Uses, x.issuer.Denied = e.Uses, e.Denied // whether any, ever, is all that is asked
		return x
	}
	c.reported(e, r, reading, now, &x)
	return x
}

// reported fills in what agents tell, and picks the longest window that both are known to have been read in throughout.
func (c *Core) reported(e *Entry, r *lifecycle.Reported, issuer silence.Reading, now int64, x *compared) {
	heard, unheard, atHand := int64(0), false, issuer.Until != 0
	for _, source := range r.Sources {
		reading := c.reading[source]
		heard, unheard, atHand = max(heard, reading.From), unheard || reading.From == 0, atHand && reading.Until != 0
		x.agents.Gaps = gaps(x.agents.Gaps, reading, now)
	}
	if unheard {
		heard = 0 // of one of them nobody knows
	}
	if e.Heard(heard, x.issuer.Since) {
		c.markDirty(e)
	}
	x.issuer.Since = r.IssuerHeardSince
	x.agents.Name, x.agents.Since = strings.Join(r.Sources, ", "), earlierOf(r.HeardSince, r.FirstAt)
	x.agents.FirstAt, x.agents.LastSuccessAt, x.agents.Sampled = r.FirstAt, r.LastSuccessAt, r.Sampled
	x.agents.Copies = uint64(len(r.Sources) * len(r.Forms))
	if atHand {
		x.opts.Delay = 0 // both logs are complete
	} else {
		x.issuer.Recent, x.agents.Recent = e.Recent(now, recordDelay), r.Recent(now, recordDelay)
	}
	uses, denied := e.Windows(now), e.Refusals(now)
	used, refused, failed := r.Windows(now)
	windows := [...]struct {
		span                                      span
		uses, denied, reported, reportedD, failed uint64
	}{
		{month, uses.Month, denied.Month, used.Month, refused.Month, failed.Month},
		{week, uses.Week, denied.Week, used.Week, refused.Week, failed.Week},
		{day, uses.Day, denied.Day, used.Day, refused.Day, failed.Day},
	}
	pick := windows[0]
	for _, w := range windows {
		if x.agents.Since <= max(edge(now, w.span), e.IssuedAt) {
			pick = w
			break
		}
	}
	x.window = usage.Span{From: edge(now, pick.span), To: now}
	x.issuer.Uses, x.issuer.Denied = pick.uses, pick.denied
	x.agents.Uses, x.agents.Denied, x.agents.Failed = pick.reported, pick.reportedD, pick.failed
}

// kindOf a key, system/instance/type/id. It is asked for with every event, so it makes no Key.
func kindOf(key string) usage.Kind {
	system, rest, _ := strings.Cut(key, "/")
	_, rest, _ = strings.Cut(rest, "/")
	typ, _, _ := strings.Cut(rest, "/")
	return usage.KindOf(system, typ)
}

// span of a window and the width of the bucket at its far edge, which counts whole.
type span struct{ long, width time.Duration }

var (
	month = span{30 * 24 * time.Hour, 24 * time.Hour}
	week  = span{7 * 24 * time.Hour, 24 * time.Hour}
	day   = span{24 * time.Hour, time.Hour}
)

func edge(now int64, s span) int64 {
	from := now - int64(s.long)
	return from - from%int64(s.width)
}

// gaps adds when a source is silent, or where a log at hand ends although others go on.
func gaps(to []usage.Span, r silence.Reading, now int64) []usage.Span {
	if r.Since != 0 {
		to = append(to, usage.Span{From: r.Since})
	}
	if r.Until != 0 && now-r.Until > int64(recordDelay) {
		to = append(to, usage.Span{From: r.Until})
	}
	return to
}

// earlierOf is the earlier of two times, either of which may be unknown.
func earlierOf(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
