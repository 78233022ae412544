package usage

import "time"

// contradiction compares the two accounts. What rests on times alone needs nobody to have listened; what rests on a
// missing call needs the one who should have told of it to have been read throughout.
func (c *comparison) contradiction() (Finding, bool) {
	reported := c.agents.calls()
	if f, ok := c.impossible(reported); ok {
		return f, true
	}
	logged := c.issuer.Uses + c.issuer.Denied
	if !c.issuer.LogsUse || reported+logged == 0 {
		return Finding{}, false
	}
	lived := c.lived()
	issuerGap, issuerSilent := c.issuer.missing(lived)
	agentsGap, agentsSilent := c.agents.missing(lived)
	switch {
	case logged == 0 && issuerSilent:
		return unknown(Contradiction, IssuerSilent, "agents report %d calls; %s was not read %s", reported, c.issuer.Name, issuerGap)
	case logged == 0:
		return found(Contradiction, NotInIssuersLog, "agents report %d calls %s, and %s, read throughout, tells of none", reported, lived, c.issuer.Name)
	case reported == 0 && c.agents.Since == 0:
		return Finding{}, false // nobody was to report
	case reported == 0 && agentsSilent:
		return unknown(Contradiction, AgentsSilent, "%s tells of %d calls; %s was not read %s", c.issuer.Name, logged, c.agents.Name, agentsGap)
	case reported == 0 && !c.agents.Sampled:
		return found(Contradiction, NotReported, "%s tells of %d calls %s, and no agent reports one: somebody else may hold the credential",
			c.issuer.Name, logged, lived)
	case reported == 0:
		return Finding{}, false
	}
	if f, ok := c.otherOutcome(issuerSilent); ok {
		return f, true
	}
	return c.otherCount(reported, logged, issuerGap, agentsGap, issuerSilent, agentsSilent)
}

// impossible: calls at a time when the issuer says that there was no such credential.
func (c *comparison) impossible(reported uint64) (Finding, bool) {
	skew := int64(c.opts.Skew)
	switch {
	case reported == 0:
	case c.issuer.IssuedAt != 0 && c.agents.FirstAt != 0 && c.agents.FirstAt < c.issuer.IssuedAt-skew:
		return found(Contradiction, BeforeIssue, "an agent reports a use at %s, before it was issued at %s", stamp(c.agents.FirstAt), stamp(c.issuer.IssuedAt))
	case c.issuer.EndedAt != 0 && c.agents.LastAt > c.issuer.EndedAt+skew && c.agents.Uses > 0:
		return found(Contradiction, AfterEnd, "an agent reports a use at %s, after it had ended at %s", stamp(c.agents.LastAt), stamp(c.issuer.EndedAt))
	}
	return Finding{}, false
}

// otherOutcome: one says that calls were allowed, the other that none was.
func (c *comparison) otherOutcome(issuerSilent bool) (Finding, bool) {
	if c.agents.Uses > 0 && c.issuer.Uses == 0 && c.issuer.Denied > 0 && !issuerSilent {
		return found(Contradiction, OutcomeDiffers, "agents report %d calls that went through; %s refused all %d", c.agents.Uses, c.issuer.Name, c.issuer.Denied)
	}
	return Finding{}, false
}

func (c *comparison) otherCount(reported, logged uint64, issuerGap, agentsGap Span, issuerSilent, agentsSilent bool) (Finding, bool) {
	switch {
	case c.above(reported, logged) && issuerSilent:
		return unknown(Contradiction, IssuerSilent, "agents report %d calls, %s tells of %d, but was not read %s", reported, c.issuer.Name, logged, issuerGap)
	case c.above(reported, logged):
		return found(Contradiction, MoreReported, "agents report %d calls, %s tells of %d", reported, c.issuer.Name, logged)
	case c.above(logged, reported) && c.agents.Sampled:
		return Finding{}, false
	case c.above(logged, reported) && agentsSilent:
		return unknown(Contradiction, AgentsSilent, "%s tells of %d calls, agents report %d, but %s was not read %s", c.issuer.Name, logged, reported, c.agents.Name, agentsGap)
	case c.above(logged, reported):
		return found(Contradiction, FewerReported, "%s tells of %d calls, agents report %d: somebody else may hold the credential", c.issuer.Name, logged, reported)
	}
	return Finding{}, false
}

// above is whether a is more than b by more than what counts may differ by.
func (c *comparison) above(a, b uint64) bool {
	return a > b && float64(a-b) > float64(c.opts.Slack)+c.opts.SlackShare*float64(b)
}

// String tells a span to people.
func (s Span) String() string {
	if s.To == 0 {
		return "since " + stamp(s.From)
	}
	return "from " + stamp(s.From) + " to " + stamp(s.To)
}

func stamp(nanos int64) string { return time.Unix(0, nanos).UTC().Format(time.RFC3339) }
