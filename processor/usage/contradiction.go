package usage

// contradiction compares the two accounts. What rests on times alone needs nobody to have listened; what rests on a
// missing call needs the one who should have told of it to have been read throughout.
func (c *comparison) contradiction() Reason {
	reported, logged := c.agents.calls(), c.issuer.calls()
	if why := c.impossible(reported); why != None {
		return why
	}
	if !c.issuer.LogsUse || reported+logged == 0 {
		return None
	}
	_, issuerSilent := c.issuer.missing(c.reporting())
	_, agentsSilent := c.agents.missing(c.lived())
	switch {
	case logged == 0 && c.issuer.LeavesOut:
		return CallsLeftOut
	case logged == 0 && issuerSilent:
		return IssuerSilent
	case logged == 0 && c.issuer.OtherIDs:
		return IDsDiffer
	case logged == 0 && reported == c.agents.Recent:
		return TooRecent
	case logged == 0:
		return NotInIssuersLog
	case reported == 0 && (c.agents.Since == 0 || c.agents.Sampled): // nobody was to report
		return None
	case reported == 0 && agentsSilent:
		return AgentsSilent
	case reported == 0 && logged == c.issuer.Recent:
		return TooRecent
	case reported == 0:
		return NotReported
	case c.agents.LastSuccessAt >= c.window.From && c.agents.LastSuccessAt != 0 && c.issuer.Uses == 0 && !issuerSilent && !c.issuer.LeavesOut:
		// One says that calls were allowed, the other that none was.
		if c.agents.LastSuccessAt > c.window.To-int64(c.opts.Delay) {
			return TooRecent
		}
		return OutcomeDiffers
	}
	return c.otherCount(reported, logged, issuerSilent, agentsSilent)
}

// reporting is the part of the window in which agents report: before it, the issuer's log has nothing to confirm.
func (c *comparison) reporting() Span {
	span := c.lived()
	if c.agents.FirstAt != 0 {
		span.From = max(span.From, c.agents.FirstAt-int64(c.opts.Skew))
	}
	return span
}

// impossible: calls at a time when the issuer says that there was no such credential.
func (c *comparison) impossible(reported uint64) Reason {
	skew := int64(c.opts.Skew)
	switch {
	case reported == 0:
	case c.issuer.IssuedAt != 0 && c.agents.FirstAt != 0 && c.agents.FirstAt < c.issuer.IssuedAt-skew:
		return BeforeIssue
	case c.issuer.EndedAt != 0 && c.agents.LastSuccessAt > c.issuer.EndedAt+skew:
		return AfterEnd
	}
	return None
}

// otherCount leaves out of the larger count what the other may still be about to tell, and what may be told twice.
func (c *comparison) otherCount(reported, logged uint64, issuerSilent, agentsSilent bool) Reason {
	copies := max(1, c.agents.Copies)
	switch {
	case c.above(reported/copies, logged) && c.issuer.LeavesOut:
		return CallsLeftOut
	case c.above(reported/copies, logged) && issuerSilent:
		return IssuerSilent
	case c.above((reported-min(reported, c.agents.Recent))/copies, logged):
		return MoreReported
	case c.above(reported/copies, logged):
		return TooRecent
	case c.above(logged, reported) && c.agents.Sampled:
		return None
	case c.above(logged, reported) && agentsSilent:
		return AgentsSilent
	case c.above(logged-min(logged, c.issuer.Recent), reported):
		return FewerReported
	case c.above(logged, reported):
		return TooRecent
	}
	return None
}

// above is whether a is more than b by more than what counts may differ by.
func (c *comparison) above(a, b uint64) bool {
	return a > b && float64(a-b) > float64(c.opts.Slack)+c.opts.SlackShare*float64(b)
}
