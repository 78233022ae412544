package view

import (
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// View is a reading of the fleet at a time by somebody.
type View struct {
	*fleet.Snapshot
	Now      time.Time
	Policies rules.Policies
	// Excepted finds the exception in force that covers a violation of the credential, if any; may be nil.
	Excepted func(it *fleet.Item, policy string) *contract.Exception
	// Asker is who asks; may be nil.
	Asker Asker
	// Told gives measures of now that the fleet in memory does not hold; may be nil.
	Told func(credential, metric string) (float64, bool)
}

const day = 24 * time.Hour

func figure(v float64) *float64 { return &v }

func count(n int64) *uint64 {
	if n < 0 {
		return nil
	}
	u := uint64(n)
	return &u
}

// within gives a count of a window that ended when the row was written; nothing newer came, so an older last use empties it.
func within(n uint64, last, now int64, window time.Duration) uint64 {
	if last == 0 || now-last >= int64(window) {
		return 0
	}
	return n
}

// Measures of a credential.
func (v *View) Measures(it *fleet.Item) contract.Measures {
	now := v.Now.UnixNano()
	m := contract.Measures{NeverExpires: it.NeverExpires, ScopeKnown: it.ScopeKnown, Uses: it.Uses, Denied: it.Denied, Attempts: it.Attempts,
		Uses1h: within(it.Uses1h, it.LastUsedAt, now, time.Hour), Uses24h: within(it.Uses24h, it.LastUsedAt, now, day),
		Uses7d: within(it.Uses7d, it.LastUsedAt, now, 7*day), Uses30d: within(it.Uses30d, it.LastUsedAt, now, 30*day),
		ScopePermissions: count(it.ScopePermissions), UsedPermissions: count(it.UsedPermissions)}
	if it.ScopePermissions >= 0 {
		m.ScopeWeight = figure(it.ScopeWeight)
	}
	if it.IssuedAt != 0 {
		m.AgeSeconds = figure(float64(now-it.IssuedAt) / 1e9)
	}
	if it.ExpiresAt != 0 {
		m.SecondsLeft = figure(float64(it.ExpiresAt-now) / 1e9)
		if it.IssuedAt != 0 {
			m.LifetimeSeconds = figure(float64(it.ExpiresAt-it.IssuedAt) / 1e9)
		}
	}
	if ratio, known := v.unused(it); known {
		m.UnusedRatio = &ratio
	}
	if ratio, known := v.utilization(it, now); known {
		m.Utilization = &ratio
	}
	return m
}

// heard: else what was not seen may have happened, and nothing is concluded from it.
func (v *View) heard(it *fleet.Item) bool { return v.Heard(it.Source, it.Instance, v.Now) }

// unused is the share of the granted permissions that was never used.
func (v *View) unused(it *fleet.Item) (float64, bool) {
	if it.ScopePermissions <= 0 || it.UsedPermissions < 0 || !v.heard(it) {
		return 0, false
	}
	return 1 - float64(it.UsedPermissions)/float64(it.ScopePermissions), true
}

// utilization is the uses of the last day against what was expected.
func (v *View) utilization(it *fleet.Item, now int64) (float64, bool) {
	expected := v.expected(it.Agent)
	if expected <= 0 || it.IssuedAt == 0 || it.IssuedAt >= now || !v.heard(it) {
		return 0, false
	}
	hours := min(24, float64(now-it.IssuedAt)/float64(time.Hour))
	return float64(within(it.Uses24h, it.LastUsedAt, now, day)) / (expected * hours), true
}

func (v *View) expected(agent string) float64 {
	if agent == "" || v.Policies == nil {
		return 0
	}
	return v.Policies.Expected(agent)
}

// Credential as the contract tells it.
func (v *View) Credential(it *fleet.Item) contract.Credential {
	c := contract.Credential{Measures: v.Measures(it), Key: it.Key, Type: it.Type, Source: it.Source, Instance: it.Instance,
		State: it.State(v.Now.UnixNano()), Agent: text(it.Agent), Owner: text(it.Owner), OwnerEvidence: it.Evidence,
		SystemOfRecord: text(it.System), Principal: text(it.Principal), IssuedAt: fleet.Time(it.IssuedAt), ExpiresAt: fleet.Time(it.ExpiresAt),
		RevokedAt: fleet.Time(it.RevokedAt), RevokedHow: text(it.RevokedHow), FirstSeenAt: fleet.Time(it.FirstSeenAt),
		LastSeenAt: fleet.Time(it.LastSeenAt), LastUsedAt: fleet.Time(it.LastUsedAt), LastDeniedAt: fleet.Time(it.LastDeniedAt),
		Violations: []contract.Violation{}, Deviation: it.Deviation, Severity: severity(it.Severity), Ladder: v.Ladder(it)}
	if it.Decision != nil {
		for _, violated := range it.Decision.Violations {
			c.Violations = append(c.Violations, violation(violated))
			if c.Exception == nil {
				c.Exception = v.excepted(it, violated.PolicyId)
			}
		}
	}
	return c
}

// Credentials of a list.
func (v *View) Credentials(items []*fleet.Item) []contract.Credential {
	out := make([]contract.Credential, len(items))
	for i, it := range items {
		out[i] = v.Credential(it)
	}
	return out
}

func (v *View) excepted(it *fleet.Item, policy string) *contract.Exception {
	if v.Excepted == nil {
		return nil
	}
	return v.Excepted(it, policy)
}

// standing are the violations that no exception covers.
func (v *View) standing(it *fleet.Item) []*pb.Violation {
	var out []*pb.Violation
	if it.Decision != nil {
		for _, violated := range it.Decision.Violations {
			if v.excepted(it, violated.PolicyId) == nil {
				out = append(out, violated)
			}
		}
	}
	return out
}

// Enforcement is what the enforcer is to do, does and has done; settings, budget and approvals are the caller's.
func (v *View) Enforcement() contract.Enforcement {
	out := contract.Enforcement{Coming: []contract.Coming{}, Running: []contract.Running{}, Done: []contract.Done{}, Approvals: []contract.Exception{}, GivenBack: []contract.GivenBack{}}
	for _, it := range v.Items {
		l := it.Ladder
		if l == nil || l.State == pb.LadderState_NONE {
			continue
		}
		policies := ladderPolicies(l)
		if state := v.Ladder(it); state.Restoration != nil {
			out.GivenBack = append(out.GivenBack, contract.GivenBack{Credential: it.Key, Agent: text(it.Agent), Owner: text(it.Owner), Ladder: *state})
		}
		if acted(l) {
			d := contract.Done{Credential: it.Key, Agent: text(it.Agent), Owner: text(it.Owner), At: l.At.AsTime().UTC(), Label: label(l), Proof: l.Proof, Ladder: *v.Ladder(it)}
			if r := l.Reissue; r != nil && r.PolicyName != "" {
				d.Reissued, d.GrantedBefore, d.GrantedAfter = &r.PolicyName, &r.GrantedBefore, &r.GrantedAfter
			}
			out.Done = append(out.Done, d)
		}
		if LadderOver(l) {
			continue
		}
		state := v.Ladder(it)
		if !acted(l) {
			out.Running = append(out.Running, contract.Running{Credential: it.Key, Agent: text(it.Agent), Owner: text(it.Owner), Ladder: *state, Policies: policies})
		}
		if state.NextAt != nil && (l.State == pb.LadderState_NOTIFIED || l.State == pb.LadderState_REMINDED) {
			out.Coming = append(out.Coming, contract.Coming{Credential: it.Key, Agent: text(it.Agent), Owner: text(it.Owner), At: *state.NextAt,
				Collateral: int(l.GetDecision().GetSubject().GetChildrenTotal()), Policies: policies})
		}
	}
	sortBy(out.Coming, func(a, b contract.Coming) int { return first(a.At.Compare(b.At), a.Credential, b.Credential) })
	sortBy(out.Running, func(a, b contract.Running) int {
		return first(b.Ladder.Since.Compare(a.Ladder.Since), a.Credential, b.Credential)
	})
	sortBy(out.Done, func(a, b contract.Done) int { return first(b.At.Compare(a.At), a.Credential, b.Credential) })
	sortBy(out.GivenBack, func(a, b contract.GivenBack) int {
		return first(b.Ladder.Since.Compare(a.Ladder.Since), a.Credential, b.Credential)
	})
	out.GivenBack = bounded(out.GivenBack)
	out.Coming, out.Running, out.Done = bounded(out.Coming), bounded(out.Running), bounded(out.Done)
	return out
}

func ladderPolicies(l *pb.LadderState) []string {
	out := []string{}
	for _, v := range l.GetDecision().GetViolations() {
		out = append(out, v.PolicyId)
	}
	return out
}
