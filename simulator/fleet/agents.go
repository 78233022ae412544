package fleet

import "time"

// DefaultDay is what stands for a day in the demo: its policies are scaled to it.
const DefaultDay = 1500 * time.Millisecond

// Names of the agents. An agent's AppRole, Vault entity, Vault policy and catalog id all bear its name.
const (
	Steady     = "steady"
	Ingest     = "ingest"
	Diagnostic = "diagnostic"
	Probing    = "probing"
	Excepted   = "excepted"
	Ownerless  = "ownerless"

	// DiagnosticChild is the name under which the token that the diagnostic agent spawns reports.
	DiagnosticChild = "diagnostic/child"
)

// SteadyID is the steady agent's own id, which it logs, and which issuers keep with what they give it.
const SteadyID = "3f6c1d0a-52b1-4b0e-9d3e-7a1c5e0b9f42"

// End is where an agent's ladder is expected to end.
type End string

// The ends.
const (
	// EndUntouched: no policy is violated, nobody is told anything.
	EndUntouched End = "untouched"
	// EndReissued: told, grace, revoked, verified, and given a credential with the scope it used.
	EndReissued End = "reissued"
	// EndNotified: the owner is told and nothing more, since the policy's mode is notify.
	EndNotified End = "notified"
	// EndExempted: violated, but somebody approved an exception; the credential lives.
	EndExempted End = "exempted"
	// EndEscalated: violated, but nobody is known who could be told; the credential lives.
	EndEscalated End = "escalated"
	// EndGivenBack: revoked, given back to somebody who had a reason, and then justified by an exception.
	EndGivenBack End = "given_back"
)

// Agent is one of the fleet: what it does, told in a sentence, and where that is expected to lead.
type Agent struct {
	Name  string
	Story string
	End   End
	// Behaviour plays the agent until its context ends.
	Behaviour Behaviour
}

// Agents returns the fleet, the well-behaved agent first.
func Agents() []Agent {
	return []Agent{
		{Steady, "short-lived tokens, renewed and replaced in time, everything granted is used", EndUntouched, steady},
		{Ingest, "keeps write access to storage long after its ingest task", EndReissued, ingest},
		{Diagnostic, "one token for its whole 30-day deployment, and a child of it", EndReissued, diagnostic},
		{Probing, "tries what it was never granted", EndNotified, probing},
		{Excepted, "long-lived and broad, with an approved exception", EndExempted, reader("archive")},
		{Ownerless, "long-lived and broad, and nobody knows whose it is", EndEscalated, reader("legacy")},
	}
}

const itemsPerTree = 5

// farOff is a time to live that nobody who looks at a demo outlasts: more than a year of the scaled time, and an hour at least.
func farOff(day time.Duration) time.Duration { return max(400*day, time.Hour) }

// agentSite is what Setup makes in Vault for an agent.
type agentSite struct {
	name          string
	policies      map[string]string
	tokenPolicies []string
	ttl, maxTTL   time.Duration
}

func agentSites(day time.Duration) []agentSite {
	long := farOff(day)
	return []agentSite{
		{Steady, map[string]string{Steady: steadyPolicy}, []string{Steady}, steadyTTL * day, steadyMaxTTL * day},
		{Ingest, map[string]string{Ingest: ingestPolicy}, []string{Ingest}, long, long},
		{
			Diagnostic, map[string]string{Diagnostic: diagnosticPolicy, diagnosticChildPolicyName: diagnosticChildPolicy},
			[]string{Diagnostic, diagnosticChildPolicyName}, long, long,
		},
		{Probing, map[string]string{Probing: probingPolicy}, []string{Probing}, long, long},
		{Excepted, map[string]string{Excepted: broadPolicy("archive")}, []string{Excepted}, long, long},
		{Ownerless, map[string]string{Ownerless: broadPolicy("legacy")}, []string{Ownerless}, long, long},
		{loadRole, map[string]string{loadRole: loadPolicy}, []string{loadRole}, time.Hour, 24 * time.Hour},
	}
}
