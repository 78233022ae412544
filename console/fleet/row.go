package fleet

import (
	"strings"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Row is a credential as the processor last wrote it. Times are unix nanoseconds, 0 is unknown; counts that may be
// unknown are -1 then.
type Row struct {
	Key, Type, Source, Instance, Principal, Agent, Owner, Evidence, System string
	RevokedHow, Parent                                                     string
	IssuedAt, ExpiresAt, FirstSeenAt, LastSeenAt, LastUsedAt, LastDeniedAt int64
	RevokedAt                                                              int64
	NeverExpires, ScopeKnown                                               bool
	Children                                                               uint64
	ScopePermissions, UsedPermissions                                      int64
	ScopeWeight                                                            float64 // meaningless if ScopePermissions is -1
	Uses, Uses1h, Uses24h, Uses7d, Uses30d, Denied, Attempts               uint64
	Unused, Unissued, Contradiction                                        int8 // 1 yes, 0 no, -1 unknown

	partition uint32
	offset    int64
	written   int64
}

// Item is a credential with what was decided of it and what is done about it. It is never changed once others see it.
type Item struct {
	Row
	// Decision is the newest that names violations; nil: none stands.
	Decision  *pb.Decision
	Deviation float64
	Severity  uint8 // 0 none, 1 info, 2 low, 3 medium, 4 high, 5 critical
	// Ladder is the newest entry of the journal; nil: there is none.
	Ladder *pb.LadderState

	search string // what is searched, in small letters
}

// States of a credential.
const (
	Active  = "active"
	Expired = "expired"
	Revoked = "revoked"
	Unknown = "unknown"
)

// State at a time.
func (r *Row) State(now int64) string {
	switch {
	case r.RevokedAt != 0:
		return Revoked
	case r.ExpiresAt != 0 && r.ExpiresAt <= now:
		return Expired
	case r.ExpiresAt == 0 && !r.NeverExpires:
		return Unknown
	default:
		return Active
	}
}

// Ended tells whether it can be used no more.
func (r *Row) Ended(now int64) bool {
	state := r.State(now)
	return state == Revoked || state == Expired
}

// endedAt is when it ended, 0 if it has not.
func (r *Row) endedAt(now int64) int64 {
	switch r.State(now) {
	case Revoked:
		return r.RevokedAt
	case Expired:
		return r.ExpiresAt
	}
	return 0
}

// Severities, mildest first; the index is the number that pictures get.
var Severities = []string{"", "info", "low", "medium", "high", "critical"}

func severityOf(name string) uint8 {
	for i, s := range Severities {
		if i > 0 && s == name {
			return uint8(i)
		}
	}
	return 1
}

// Worst is the violation that stands furthest past its policy; nil if none stands.
func (it *Item) Worst() *pb.Violation {
	var worst *pb.Violation
	if it.Decision == nil {
		return nil
	}
	for _, v := range it.Decision.Violations {
		if worst == nil || severityOf(v.Severity) > severityOf(worst.Severity) ||
			severityOf(v.Severity) == severityOf(worst.Severity) && v.Deviation > worst.Deviation {
			worst = v
		}
	}
	return worst
}

// Violates tells whether it stands past a policy.
func (it *Item) Violates(policy string) bool {
	if it.Decision != nil {
		for _, v := range it.Decision.Violations {
			if v.PolicyId == policy {
				return true
			}
		}
	}
	return false
}

// Violated lists the policies that it stands past.
func (it *Item) Violated() []string {
	list := []string{}
	if it.Decision != nil {
		for _, v := range it.Decision.Violations {
			list = append(list, v.PolicyId)
		}
	}
	return list
}

// made computes what follows from the rest.
func made(row Row, decision *pb.Decision, ladder *pb.LadderState) *Item {
	it := &Item{Row: row, Ladder: ladder}
	if decision != nil && len(decision.Violations) > 0 {
		it.Decision = decision
		for _, v := range decision.Violations {
			it.Deviation = max(it.Deviation, v.Deviation)
			it.Severity = max(it.Severity, severityOf(v.Severity))
		}
	}
	it.search = strings.ToLower(row.Key + "\n" + row.Agent + "\n" + row.Owner + "\n" + row.Principal)
	return it
}

// Time of unix nanoseconds; nil for unknown.
func Time(nanos int64) *time.Time {
	if nanos == 0 {
		return nil
	}
	t := time.Unix(0, nanos).UTC()
	return &t
}
