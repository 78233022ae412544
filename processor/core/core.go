// Package core is the processor of one partition without its Kafka and its ClickHouse: credentials, deadlines and the
// trigger that says when a policy has to be asked. `leastwise scan` runs the very same code over files.
//
// Use: Apply every event, then Settle with the time of the clock; take what it wants published from Derived and
// Decisions, and what it wants written from Dirty. Nothing blocks but the evaluation of a policy; nothing is lost by a
// crash, because everything that is taken from here is either deterministic (derived events have the same id when made
// again) or keyed state (decisions, credentials).
package core

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/processor/wheel"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Options of a Core.
type Options struct {
	Grants *scope.Grants
	// Identities, if set, knows who is who: its links lead to owners where no catalog entry names the credential itself.
	Identities *identity.Graph
	// Heartbeat: a standing violation is decided and published again this often, because a revocation needs a fresh
	// decision.
	Heartbeat time.Duration
	// Tick is how exact deadlines are.
	Tick time.Duration
	// Observation is how far back use justifies scope: what was last used before does not.
	Observation time.Duration
	// OnDecision, if set, is told how long each evaluation took.
	OnDecision func(took time.Duration, asked bool)
}

// Core holds the credentials of one partition. It is not safe for concurrent use.
type Core struct {
	opts    Options
	rules   *rego.Set
	catalog *catalog.Catalog
	reading map[string]silence.Reading
	granted uint64 // revision of Grants that the entries' scopes are of
	who     who    // how far the entries' owners follow Options.Identities; see identify.go

	entries map[string]*Entry
	latest  *Entry          // that was asked for by its key; nil if it is packed
	cold    map[string]cold // credentials that are quiet, packed; see cold.go
	wheel   *wheel.Wheel[string]
	// signatures of packed credentials, and where each stands.
	signatures []rego.Signature
	signed     map[rego.Signature]uint32
	touched    []*Entry
	values     rego.Values // of the entry that is settled
	dirty      []*Entry

	forms    map[string]forms // by system/instance/type, as issuers name credentials
	formsNew bool

	// published holds what was said of credentials whose state is not there, until an event brings them back.
	published map[string]lifecycle.Decided

	derived   []*pb.Event
	decisions []*pb.Decision
}

// Entry is a credential with what the trigger keeps of it.
type Entry struct {
	lifecycle.Credential
	Scope *scope.Scope
	Match catalog.Match
	// Identity names the component of the identity that holds it; empty if no identities are known.
	Identity string

	node      uint32 // its holder's number among the identities; 0 until it is known
	revision  uint64 // of the identities, that Match and Identity are of
	index     *rego.Index
	signature rego.Signature
	settledAt int64 // when it was last looked at
	askedAt   int64 // when free-form Rego, which names no thresholds, was last asked
	due       int64 // the only deadline that counts; earlier entries in the wheel are stale
	usedPerms int32 // granted permissions seen in use within the observation; -1 unknown
	usedUntil int64 // when the first of them falls out of the observation; 0 never
	usage     usage.Judgement
	marks     marks
}

type marks uint8

const (
	markTouched marks = 1 << iota
	markDirty
	markAsk      // ask the policies whatever the signature says
	markRescope  // what its scope and its owner are found by has changed, or the scope itself
	markReuse    // used permissions have changed
	markSigned   // signature is of the present rules
	markUnpacked // its owner was not looked up since it was unpacked
	markLearned  // the form of its id counts for its issuer's
)

// New gives an empty core.
func New(opts Options) *Core {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = time.Minute
	}
	if opts.Observation == 0 {
		opts.Observation = 30 * 24 * time.Hour
	}
	if opts.Tick == 0 {
		opts.Tick = time.Second
	}
	return &Core{opts: opts, entries: map[string]*Entry{}, cold: map[string]cold{}, forms: map[string]forms{},
		signed: map[rego.Signature]uint32{}, published: map[string]lifecycle.Decided{},
		wheel: wheel.New[string](opts.Tick)}
}

// Load puts in a credential as a restart finds it.
func (c *Core) Load(cred *lifecycle.Credential) {
	e := &Entry{Credential: *cred, usedPerms: -1, marks: markRescope}
	c.entries[cred.Key], c.latest = e, nil
	if issuerTold(e) {
		c.learn(e)
	}
	c.touch(e)
	c.markDirty(e) // its row tells scope and owner, which may have changed while nobody watched
}

// Entry gives a credential, or nil.
func (c *Core) Entry(key string) *Entry {
	if c.latest != nil && c.latest.Key == key {
		return c.latest // an event's credential is asked for more than once
	}
	e := c.entries[key]
	if e == nil {
		e = c.warm(key)
	}
	if e != nil {
		c.latest = e
	}
	return e
}

// Entries calls fn for each credential, in no order.
func (c *Core) Entries(fn func(*Entry)) {
	c.warmAll()
	for _, e := range c.entries {
		fn(e)
	}
}

// Len counts the credentials.
func (c *Core) Len() int { return len(c.entries) + len(c.cold) }

// Rules puts policies in force. All credentials are looked at again at the next Settle.
func (c *Core) Rules(set *rego.Set) {
	if set == c.rules {
		return
	}
	c.rules = set
	c.Entries(func(e *Entry) {
		e.index = nil
		e.marks |= markAsk
		e.marks &^= markSigned
		c.touch(e)
	})
}

// Catalog puts a catalog in force.
func (c *Core) Catalog(cat *catalog.Catalog) {
	if cat == c.catalog {
		return
	}
	c.catalog = cat
	c.Entries(func(e *Entry) {
		c.identify(e)
		c.touch(e)
	})
}

// Apply merges an event that stands at offset. counted is false for an event whose id was seen at an earlier offset.
// An event at or before the credential's own offset was applied before a crash and changes nothing.
func (c *Core) Apply(ev *pb.Event, offset int64, counted bool) {
	if ev.Credential == "" {
		return
	}
	e := c.Entry(ev.Credential)
	if e == nil {
		e = &Entry{Credential: *lifecycle.New(strings.Clone(ev.Credential)), usedPerms: -1, marks: markRescope}
		c.entries[e.Key] = e
		e.Decided = c.published[e.Key]
		delete(c.published, e.Key)
	}
	if offset <= e.Offset {
		return
	}
	e.Offset = offset
	if e.marks&markLearned == 0 && tellsOf(ev) {
		c.learn(e)
	}
	change := e.Apply(ev, counted)
	if change&lifecycle.ChangedIdentity != 0 {
		e.index, e.node = nil, 0
		e.marks |= markRescope
	}
	if change&lifecycle.ChangedUse != 0 {
		e.marks |= markReuse
	}
	if change&(lifecycle.ChangedEnd|lifecycle.ChangedChild) != 0 {
		c.endChildren(e)
		e.marks |= markAsk
	}
	if change&lifecycle.ChangedChild != 0 && e.ExpiryTold != 0 && e.ExpiryTold == e.ExpiresAt { // the others were told
		c.derived = append(c.derived, endedWith(e.Key, strings.Clone(ev.Child), lifecycle.HowParentExpired, e.ExpiresAt))
	}
	c.touch(e)
	c.markDirty(e)
}

func (c *Core) touch(e *Entry) {
	if e.marks&markTouched == 0 {
		e.marks |= markTouched
		c.touched = append(c.touched, e)
	}
}

func (c *Core) markDirty(e *Entry) {
	if e.marks&markDirty == 0 {
		e.marks |= markDirty
		c.dirty = append(c.dirty, e)
	}
}

// Settle looks at what changed and at what came due by now, and asks the policies where a threshold was crossed. It
// fails only if a policy can not be evaluated; what was not looked at stays for the next call.
func (c *Core) Settle(ctx context.Context, now int64) error {
	if rev := c.opts.Grants.Revision(); rev != c.granted {
		c.granted = rev
		c.Entries(func(e *Entry) {
			e.marks |= markRescope
			c.touch(e)
		})
	}
	c.reidentify(now)
	c.relearn()
	c.wheel.Due(now, func(key string) {
		if quiet, ok := c.cold[key]; ok && quiet.due > now {
			return // stale: the deadline has moved since
		}
		e := c.Entry(key)
		if e.due == 0 || e.due > now {
			return
		}
		e.due = 0
		c.touch(e)
	})
	touched := c.touched
	for i, e := range touched {
		e.settledAt = now
		if err := c.settle(ctx, e, now); err != nil {
			c.touched = touched[i:]
			return err
		}
		e.marks &^= markTouched
	}
	c.touched = touched[:0]
	return nil
}

func (c *Core) settle(ctx context.Context, e *Entry, now int64) error {
	if e.usedUntil != 0 && now >= e.usedUntil {
		e.marks |= markReuse
	}
	c.refresh(e, now)
	c.tellExpiry(e, now)
	if state := e.State(now); state == lifecycle.Revoked || state == lifecycle.Expired {
		if c.judge(e, now); e.tooRecent() {
			c.schedule(e, c.rejudge(e, now))
		}
		c.ended(e, now)
		return nil
	}
	if c.rules == nil {
		c.judge(e, now)
		c.schedule(e, sooner(e.ExpiresAt, c.rejudge(e, now)))
		return nil
	}
	if e.index == nil {
		sub := c.subject(e)
		e.index = c.rules.Index(&sub)
	}
	c.values = c.Values(e, now)
	values := &c.values
	signature := e.index.Signature(values)
	standing := len(e.Decided.Policies) > 0
	heartbeat := standing && now >= e.Decided.At+int64(c.opts.Heartbeat)
	if every := c.rules.AskEvery(); every > 0 && now >= e.askedAt+int64(every) {
		e.askedAt = now
		e.marks &^= markSigned
	}
	if e.marks&markSigned == 0 || signature != e.signature || heartbeat || e.marks&markAsk != 0 && standing || c.denialsDue(e, now) {
		if err := c.decide(ctx, e, values, now); err != nil {
			return err
		}
	}
	e.signature = signature
	e.marks |= markSigned
	e.marks &^= markAsk
	next := sooner(nanosOf(e.index.NextCrossing(values, lifecycle.Time(now))), sooner(e.usedUntil, c.rejudge(e, now)))
	if len(e.Decided.Policies) > 0 {
		next = sooner(next, e.Decided.At+int64(c.opts.Heartbeat))
	}
	if untold(e) {
		next = sooner(next, c.denialsAt(e))
	}
	c.schedule(e, sooner(next, e.ExpiresAt))
	return nil
}

// schedule makes sure that the credential is looked at by `at`. A deadline that moves later leaves the earlier one in
// place: that look finds nothing and sets the next, which is cheaper than moving a deadline with every event.
func (c *Core) schedule(e *Entry, at int64) {
	if at == 0 || e.due != 0 && e.due <= at {
		return
	}
	e.due = at
	c.wheel.Set(at, e.Key)
}

// Next is when Settle has to be called again although no event came (unix nanoseconds), 0 if never.
func (c *Core) Next() int64 { return c.wheel.Next() }

// Derived takes the events that follow from others, to be published to leastwise.events.
func (c *Core) Derived() []*pb.Event {
	out := c.derived
	c.derived = nil
	return out
}

// Decisions takes the decisions to be published.
func (c *Core) Decisions() []*pb.Decision {
	out := c.decisions
	c.decisions = nil
	return out
}

// Dirty takes the credentials whose state changed since the last call, sorted by key.
func (c *Core) Dirty() []*Entry {
	out := c.dirty
	c.dirty = nil
	for _, e := range out {
		e.marks &^= markDirty
	}
	slices.SortFunc(out, func(a, b *Entry) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

func nanosOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
