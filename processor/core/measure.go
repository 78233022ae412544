package core

import (
	"math"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// refresh brings scope and owner up to what is known now. Use alone changes neither, and most events are uses.
func (c *Core) refresh(e *Entry, now int64) {
	rescope := e.marks&markRescope != 0
	if !rescope && e.marks&markReuse == 0 {
		return
	}
	e.marks &^= markRescope | markReuse
	if rescope {
		e.Scope = c.opts.Grants.Credential(scope.Query{Credential: e.ID(), Principal: e.Principal, Policies: e.Policies, Labels: e.Labels})
	}
	e.usedPerms, e.usedUntil = -1, 0
	if e.Scope.Known && e.UsedComplete() && !e.Inferred() {
		used, until := c.usages(e, now)
		e.usedPerms, e.usedUntil = int32(e.Scope.Used(used)), until
	}
	if rescope {
		c.identify(e)
	}
}

// subject is what policies' applies_to looks at.
func (c *Core) subject(e *Entry) rego.Subject {
	key := e.ID()
	sub := rego.Subject{Credential: e.Key, Type: key.Type, Source: key.System, Principal: e.Principal,
		Labels: e.Labels, Policies: e.Policies}
	if e.Match.Agent != nil {
		sub.Agent = e.Match.Agent.ID
	}
	if e.Match.Owner != nil {
		sub.Owner = e.Match.Owner.ID
	}
	return sub
}

// usages lists what a credential was seen to do within the observation, in the scope's terms, and when the first of it
// falls out.
func (c *Core) usages(e *Entry, now int64) (out []scope.Usage, until int64) {
	for _, use := range e.Used() {
		falls := use.LastAt + int64(c.opts.Observation)
		if falls <= now {
			continue
		}
		until = sooner(until, falls)
		operation, folder, _ := strings.Cut(use.Permission, " ")
		switch {
		case use.Many:
			out = append(out, scope.Usage{Operation: operation, Path: folder + "*", Many: true})
		case len(use.Leaves) == 0:
			out = append(out, scope.Usage{Operation: operation, Path: folder})
		}
		for _, leaf := range use.Leaves {
			out = append(out, scope.Usage{Operation: operation, Path: folder + leaf})
		}
	}
	return out, until
}

// Values measures a credential. What is not known is left out, never zero.
func (c *Core) Values(e *Entry, now int64) rego.Values {
	var v rego.Values
	seconds := func(from, to int64) float64 { return float64(to-from) / float64(time.Second) }
	if e.IssuedAt != 0 {
		v.Set(rego.CredentialAge, seconds(e.IssuedAt, now))
		v.Set(rego.RotationAge, seconds(max(e.IssuedAt, e.RotatedAt), now))
		v.Set(rego.IdleTime, seconds(max(e.IssuedAt, e.LastUsedAt), now))
	} else if e.LastUsedAt != 0 {
		v.Set(rego.IdleTime, seconds(e.LastUsedAt, now))
	}
	switch {
	case e.NeverExpires():
		v.Set(rego.RemainingValidity, math.Inf(1))
		v.Set(rego.Lifetime, math.Inf(1))
	case e.ExpiresAt != 0:
		v.Set(rego.RemainingValidity, seconds(now, e.ExpiresAt))
		if e.IssuedAt != 0 {
			v.Set(rego.Lifetime, seconds(e.IssuedAt, e.ExpiresAt))
		}
	}
	if e.Scope != nil && e.Scope.Known {
		v.Set(rego.ScopeComplexity, float64(e.Scope.Permissions))
		v.Set(rego.ScopeWeight, e.Scope.Weight)
		if e.usedPerms >= 0 && e.Scope.Permissions > 0 {
			v.Set(rego.UnusedPermissionRatio, 1-float64(e.usedPerms)/float64(e.Scope.Permissions))
		}
	}
	unseen := c.quiet(e).Since != 0 || e.Inferred() // what was not seen may have happened
	if unseen {
		v.Unset(rego.IdleTime)
		v.Unset(rego.UnusedPermissionRatio)
	}
	c.usageValues(e, now, &v)
	v.Set(rego.ElevationAttempts, float64(e.DeniedPermissions()))
	v.Set(rego.Novelty, float64(novelty(e, now)))
	v.Set(rego.UnresolvedIdentity, flag(e.Match.Owner == nil))
	if agent := e.Match.Agent; agent != nil && agent.ExpectedPerHour > 0 && e.IssuedAt != 0 && !unseen {
		hours := min(24, seconds(e.IssuedAt, now)/3600)
		if hours > 0 {
			v.Set(rego.UtilizationRatio, float64(e.Windows(now).Day)/(agent.ExpectedPerHour*hours))
		}
	}
	return v
}

func flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

// noveltyAfter is how long a credential is watched before a permission it uses for the first time is news, and for how
// long it then stays news.
const noveltyAfter = 24 * time.Hour

// novelty counts the operations on folders that the credential used for the first time within the last day, once it
// has been in use for a day.
func novelty(e *Entry, now int64) int {
	if e.FirstUsedAt == 0 {
		return 0
	}
	n := 0
	for _, use := range e.Used() {
		if use.FirstAt-e.FirstUsedAt >= int64(noveltyAfter) && now-use.FirstAt < int64(noveltyAfter) {
			n++
		}
	}
	return n
}

// UsedPermissions counts granted permissions seen in use; false if that is not known.
func (e *Entry) UsedPermissions() (int, bool) { return int(e.usedPerms), e.usedPerms >= 0 }

// proposal is the scope that use within the observation would justify, and why it must not be applied, if so.
func (c *Core) proposal(e *Entry, now int64) (rules []scope.Rule, incomplete string) {
	switch {
	case e.Scope == nil || !e.Scope.Known:
		incomplete = "scope unknown"
		if e.Scope != nil && e.Scope.Why != "" {
			incomplete += ": " + e.Scope.Why
		}
		return nil, incomplete
	case c.quiet(e).Since != 0:
		incomplete = "the log may lack uses: since " + lifecycle.Time(c.quiet(e).Since).Format(time.RFC3339) + " " + c.quiet(e).Why
	case e.Inferred():
		incomplete = "which uses are its is not certain: no log names its id (confidence: inferred)"
	case !e.UsedComplete():
		incomplete = "more distinct permissions used than are remembered"
	}
	used, _ := c.usages(e, now)
	rules = e.Scope.Use(used)
	if len(rules) == 0 && incomplete == "" {
		incomplete = "no use was seen within the observation"
	}
	return rules, incomplete
}

// Measure gives one credential as policies see it.
func (c *Core) Measure(key string, now int64) (rego.Subject, rego.Values) {
	e := c.Entry(key)
	c.refresh(e, now)
	return c.subject(e), c.Values(e, now)
}

// Propose gives the scope that a credential's observed use would justify now; Incomplete says why not, if so.
func (c *Core) Propose(key string, now int64) *pb.Proposal {
	e := c.Entry(key)
	c.refresh(e, now)
	return c.propose(e, now)
}
