package enforcer

import (
	"fmt"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Break-glass: somebody needs back what was taken, now.
//
// No budget bounds it, no mode and no freeze, and the kill switch does not
// hinder it: all of these are there so that nothing is taken away by mistake,
// and a mistake is what this undoes. In the incident in which somebody has
// pulled the kill switch it is needed most. It needs a person, a reason, and
// the approvals that policies ask for.

// wish looks at what somebody asks to have back. Without the approvals that it
// needs it is noted, and the ladder goes on: else one person alone could stop
// any revocation by asking.
func (l *Ladder) wish(now time.Time, s *pb.LadderState, in Inputs) Step {
	if s != nil && answered(s.Restoration) && s.Restoration.ToldAt == nil && in.Report {
		return Step{Act: TellRestored}
	}
	ask := in.Restore
	if ask == nil || ended(s) {
		return Step{}
	}
	known := s.Restoration != nil && instant(s.Restoration.AskedAt).Equal(instant(ask.SetAt))
	if known && answered(s.Restoration) {
		return Step{}
	}
	next := entry(now, s, nil)
	next.Restoration = &pb.Restoration{AskedBy: short(ask.SetBy), Reason: long(ask.Reason), AskedAt: ask.SetAt, CameFrom: s.State}
	if !intended(s) && !revoked(s) && s.State != pb.LadderState_RESTORED {
		next.Restoration.Refused = "nothing was taken: ask for an exception instead"
		return Step{Entry: next}
	}
	approved := in.Facts.Approvals[control.Restore]
	if r := approvalOf(control.Restore, s, s.Decision, approved, ask.SetBy); r != nil {
		if known {
			return Step{}
		}
		return Step{Entry: next, Refused: []Refusal{*r}}
	}
	next.State, next.Waiting, next.Attempt = pb.LadderState_RESTORE_INTENDED, "", nil
	next.Restoration.ApprovedBy = approving(approved, ask.SetBy)
	return Step{Entry: next, Act: Restore}
}

// answered tells whether the wish was fulfilled or refused.
func answered(r *pb.Restoration) bool { return r.GetDoneAt() != nil || r.GetRefused() != "" }

// giveAgain carries out an intent that the journal holds.
func (l *Ladder) giveAgain(now time.Time, s *pb.LadderState) Step {
	if wake, wait := gated(now, s); wait {
		return Step{Wake: wake}
	}
	return Step{Act: Restore}
}

func (l *Ladder) settleRestore(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, nil)
	err := out.Err
	switch {
	case err == nil && out.Sighting.Status == target.Alive:
		next.State = pb.LadderState_RESTORED
		next.Restoration.DoneAt = stamp(now)
		next.Attempt, next.Waiting, next.RevokeAt, next.Proof, next.WorksUntil, next.IntendedAs = nil, "", nil, "", nil, ""
		next.Reason = fmt.Sprintf("given back for %s: %s", s.Restoration.GetAskedBy(), s.Restoration.GetReason())
		return Step{Entry: next}
	case err == nil:
		err = fmt.Errorf("the target took it and does not say that it is alive: %s, %s", out.Sighting.Status, notify.Clean(out.Sighting.Detail, 200))
	case target.KindOf(err) == target.Impossible:
		next.State, next.Attempt, next.Waiting = s.Restoration.GetCameFrom(), nil, ""
		next.Restoration.Refused = cleanError(err)
		return Step{Entry: next}
	}
	next.Attempt = l.failed(now, s, err)
	next.Waiting = "restore: " + cleanError(err)
	step := Step{Entry: next}
	if !escalated(s) && (target.KindOf(err) != target.Retryable || next.Attempt.Number >= l.MaxAttempts) {
		step.Act = Escalate
	}
	return step
}

func (l *Ladder) settleTellRestored(now time.Time, s *pb.LadderState, in Inputs) Step {
	if len(in.Outcome.Told) == 0 {
		return Step{Wake: now}
	}
	next := entry(now, s, nil)
	next.Restoration.ToldAt = stamp(now)
	return Step{Entry: next}
}

// restored waits. What was given back and still violates is not taken again at
// once: a decision made since starts a new ladder, whose owner is told anew and
// has the whole grace period, or an exception covers it.
func (l *Ladder) restored(now time.Time, s *pb.LadderState, in Inputs) Step {
	if !instant(in.Decision.GetDecidedAt()).After(instant(s.Restoration.GetDoneAt())) {
		return Step{} // an echo of what led to the revocation
	}
	return l.begin(now, &pb.LadderState{Step: s.Step}, in)
}
