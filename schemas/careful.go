package schemas

import (
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Careful adds to a ladder the care that another one asks for. Care adds up
// where several policies are violated, since each has its reason: the most
// approvals, all business hours and all freezes, everybody who is to be told,
// and the least collateral. It never makes a revocation come sooner.
func Careful(into, from *leastwisev1.Ladder) {
	into.RequiresApproval = into.RequiresApproval || from.GetRequiresApproval()
	if a := from.GetApprovals(); a != nil {
		if into.Approvals == nil {
			into.Approvals = &leastwisev1.Approvals{}
		}
		b := into.Approvals
		b.Revoke, b.Narrow = max(b.Revoke, a.Revoke), max(b.Narrow, a.Narrow)
		b.Restore, b.Finish = max(b.Restore, a.Restore), max(b.Finish, a.Finish)
	}
	into.BusinessHours = with(into.BusinessHours, from.GetBusinessHours())
	into.Freeze = with(into.Freeze, from.GetFreeze())
	into.Escalation = with(into.Escalation, from.GetEscalation())
	into.Corrected = watching(into.Corrected, from.GetCorrected())
}

// watching is how what was given back is watched: for the longest time that
// some policy names, and the former scope is put back only where all that name
// it agree.
func watching(a, b *leastwisev1.Corrected) *leastwisev1.Corrected {
	if a == nil || b == nil {
		if a == nil {
			a = b
		}
		return proto.CloneOf(a)
	}
	return &leastwisev1.Corrected{WatchMs: max(a.WatchMs, b.WatchMs), OnDenial: min(a.OnDenial, b.OnDenial)}
}

// LeastCollateral is what all of the ladders allow; one that does not say
// allows none.
func LeastCollateral(ladders ...*leastwisev1.Ladder) *uint32 {
	var least *uint32
	for i, l := range ladders {
		switch {
		case l.MaxCollateral == nil:
			return nil
		case i == 0 || *l.MaxCollateral < *least:
			least = proto.Uint32(*l.MaxCollateral)
		}
	}
	return least
}

// with adds what is not there yet.
func with[M proto.Message](list, more []M) []M {
	for _, m := range more {
		there := false
		for _, old := range list {
			there = there || proto.Equal(old, m)
		}
		if !there {
			list = append(list, m)
		}
	}
	return list
}
