// Package lifecycle keeps what is known of one credential: when it was issued, until when it lives, what ended it, how
// it is used and what it was refused.
//
// Apply merges events without regard to their order: times take a minimum, a maximum or the newest word, sets grow,
// counts add events that were seen once (package dedup). So any batching, restart or replay of the same history gives
// the same credential. Nothing here blocks, and no time is read from a clock: state is asked "as of".
package lifecycle

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/window"
	"github.com/leastwise/leastwise/schemas"
)

// State of a credential at a moment.
type State uint8

// States. Unknown means that no record told how long it lives.
const (
	Unknown State = iota
	Active
	Expired
	Revoked
)

func (s State) String() string {
	return [...]string{"unknown", "active", "expired", "revoked"}[s]
}

// How a credential was revoked, weakest first: a stronger word replaces a weaker one.
const (
	// HowParentExpired: its parent's time ran out; a later sign of life proves it wrong.
	HowParentExpired = "parent expired"
	HowParentRevoked = "parent revoked"
	// HowDeactivated: it was switched off, and may be switched on again: the newest word counts.
	HowDeactivated = "deactivated"
	// HowRevokedAlone: it was revoked, and its children were made orphans (revoke-orphan).
	HowRevokedAlone = "revoked alone"
	HowRevoked      = "revoked"
)

func rank(how string) int {
	return slices.Index([]string{"", HowParentExpired, HowParentRevoked, HowDeactivated, HowRevokedAlone, HowRevoked}, how)
}

type flags uint8

const (
	neverExpires flags = 1 << iota
	renewable
	orphan
	issueSeen    // issuedAt comes from the record of the issuance, not from a later one that mentions it
	usesInferred // some calls are its only by inference
)

// Credential is the state of one credential. Times are unix nanoseconds, 0 is unknown.
type Credential struct {
	Key string
	// Offset of the newest event applied; guarded, as all fields, by the partition's only worker.
	Offset int64

	IssuedAt, ExpiresAt         int64
	lifetimeToldAt              int64
	RenewedAt, RotatedAt        int64
	FirstSeenAt, LastSeenAt     int64
	FirstUsedAt, LastUsedAt     int64
	LastDeniedAt, RevokedAt     int64
	aliveAt                     int64 // newest sign of life: an allowed call or an inventory
	policiesToldAt              int64
	ExpiryTold                  int64 // the expiry that was made an event; kept by package core
	Uses, Denied                uint64
	PeriodSeconds, MaxTTLSecond uint32
	flags                       flags

	RevokedHow string
	Parent     string
	Principal  string
	Policies   []string          // sorted; shared between credentials, never changed in place
	Labels     map[string]string // shared between credentials, never changed in place
	activity   *activity         // nil while nothing of it was seen

	// What the last decision said, kept by package core.
	Decided Decided
}

// Decided is what was last published of a credential.
type Decided struct {
	At       int64
	Revision string
	Policies []string // violated; sorted
}

// activity is what only a credential in use needs.
type activity struct {
	used     used
	denied   distinct
	uses     window.Counts
	refusals window.Counts
	children []string  // sorted
	refused  refused   // some of the denied permissions
	reported *Reported // nil if no agent's log told of it
}

func (c *Credential) act() *activity {
	if c.activity == nil {
		c.activity = &activity{}
	}
	return c.activity
}

// New gives a credential of which nothing is known but its key.
func New(key string) *Credential { return &Credential{Key: key, Offset: -1} }

// ID is the key in its parts; a key that is none gives its whole text as id.
func (c *Credential) ID() schemas.Key {
	key, err := schemas.ParseKey(c.Key)
	if err != nil {
		return schemas.Key{ID: c.Key}
	}
	return key
}

// NeverExpires reports that the issuer gave no expiry.
func (c *Credential) NeverExpires() bool { return c.flags&neverExpires != 0 }

// Renewable reports that the issuer lets it be renewed.
func (c *Credential) Renewable() bool { return c.flags&renewable != 0 }

// Orphan reports that it is proven to have no parent.
func (c *Credential) Orphan() bool { return c.flags&orphan != 0 }

// LifetimeKnown reports that some record told until when it lives, or that it lives for ever.
func (c *Credential) LifetimeKnown() bool { return c.ExpiresAt != 0 || c.NeverExpires() }

// State at a moment.
func (c *Credential) State(asOf int64) State {
	switch {
	case c.RevokedAt != 0 && c.RevokedAt <= asOf && !c.outlived() && (rank(c.RevokedHow) > rank(HowParentRevoked) || c.EndsWithParent()):
		return Revoked
	case c.ExpiresAt != 0 && c.ExpiresAt <= asOf:
		return Expired
	case !c.LifetimeKnown():
		return Unknown
	default:
		return Active
	}
}

// outlived reports that the credential gave a sign of life after its end was only presumed, or could be taken back.
func (c *Credential) outlived() bool {
	return (c.RevokedHow == HowParentExpired || c.RevokedHow == HowDeactivated) && c.aliveAt > c.RevokedAt
}

// EndsWithParent reports whether the issuer ends it together with its parent.
func (c *Credential) EndsWithParent() bool {
	return !c.Orphan() && c.Labels["ends_with_parent"] != "false"
}

// Children are the keys of credentials made with this one, sorted.
func (c *Credential) Children() []string {
	if c.activity == nil {
		return nil
	}
	return c.activity.children
}

// Windows counts the uses of the windows that end at a moment.
func (c *Credential) Windows(asOf int64) window.Totals {
	if c.activity == nil {
		return window.Totals{}
	}
	return c.activity.uses.At(asOf)
}

// Refusals of the windows that end at a moment.
func (c *Credential) Refusals(asOf int64) window.Totals {
	if c.activity == nil {
		return window.Totals{}
	}
	return c.activity.refusals.At(asOf)
}

// DeniedPermissions counts distinct permissions that were refused: exact up to 4096, estimated beyond.
func (c *Credential) DeniedPermissions() uint64 {
	if c.activity == nil {
		return 0
	}
	return c.activity.denied.count()
}

// DeniedSamples names some of them, sorted.
func (c *Credential) DeniedSamples() []string {
	if c.activity == nil {
		return nil
	}
	var names []string
	for i := range c.activity.refused {
		names = append(names, c.activity.refused[i].Permission)
	}
	return names
}

// Refused counts the refusals of those, sorted by permission.
func (c *Credential) Refused() []Refused {
	if c.activity == nil {
		return nil
	}
	return c.activity.refused
}

// Used lists the operations used, by folder.
func (c *Credential) Used() []Use {
	if c.activity == nil {
		return nil
	}
	return c.activity.used.entries
}

// UsedComplete reports that Used leaves nothing out.
func (c *Credential) UsedComplete() bool { return c.activity == nil || !c.activity.used.truncated }

// Time turns unix nanoseconds into a time; 0 gives the zero time.
func Time(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

func insertSorted(set []string, value string) []string {
	pos := sort.Search(len(set), func(i int) bool { return set[i] >= value }) // half the time of slices.BinarySearch
	if pos < len(set) && set[pos] == value {
		return set
	}
	return slices.Insert(set, pos, strings.Clone(value))
}

// IssueSeen reports that the record of the issuance itself was seen.
func (c *Credential) IssueSeen() bool { return c.flags&issueSeen != 0 }
