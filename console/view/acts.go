package view

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Acts that approvals tell apart, in the order in which they come.
var Acts = []string{rules.Revoke, rules.Narrow, rules.Finish, rules.Restore}

// Asker is who asks, as far as ladders concern them: what they may do, and what others have done.
type Asker interface {
	// Approvals of an act, and why who asks may not add theirs; empty: they may.
	Approvals(it *fleet.Item, act string) (given []contract.Approval, why string)
	// NotRestore says why who asks may not have it back; NotRollBack the same of a re-issue's former scope.
	NotRestore(it *fleet.Item) string
	NotRollBack(it *fleet.Item) string
	// Restoring tells who asked to have back what a ladder took; nil: nobody.
	Restoring(ladder string) *rules.Wish
	// RollingBack tells whether somebody asked for the former scope already.
	RollingBack(ladder string) bool
}

// Needed is how many different people have to approve an act of a ladder, as the enforcer counts it.
func Needed(l *pb.LadderState, act string) int {
	asked := l.GetDecision().GetLadder()
	n := uint32(0)
	switch act {
	case rules.Revoke:
		if n = asked.GetApprovals().GetRevoke(); asked.GetRequiresApproval() || tooMuch(l) {
			n = max(n, 1)
		}
		if !asked.GetRevoke() {
			n = 0
		}
	case rules.Narrow:
		n = asked.GetApprovals().GetNarrow()
	case rules.Restore:
		n = asked.GetApprovals().GetRestore()
	case rules.Finish:
		n = asked.GetApprovals().GetFinish()
	}
	return int(min(n, 2))
}

// tooMuch tells whether it waits for a person because of what else it hits.
func tooMuch(l *pb.LadderState) bool {
	return strings.Contains(l.GetWaiting(), "collateral: it hits ")
}

// Missing is how many people have not approved yet. Who approved before it was known what else the act hits has to again.
func Missing(l *pb.LadderState, act string, given []contract.Approval) int {
	n := Needed(l, act) - len(given)
	if act == rules.Revoke && n <= 0 && tooMuch(l) {
		n = 1
		for _, a := range given {
			if a.At.After(l.GetCollateral().GetAt().AsTime()) {
				n = 0
			}
		}
	}
	return max(0, n)
}

// ToCome tells whether an act of a ladder can still be approved.
func ToCome(l *pb.LadderState, act string) bool {
	switch act {
	case rules.Revoke:
		return Revocable(l)
	case rules.Narrow:
		return !LadderOver(l) && (Revocable(l) && l.GetDecision().GetLadder().GetReissue() ||
			l.GetReissue().GetPolicyName() != "" && (l.State == pb.LadderState_REVOKED || l.State == pb.LadderState_REISSUE_INTENDED))
	case rules.Finish:
		return !LadderOver(l) && l.GetFinishedAt() == nil
	case rules.Restore:
		r := l.GetRestoration()
		return Taken(l) && r.GetDoneAt() == nil && r.GetRefused() == ""
	}
	return false
}

// Taken tells whether something was taken, or is about to be, that can be asked back.
func Taken(l *pb.LadderState) bool {
	switch l.GetState() {
	case pb.LadderState_NONE, pb.LadderState_RESOLVED, pb.LadderState_RESTORED, pb.LadderState_RESTORE_INTENDED:
		return false
	case pb.LadderState_REVOKE_INTENDED, pb.LadderState_CLOSED:
		return true
	}
	return acted(l) || l.GetIntendedAs() != ""
}

// Reissued tells whether something narrower stands in its place, whose former scope can be put back.
func Reissued(l *pb.LadderState) bool {
	if l.GetReissue().GetPolicyName() == "" {
		return false
	}
	switch l.State {
	case pb.LadderState_REISSUED, pb.LadderState_CLOSED, pb.LadderState_FINISH_INTENDED, pb.LadderState_FINISHED:
		return true
	}
	return false
}

// Ladder of a credential, and what who asks may do about it.
func (v *View) Ladder(it *fleet.Item) *contract.LadderState {
	out := ladder(it.Ladder)
	if out == nil || v.Asker == nil {
		return out
	}
	wished(out, v.Asker.Restoring(it.Ladder.LadderId))
	for _, act := range Acts {
		n := Needed(it.Ladder, act)
		if n == 0 || act == rules.Restore && out.Restoration == nil {
			continue
		}
		given, why := v.Asker.Approvals(it, act)
		one := contract.ActApprovals{Act: act, Needed: n, Missing: Missing(it.Ladder, act, given), By: given, MayApprove: why == "", WhyNot: text(why)}
		out.Approvals = append(out.Approvals, one)
		if act == rules.Revoke {
			out.MayApprove, out.WhyNot = one.MayApprove, one.WhyNot
			if one.Missing == 0 {
				out.ApprovedBy = text(names(given))
			}
		}
	}
	if Taken(it.Ladder) {
		why := v.Asker.NotRestore(it)
		out.MayRestore, out.WhyNotRestore = why == "", text(why)
	}
	if out.Reissue != nil {
		out.Reissue.Undoing = !out.Reissue.Undone && v.Asker.RollingBack(it.Ladder.LadderId)
		out.MayRollBack = Reissued(it.Ladder) && v.Asker.NotRollBack(it) == ""
	}
	return out
}

func names(given []contract.Approval) string {
	var list []string
	for _, a := range given {
		list = append(list, a.Name)
	}
	return strings.Join(list, ", ")
}

// told adds to a ladder's state what the journal says of its acts.
func told(out *contract.LadderState, l *pb.LadderState) {
	out.Approvals = []contract.ActApprovals{}
	out.RevokedAt, out.Moved = moment(l.RevokedAt), text(l.Moved)
	if exposed(l) {
		out.ExposedUntil = moment(l.WorksUntil)
	}
	if c := l.Collateral; c != nil {
		out.Collateral = &contract.Collateral{Count: c.Count, Others: c.Others, Unknown: text(c.Unknown), First: []string{}}
		for _, hit := range c.Hits {
			out.Collateral.First = append(out.Collateral.First, strings.TrimSpace(hit.Key+" "+hit.Text))
		}
	}
	if r := l.Reissue; r.GetPolicyName() != "" {
		out.Reissue = &contract.Reissue{Policy: r.PolicyName, GrantedBefore: r.GrantedBefore, GrantedAfter: r.GrantedAfter,
			Done: Reissued(l), Undone: l.State == pb.LadderState_ROLLED_BACK}
	}
	if r := l.Restoration; r != nil {
		by := r.ApprovedBy
		if by == nil {
			by = []string{}
		}
		out.Restoration = &contract.Restoration{AskedBy: r.AskedBy, Reason: r.Reason, AskedAt: moment(r.AskedAt), ApprovedBy: by, Refused: text(r.Refused), DoneAt: moment(r.DoneAt)}
	}
}

// wished shows a wish that the enforcer has not taken up yet: what was just asked for is not lost from sight.
func wished(out *contract.LadderState, w *rules.Wish) {
	if w == nil || out.Restoration != nil && out.Restoration.AskedAt != nil && !w.At.After(out.Restoration.AskedAt.Add(time.Microsecond)) {
		return
	}
	at := w.At.UTC()
	out.Restoration = &contract.Restoration{AskedBy: w.By, Reason: w.Reason, AskedAt: &at, ApprovedBy: []string{}}
}
