package lifecycle

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unique"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/window"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func nanos(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	return t.Seconds*1e9 + int64(t.Nanos)
}

// Strings, policy sets and label maps repeat across thousands of credentials: one copy of each is kept.
func intern(text string) string { return unique.Make(text).Value() }

var (
	policySets = newPool[[]string]()
	holders    = newPool[*Holder]()
	labelMaps  = newPool[map[string]string]()
)

func internSet(set []string) []string {
	sorted := set
	if !ascending(set) {
		sorted = slices.Compact(slices.Sorted(slices.Values(set)))
	}
	var room [512]byte
	key := room[:0]
	for _, name := range sorted {
		key = append(append(key, name...), 0)
	}
	return policySets.get(key, func() []string {
		own := make([]string, len(sorted))
		for i := range sorted {
			own[i] = intern(sorted[i])
		}
		return own
	})
}

// ascending is whether a list is sorted and names nothing twice.
func ascending(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}

func internMap(m map[string]string) map[string]string {
	var some [16]string
	names := some[:0]
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	var room [1024]byte
	key := room[:0]
	for _, name := range names {
		value := m[name]
		key = append(binary.AppendUvarint(key, uint64(len(name))), name...)
		key = append(binary.AppendUvarint(key, uint64(len(value))), value...)
	}
	return labelMaps.get(key, func() map[string]string {
		out := make(map[string]string, len(m))
		for name, value := range m {
			out[intern(name)] = intern(value)
		}
		return out
	})
}

// Proto gives the form a restart loads.
func (c *Credential) Proto() *pb.CredentialState {
	s := &pb.CredentialState{
		Key: c.Key, AppliedOffset: c.Offset,
		IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, LifetimeToldAt: c.lifetimeToldAt, NeverExpires: c.NeverExpires(),
		Renewable: c.Renewable(), Orphan: c.Orphan(), IssueSeen: c.flags&issueSeen != 0, UsesInferred: c.flags&usesInferred != 0,
		RenewedAt: c.RenewedAt, RotatedAt: c.RotatedAt,
		FirstSeenAt: c.FirstSeenAt, LastSeenAt: c.LastSeenAt, FirstUsedAt: c.FirstUsedAt, LastUsedAt: c.LastUsedAt,
		LastDeniedAt: c.LastDeniedAt, RevokedAt: c.RevokedAt, RevokedHow: c.RevokedHow, AliveAt: c.aliveAt, ExpiryTold: c.ExpiryTold,
		PoliciesToldAt: c.policiesToldAt, Uses: c.Uses, Denied: c.Denied,
		PeriodSeconds: int64(c.PeriodSeconds), MaxTtlSeconds: int64(c.MaxTTLSecond),
		Parent: c.Parent, Principal: c.Principal, Policies: c.Policies, Labels: c.Labels,
		DecidedAt: c.Decided.At, DecidedRevision: c.Decided.Revision, DecidedPolicies: c.Decided.Policies,
	}
	if act := c.activity; act != nil {
		s.Reported = act.reported.proto()
		s.Children, s.DeniedPermissions = act.children, act.denied.smallest
		s.UsedWindow, s.DeniedWindow, s.UsedTruncated = act.uses.Proto(), act.refusals.Proto(), act.used.truncated
		for _, r := range act.refused {
			s.DeniedUses = append(s.DeniedUses, &pb.DeniedUse{Permission: r.Permission, Count: r.Count, FirstAt: r.FirstAt, LastAt: r.LastAt})
		}
		for i := range act.used.entries {
			e := &act.used.entries[i]
			s.Used = append(s.Used, &pb.PermissionUse{Permission: e.Permission, Leaves: e.Leaves, Many: e.Many,
				Count: e.Count, FirstAt: e.FirstAt, LastAt: e.LastAt})
		}
	}
	return s
}

// Marshal gives the state without its key, which whoever keeps it has beside it.
func (c *Credential) Marshal() ([]byte, error) {
	s := c.Proto()
	s.Key = ""
	blob, err := s.MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", c.Key, err)
	}
	return blob, nil
}

// Holder is what credentials of one holder share: who, through which policies, with which labels.
type Holder struct {
	principal string
	policies  []string
	labels    map[string]string
}

// Principal and Labels of the credentials that share the holder.
func (h *Holder) Principal() string { return h.principal }

// Labels of the issuance, not to be changed.
func (h *Holder) Labels() map[string]string { return h.labels }

// Pack gives the state without its key and holder, for a process that keeps both: many credentials share one Holder.
func (c *Credential) Pack() ([]byte, *Holder, error) {
	s := c.Proto()
	s.Key, s.Principal, s.Policies, s.Labels = "", "", nil, nil
	blob, err := s.MarshalVT()
	if err != nil {
		return nil, nil, fmt.Errorf("state of %s: %w", c.Key, err)
	}
	key := fmt.Appendf(nil, "%s\x00%p\x00%p", c.Principal, c.Policies, c.Labels)
	return blob, holders.get(key, func() *Holder { return &Holder{c.Principal, c.Policies, c.Labels} }), nil
}

// Unpack is the inverse of Pack.
func Unpack(key string, blob []byte, holder *Holder) (*Credential, error) {
	c, err := Load(key, blob)
	if err != nil {
		return nil, err
	}
	c.Principal, c.Policies, c.Labels = holder.principal, holder.policies, holder.labels
	return c, nil
}

// Load is the inverse of Marshal. It fails on bytes that are no CredentialState.
func Load(key string, blob []byte) (*Credential, error) {
	var s pb.CredentialState
	if err := s.UnmarshalVT(blob); err != nil {
		return nil, fmt.Errorf("state of %s: %w", key, err)
	}
	c := &Credential{
		Key: key, Offset: s.AppliedOffset,
		IssuedAt: s.IssuedAt, ExpiresAt: s.ExpiresAt, lifetimeToldAt: s.LifetimeToldAt,
		RenewedAt: s.RenewedAt, RotatedAt: s.RotatedAt,
		FirstSeenAt: s.FirstSeenAt, LastSeenAt: s.LastSeenAt, FirstUsedAt: s.FirstUsedAt, LastUsedAt: s.LastUsedAt,
		LastDeniedAt: s.LastDeniedAt, RevokedAt: s.RevokedAt, RevokedHow: intern(s.RevokedHow), aliveAt: s.AliveAt, ExpiryTold: s.ExpiryTold,
		policiesToldAt: s.PoliciesToldAt, Uses: s.Uses, Denied: s.Denied,
		PeriodSeconds: uint32(s.PeriodSeconds), MaxTTLSecond: uint32(s.MaxTtlSeconds),
		Parent: intern(s.Parent), Principal: intern(s.Principal),
		Decided: Decided{At: s.DecidedAt, Revision: s.DecidedRevision, Policies: s.DecidedPolicies},
	}
	if len(s.Policies) > 0 {
		c.Policies = internSet(s.Policies)
	}
	if len(s.Labels) > 0 {
		c.Labels = internMap(s.Labels)
	}
	for _, f := range []struct {
		set bool
		bit flags
	}{{s.NeverExpires, neverExpires}, {s.Renewable, renewable}, {s.Orphan, orphan}, {s.IssueSeen, issueSeen}, {s.UsesInferred, usesInferred}} {
		if f.set {
			c.flags |= f.bit
		}
	}
	if len(s.Children)+len(s.Used)+len(s.DeniedPermissions) > 0 || s.UsedWindow != nil || s.DeniedWindow != nil || s.Reported != nil {
		act := c.act()
		act.reported = reportedOf(s.Reported)
		act.children, act.denied.smallest = s.Children, s.DeniedPermissions
		for _, permission := range s.DeniedSamples { // of an earlier release
			act.refused = append(act.refused, Refused{Permission: permission})
		}
		for _, r := range s.DeniedUses {
			act.refused = append(act.refused, Refused{Permission: r.Permission, Count: r.Count, FirstAt: r.FirstAt, LastAt: r.LastAt})
		}
		act.uses, act.refusals = window.FromProto(s.UsedWindow), window.FromProto(s.DeniedWindow)
		act.used.truncated = s.UsedTruncated
		for _, u := range s.Used {
			act.used.entries = append(act.used.entries, Use{Permission: u.Permission, Leaves: u.Leaves, Many: u.Many,
				Count: u.Count, FirstAt: u.FirstAt, LastAt: u.LastAt})
		}
	}
	return c, nil
}
