package lifecycle

import (
	"maps"
	"slices"
	"strconv"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Change tells what an event changed that others need to act on.
type Change uint8

// Changes; several may be set.
const (
	// ChangedEnd: the credential was revoked by this event, or earlier than known.
	ChangedEnd Change = 1 << iota
	// ChangedChild: a child became known.
	ChangedChild
	// ChangedLifetime: issue time, expiry or renewal moved.
	ChangedLifetime
	// ChangedIdentity: principal, policies or labels moved.
	ChangedIdentity
	// ChangedUse: a permission was used or refused for the first time, or used again after long.
	ChangedUse
)

// Derived is the position of events that no record tells: they follow from others, as far as those were known, and are no
// sighting of the credential.
const Derived = "derived"

// Apply merges one event that names this credential. counted is false for an event whose id was seen before: such a
// one adds to no count, but what it says of times still merges, because the two records of one call carry the times of
// its start and its end.
func (c *Credential) Apply(ev *pb.Event, counted bool) Change {
	at := nanos(ev.OccurredAt)
	var change Change
	if ev.Flag != pb.Event_FUTURE && ev.Position != Derived {
		c.FirstSeenAt, c.LastSeenAt = earliest(c.FirstSeenAt, at), max(c.LastSeenAt, at)
	}
	change |= c.identity(ev, at)
	switch ev.Kind {
	case pb.Event_ISSUED:
		change |= c.issued(ev, at)
	case pb.Event_RENEWED:
		c.RenewedAt = max(c.RenewedAt, at)
		change |= c.lifetime(ev.Lifetime, at)
	case pb.Event_ROTATED:
		c.RotatedAt = max(c.RotatedAt, at)
		change |= c.lifetime(ev.Lifetime, at)
	case pb.Event_OBSERVED:
		c.aliveAt = max(c.aliveAt, at)
		change |= c.lifetime(ev.Lifetime, at)
	case pb.Event_LINKED:
		change |= c.linked(ev)
	case pb.Event_REVOKED:
		change |= c.revoked(ev, at)
	case pb.Event_USED:
		change |= c.used(ev, at, counted)
	case pb.Event_DENIED:
		change |= c.denied(ev, at, counted)
	case pb.Event_NOTED:
		change |= c.mentioned(ev.Lifetime)
		if ev.Labels["reported_use"] == "true" {
			c.reportedUse(ev, at, counted)
		}
	}
	return change
}

func (c *Credential) issued(ev *pb.Event, at int64) Change {
	issued := at
	if ev.Lifetime != nil && ev.Lifetime.IssuedAt != nil {
		issued = nanos(ev.Lifetime.IssuedAt)
	}
	if c.flags&issueSeen == 0 {
		c.IssuedAt = issued
		c.flags |= issueSeen
	} else {
		c.IssuedAt = min(c.IssuedAt, issued)
	}
	return ChangedLifetime | c.lifetime(ev.Lifetime, at)
}

// lifetime takes what a record tells of expiry; the newest word wins.
func (c *Credential) lifetime(l *pb.Lifetime, at int64) Change {
	if l == nil {
		return 0
	}
	change := c.issueTime(l)
	if l.Renewable {
		c.flags |= renewable
	}
	c.PeriodSeconds = max(c.PeriodSeconds, uint32(max(0, l.PeriodSeconds)))
	c.MaxTTLSecond = max(c.MaxTTLSecond, uint32(max(0, l.MaxTtlSeconds)))
	if l.ExpiresAt == nil && !l.NeverExpires {
		return change
	}
	expires := nanos(l.ExpiresAt)
	if at < c.lifetimeToldAt || at == c.lifetimeToldAt && expires <= c.ExpiresAt {
		return change
	}
	c.lifetimeToldAt, c.ExpiresAt = at, expires
	c.flags &^= neverExpires
	if l.NeverExpires {
		c.flags |= neverExpires
	}
	return change | ChangedLifetime
}

// mentioned takes the times that a call's record repeats of its token. They were frozen when the token was issued, so
// any later word on its expiry wins over them.
func (c *Credential) mentioned(l *pb.Lifetime) Change {
	switch {
	case l == nil:
		return 0
	case l.IssuedAt != nil:
		return c.lifetime(l, nanos(l.IssuedAt))
	case !l.NeverExpires || c.lifetimeToldAt != 0 || c.flags&neverExpires != 0:
		return 0
	}
	// The kind of credential has no expiry by itself, such as an access key: the weakest word on its life.
	c.flags |= neverExpires
	return ChangedLifetime
}

func (c *Credential) issueTime(l *pb.Lifetime) Change {
	if l.IssuedAt == nil || c.flags&issueSeen != 0 {
		return 0
	}
	issued := nanos(l.IssuedAt)
	if c.IssuedAt != 0 && c.IssuedAt <= issued {
		return 0
	}
	c.IssuedAt = issued
	return ChangedLifetime
}

func (c *Credential) linked(ev *pb.Event) Change {
	if ev.Child == "" {
		return 0
	}
	act := c.act()
	before := len(act.children)
	act.children = insertSorted(act.children, ev.Child)
	if len(act.children) == before {
		return 0
	}
	return ChangedChild
}

func (c *Credential) revoked(ev *pb.Event, at int64) Change {
	how := intern(ev.Labels["how"])
	switch {
	case rank(how) > 0:
	case ev.Labels["children"] == "orphaned":
		how = HowRevokedAlone
	default:
		how = HowRevoked
	}
	stronger := rank(how) - rank(c.RevokedHow)
	switch {
	case stronger > 0:
		c.RevokedHow, c.RevokedAt = how, at
	case stronger == 0 && (how == HowDeactivated && at > c.RevokedAt || how != HowDeactivated && at < c.RevokedAt):
		c.RevokedAt = at
	default:
		return 0
	}
	return ChangedEnd
}

func (c *Credential) used(ev *pb.Event, at int64, counted bool) Change {
	change := c.mentioned(ev.Lifetime)
	if ev.Flag == pb.Event_FUTURE {
		return change
	}
	c.FirstUsedAt, c.LastUsedAt = earliest(c.FirstUsedAt, at), max(c.LastUsedAt, at)
	c.aliveAt = max(c.aliveAt, at)
	act := c.act()
	news := act.used.add(ev.Permission, at, counted)
	for n := 2; ; n++ {
		permission := more(ev, n)
		if permission == "" {
			break
		}
		news = act.used.add(permission, at, counted) || news
	}
	c.infer(ev)
	if news {
		change |= ChangedUse
	}
	if counted {
		c.Uses++
		if ev.Flag == pb.Event_NONE {
			act.uses.Add(at)
		}
	}
	return change
}

func (c *Credential) denied(ev *pb.Event, at int64, counted bool) Change {
	change := c.mentioned(ev.Lifetime)
	c.LastDeniedAt = max(c.LastDeniedAt, at)
	if !counted {
		return change
	}
	act := c.act()
	before := len(act.denied.smallest)
	when := at
	if ev.Flag != pb.Event_NONE {
		when = 0 // such a time is not believed
	}
	for n, permission := 2, ev.Permission; ; n++ {
		act.denied.add(permission)
		act.refused = act.refused.add(permission, when)
		if permission = more(ev, n); permission == "" {
			break
		}
	}
	c.infer(ev)
	if len(act.denied.smallest) != before {
		change |= ChangedUse
	}
	c.Denied++
	if ev.Flag == pb.Event_NONE {
		act.refusals.Add(at)
	}
	return change
}

// more gives the n-th permission of a call that needed several (GCP's labels permission.2 and following); empty if there
// is none.
func more(ev *pb.Event, n int) string {
	if len(ev.Labels) == 0 {
		return ""
	}
	if n == 2 {
		return ev.Labels["permission.2"] // asked for every call
	}
	return ev.Labels["permission."+strconv.Itoa(n)]
}

// infer notes a call that is the credential's only by inference.
func (c *Credential) infer(ev *pb.Event) {
	if len(ev.Labels) > 0 && ev.Labels["confidence"] == "inferred" {
		c.flags |= usesInferred
	}
}

// identity takes who holds the credential and through what it is granted. A parent, once told, stays; of two different
// words the smaller text wins, so that order does not matter.
func (c *Credential) identity(ev *pb.Event, at int64) Change {
	var change Change
	if ev.Principal != "" && ev.Principal != c.Principal && (c.Principal == "" || ev.Principal < c.Principal) {
		c.Principal = intern(ev.Principal)
		change |= ChangedIdentity
	}
	if ev.Orphan {
		c.flags |= orphan
	}
	if ev.Parent != "" && (c.Parent == "" || ev.Parent < c.Parent) {
		c.Parent = intern(ev.Parent)
	}
	describes := ev.Kind == pb.Event_ISSUED || ev.Kind == pb.Event_RENEWED || ev.Kind == pb.Event_OBSERVED
	if len(ev.Policies) > 0 && (at > c.policiesToldAt || at == c.policiesToldAt && slices.Compare(ev.Policies, c.Policies) > 0) {
		c.policiesToldAt = at
		if !slices.Equal(ev.Policies, c.Policies) {
			c.Policies = internSet(ev.Policies)
			change |= ChangedIdentity
		}
	}
	if describes && len(ev.Labels) > 0 {
		merged := c.mergedLabels(ev.Labels)
		if merged != nil {
			c.Labels = internMap(merged)
			change |= ChangedIdentity
		}
	}
	return change
}

// mergedLabels adds labels; of two different values of one label the greater text wins. nil if nothing changes.
func (c *Credential) mergedLabels(labels map[string]string) map[string]string {
	if len(c.Labels) == 0 {
		return labels
	}
	var merged map[string]string
	for name, value := range labels {
		old, ok := c.Labels[name]
		if ok && old >= value {
			continue
		}
		if merged == nil {
			merged = maps.Clone(c.Labels)
		}
		merged[name] = value
	}
	return merged
}

func earliest(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}
