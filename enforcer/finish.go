package enforcer

import (
	"fmt"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// windUp does what is left to be done before a revocation counts as closed:
// its second step, and the proof that nothing of it works on. It gives a step,
// or since nothing is left, false.
func (l *Ladder) windUp(now time.Time, s *pb.LadderState, in Inputs) (Step, bool) {
	var wake time.Time
	left := false
	if in.FinishAfter > 0 && s.FinishedAt == nil {
		step := l.finish(now, s, in)
		if step.Entry != nil || step.Act != Nothing {
			return step, true
		}
		wake, left = step.Wake, true
	}
	if exposed(s) {
		step := reverify(now, s)
		if step.Act != Nothing {
			return step, true
		}
		wake, left = earlier(wake, step.Wake), true
	}
	return Step{Wake: wake}, left
}

// finish does the step that can not be taken back. It stands under the same
// wishes as the revocation itself: the journal's decision speaks, since of what
// is gone no new one comes.
func (l *Ladder) finish(now time.Time, s *pb.LadderState, in Inputs) Step {
	if at := instant(s.RevokedAt).Add(in.FinishAfter); now.Before(at) {
		return Step{Wake: at}
	}
	var refused []Refusal
	for _, guard := range []func(*Ladder, time.Time, *pb.LadderState, *pb.Decision, *Facts) *Refusal{mode, kill, excepted, protected, window, reachable} {
		if r := guard(l, now, s, s.Decision, &in.Facts); r != nil {
			refused = append(refused, *r)
		}
	}
	approved := in.Facts.Approvals[control.Finish]
	if r := approvalOf(control.Finish, s, s.Decision, approved, ""); r != nil {
		refused = append(refused, *r)
	}
	if len(refused) > 0 {
		return l.hold(now, s, nil, refused)
	}
	if wake, wait := gated(now, s); wait {
		return Step{Wake: wake}
	}
	if s.State == pb.LadderState_FINISH_INTENDED {
		return Step{Act: Finish}
	}
	next := entry(now, s, nil)
	next.State, next.Waiting = pb.LadderState_FINISH_INTENDED, ""
	next.ApprovedBy = approving(approved, "")
	return Step{Entry: next, Act: Finish}
}

func (l *Ladder) settleFinish(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, nil)
	err := out.Err
	switch {
	case err == nil && out.Proof.Gone:
		next.State, next.FinishedAt = pb.LadderState_FINISHED, stamp(now)
		next.Proof, next.Attempt, next.Waiting = out.Proof.Text, nil, ""
		return Step{Entry: next}
	case err == nil:
		err = fmt.Errorf("the target took the second step and does not prove it: %s", out.Proof.Text)
	case target.KindOf(err) == target.Impossible && out.Sighting.Status == target.Alive:
		// Somebody enabled it again at the issuer, past us. Nothing is taken
		// from them at once: what still violates gets a new ladder.
		next.State, next.Attempt, next.Waiting, next.RevokeAt, next.Proof, next.IntendedAs = pb.LadderState_RESTORED, nil, "", nil, "", ""
		next.Restoration = &pb.Restoration{AskedBy: "somebody at the issuer", Reason: cleanError(err), AskedAt: next.At, DoneAt: next.At, CameFrom: s.State}
		next.Reason = "somebody enabled it again at the issuer"
		return Step{Entry: next}
	}
	next.Attempt = l.failed(now, s, err)
	next.Waiting = "finish: " + cleanError(err)
	step := Step{Entry: next}
	if !escalated(s) && (target.KindOf(err) != target.Retryable || next.Attempt.Number >= l.MaxAttempts) {
		step.Act = Escalate
	}
	return step
}

// reverify asks again once what was issued before must have run out.
func reverify(now time.Time, s *pb.LadderState) Step {
	if until := instant(s.WorksUntil); now.Before(until) {
		return Step{Wake: until}
	}
	if wake, wait := gated(now, s); wait {
		return Step{Wake: wake}
	}
	return Step{Act: Reverify}
}

func (l *Ladder) settleReverify(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, nil)
	err := out.Err
	switch {
	case err == nil && out.Proof.Gone && out.Proof.WorksUntil.After(now):
		next.WorksUntil, next.Proof = stamp(out.Proof.WorksUntil), out.Proof.Text
		next.Attempt, next.Waiting = nil, ""
		return Step{Entry: next}
	case err == nil && out.Proof.Gone:
		next.ExposureEndedAt, next.Proof = stamp(now), out.Proof.Text
		next.Attempt, next.Waiting = nil, ""
		return Step{Entry: next}
	case err == nil:
		err = fmt.Errorf("it is not proven that nothing of it works any more: %s", out.Proof.Text)
	}
	next.Attempt = l.failed(now, s, err)
	next.Waiting = "exposure: " + cleanError(err)
	step := Step{Entry: next}
	if !escalated(s) && (target.KindOf(err) != target.Retryable || next.Attempt.Number >= l.MaxAttempts) {
		step.Act = Escalate
	}
	return step
}
