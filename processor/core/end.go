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
	expired := derivedEvent(e.Key, pb.Event_EXPIRED, "", "", e.ExpiresAt)
	expired.RecordId = fmt.Sprintf("EXPIRED %d", e.ExpiresAt)
	id := schemas.EventID("leastwise", e.Key, expired.RecordId, 0)
	expired.Id = id[:]
	c.derived = append(c.derived, expired)
	for _, child := range e.Children() {
		c.derived = append(c.derived, derivedEvent(child, pb.Event_REVOKED, e.Key, lifecycle.HowParentExpired, e.ExpiresAt))
	}
}

// endChildren tells the partitions of a revoked credential's children that they end with it. The issuer logs nothing
// of that (hashicorp/vault#4156).
func (c *Core) endChildren(e *Entry) {
	if e.RevokedAt == 0 || e.RevokedHow == lifecycle.HowParentExpired || e.RevokedHow == lifecycle.HowRevokedAlone {
		return
	}
	for _, child := range e.Children() {
		c.derived = append(c.derived, derivedEvent(child, pb.Event_REVOKED, e.Key, lifecycle.HowParentRevoked, e.RevokedAt))
	}
}

// derivedEvent is an event that follows from others. Made again it has the same id.
func derivedEvent(credential string, kind pb.Event_Kind, actor, how string, at int64) *pb.Event {
	key, _ := schemas.ParseKey(credential)
	record := fmt.Sprintf("%s %s %s", kind, actor, how)
	id := schemas.EventID("leastwise", credential, record, 0)
	ev := &pb.Event{Id: id[:], Kind: kind, Credential: credential, Actor: actor, Source: key.System, Instance: key.Instance,
		OccurredAt: timestamppb.New(lifecycle.Time(at)), ObservedAt: timestamppb.New(lifecycle.Time(at)),
		RecordId: record, Position: "derived"}
	if how != "" {
		ev.Labels = map[string]string{"how": how}
	}
	return ev
}
