package scan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/processor/usage"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Usage is what agents' own logs tell of a credential, and where that and what its issuer tells do not fit.
type Usage struct {
	// Reported is null if no agent names the credential.
	Reported *Reported      `json:"reported"`
	Findings []UsageFinding `json:"findings"`
}

// Reported are the calls that agents log. They are no part of the credential's uses.
type Reported struct {
	Uses    uint64     `json:"uses"`
	Denied  uint64     `json:"denied"`
	Failed  uint64     `json:"failed"`
	FirstAt *time.Time `json:"first_at"`
	LastAt  *time.Time `json:"last_at"`
	Sampled bool       `json:"sampled"`
	Sources []string   `json:"sources"`
}

// UsageFinding is one verdict: issued_but_unused, used_but_unissued, usage_contradiction, or unknown with what it would
// have been about.
type UsageFinding struct {
	Verdict string `json:"verdict"`
	About   string `json:"about"`
	Reason  string `json:"reason"`
	Why     string `json:"why"`
	Hint    string `json:"hint"`
}

// UnnamedUse are calls that agents log without naming the credential: they can be tied to a role or an agent alone.
type UnnamedUse struct {
	Holder  string    `json:"holder"`
	Calls   int       `json:"calls"`
	Denied  int       `json:"denied"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	// Sessions are some of the names that the callers gave their sessions.
	Sessions []string `json:"sessions"`
	// Elsewhere are the regions in which calls were answered that were made in another.
	Elsewhere []string `json:"elsewhere"`
	// Secrets counts records that held a credential itself where its id belongs. It is not shown.
	Secrets int `json:"secrets"`
}

// Bounds of what is kept of calls that name no credential.
const (
	maxUnnamed  = 10_000
	maxSessions = 16
)

// usageTally follows, while events come, what the comparison needs beside the credentials. The zero value is empty.
type usageTally struct {
	spans   map[string]*covered
	last    *covered // of the event before: most come in rows of one source
	unnamed map[string]*UnnamedUse
}

// covered is from when to when the logs of a source go.
type covered struct {
	source, instance string
	from, to         int64
}

// event takes an event that was not seen before.
func (t *usageTally) event(ev *pb.Event) {
	if ev.Flag == pb.Event_NONE && ev.OccurredAt != nil {
		at := ev.OccurredAt.Seconds*1e9 + int64(ev.OccurredAt.Nanos)
		s := t.covering(ev.Source, ev.Instance, at)
		s.from, s.to = min(s.from, at), max(s.to, at)
	}
	if ev.Credential == "" && ev.Labels["reported_use"] == "true" {
		t.unnamedUse(ev)
	}
}

func (t *usageTally) covering(source, instance string, at int64) *covered {
	if t.last != nil && t.last.source == source && t.last.instance == instance {
		return t.last
	}
	key := silence.Key(source, instance)
	if t.last = t.spans[key]; t.last == nil {
		if t.spans == nil {
			t.spans = map[string]*covered{}
		}
		t.last = &covered{strings.Clone(source), strings.Clone(instance), at, at}
		t.spans[key] = t.last
	}
	return t.last
}

// readings tell the core what the logs at hand cover.
func (t *usageTally) readings() map[string]silence.Reading {
	out := make(map[string]silence.Reading, len(t.spans))
	for key, s := range t.spans {
		out[key] = silence.Reading{From: s.from, Until: s.to}
	}
	return out
}

func (t *usageTally) unnamedUse(ev *pb.Event) {
	holder := cmp.Or(ev.Labels["session_issuer"], ev.Labels["reported_principal"], ev.Labels["agent_id"], "not named")
	at := ev.OccurredAt.AsTime()
	u := t.unnamed[holder]
	if u == nil {
		if len(t.unnamed) >= maxUnnamed {
			return
		}
		if t.unnamed == nil {
			t.unnamed = map[string]*UnnamedUse{}
		}
		u = &UnnamedUse{Holder: strings.Clone(holder), FirstAt: at, LastAt: at, Sessions: []string{}, Elsewhere: []string{}}
		t.unnamed[u.Holder] = u
	}
	u.Calls++
	if ev.Labels["reported_outcome"] == "denied" {
		u.Denied++
	}
	if at.Before(u.FirstAt) {
		u.FirstAt = at
	}
	if at.After(u.LastAt) {
		u.LastAt = at
	}
	if ev.Labels["credential_unreadable"] == "secret" {
		u.Secrets++
	}
	u.Sessions = withName(u.Sessions, ev.Labels["session_name"])
	if region := ev.Labels["inference_region"]; region != ev.Labels["region"] {
		u.Elsewhere = withName(u.Elsewhere, region)
	}
}

// withName adds a name to a sorted list; of many, those that come first stay, whatever the order in which they came.
func withName(list []string, name string) []string {
	at, there := slices.BinarySearch(list, name)
	if name == "" || there {
		return list
	}
	list = slices.Insert(list, at, strings.Clone(name))
	return list[:min(len(list), maxSessions)]
}

// usageOf is what agents say of a credential, and what does not fit; nil if there is neither.
func usageOf(c *core.Core, e *core.Entry, asOf int64) *Usage {
	told, findings := e.Reported(), c.Usage(e, asOf)
	if told == nil && len(findings) == 0 {
		return nil
	}
	u := &Usage{Findings: []UsageFinding{}}
	if told != nil {
		u.Reported = &Reported{told.Uses, told.Denied, told.Failed, moment(told.FirstAt), moment(told.LastAt), told.Sampled, slices.Clone(told.Sources)}
	}
	for _, f := range findings {
		u.Findings = append(u.Findings, UsageFinding{string(f.Verdict), string(f.About), f.Reason.String(), f.Why, hint(f)})
	}
	return u
}

// hint is what to do about a finding.
func hint(f usage.Finding) string {
	switch f.Reason {
	case usage.NeverUsed:
		return "Give it back, and fetch it when it is needed; if it is used, find out why its use is in no log."
	case usage.NoIssuance:
		return "Treat it as forged until its issuer explains it: revoke it, and look whether the issuer's log has a gap at that time."
	case usage.NotInIssuersLog, usage.MoreReported:
		return "Find out where the agent's calls went: past the log, to another server, or nowhere."
	case usage.NotReported, usage.FewerReported:
		return "Rotate it, and find who else holds it; where the agent's log is a sample, let it say so."
	case usage.OutcomeDiffers:
		return "Compare one call in both logs: one of them does not tell the truth."
	case usage.BeforeIssue:
		return "Look whether clocks differ; if not, the agent's log speaks of another credential under this id."
	case usage.AfterEnd:
		return "Whoever took the call did not check that it had ended: make that service ask its issuer."
	case usage.IssuerSilent, usage.HistoryTooShort:
		return "Give the issuer's log of that time, too."
	case usage.AgentsSilent, usage.NoWitness, usage.CallsLeftOut:
		return "Give the logs of the agents that hold it, for the whole time; of a cloud, switch data events on."
	case usage.IDsDiffer:
		return "Let both name it alike: hmac_accessor=false on Vault's audit device, jti in place of a token's hash."
	case usage.IDNotLogged, usage.IssuanceNotLogged:
		return "Nothing: the source does not log it."
	}
	return "Look again in a quarter of an hour."
}

func (t *usageTally) unnamedUses() []UnnamedUse {
	out := []UnnamedUse{}
	for _, holder := range slices.Sorted(maps.Keys(t.unnamed)) {
		out = append(out, *t.unnamed[holder])
	}
	return out
}
