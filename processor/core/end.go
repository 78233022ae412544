package core

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// tellExpiry makes the end by time an event of its own, and ends the children: Vault revokes them with the parent.
func (c *Core) tellExpiry(e *Entry, now int64) {
	if e.State(now) != lifecycle.Expired || e.ExpiryTold == e.ExpiresAt {
		return
	}
	e.ExpiryTold = e.ExpiresAt
	c.markDirty(e)
	c.derived = append(c.derived, derivedEvent(e.Key, pb.Event_EXPIRED, fmt.Sprintf("EXPIRED %d", e.ExpiresAt), e.ExpiresAt))
	for _, child := range e.Children() {
		c.derived = append(c.derived, endedWith(e.Key, child, lifecycle.HowParentExpired, e.ExpiresAt))
	}
}

// endChildren tells the partitions of a revoked credential's children that they end with it. The issuer logs nothing
// of that (hashicorp/vault#4156).
func (c *Core) endChildren(e *Entry) {
	if e.RevokedAt == 0 || e.RevokedHow == lifecycle.HowParentExpired || e.RevokedHow == lifecycle.HowRevokedAlone {
		return
	}
	for _, child := range e.Children() {
		c.derived = append(c.derived, endedWith(e.Key, child, lifecycle.HowParentRevoked, e.RevokedAt))
	}
}

// endedWith is the end of a child with its parent.
func endedWith(parent, child, how string, at int64) *pb.Event {
	ev := derivedEvent(child, pb.Event_REVOKED, "REVOKED "+parent+" "+how, at)
	ev.Actor, ev.Labels = parent, map[string]string{"how": how}
	return ev
}

// derivedEvent is an event that follows from others. Made again it has the same id.
func derivedEvent(credential string, kind pb.Event_Kind, record string, at int64) *pb.Event {
	key, _ := schemas.ParseKey(credential)
	id := schemas.EventID("leastwise", credential, record, 0)
	return &pb.Event{Id: id[:], Kind: kind, Credential: credential, Source: key.System, Instance: key.Instance,
		OccurredAt: timestamppb.New(lifecycle.Time(at)), ObservedAt: timestamppb.New(lifecycle.Time(at)),
		RecordId: record, Position: lifecycle.Derived}
}
