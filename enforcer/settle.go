package enforcer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// settle records what an act came to. A crash before its entry is durable is
// the case that the states *_INTENDED and VIOLATED are there for: the act is
// looked at, or done, again.
func (l *Ladder) settle(now time.Time, s *pb.LadderState, in Inputs) Step {
	if r := in.Outcome.Stopped; r != nil {
		return l.hold(now, s, in.Decision, []Refusal{*r})
	}
	switch out := in.Outcome; out.Act {
	case TellOwner:
		return l.settleTell(now, s, in)
	case TellRest, Remind:
		return l.settleMore(now, s, in)
	case Escalate:
		return l.settleEscalate(now, s, in)
	case Look:
		return l.settleLook(now, s, in)
	case Revoke, Verify:
		return l.settleRevoke(now, s, in)
	case Reissue:
		return l.settleReissue(now, s, in)
	case Rollback:
		return l.settleRollback(now, s, in)
	case TellMoved:
		return l.settleMoved(now, s, in)
	case TellPath:
		return l.settlePath(now, s, in)
	case Restore:
		return l.settleRestore(now, s, in)
	case TellRestored:
		return l.settleTellRestored(now, s, in)
	case Reverify:
		return l.settleReverify(now, s, in)
	case Finish:
		return l.settleFinish(now, s, in)
	case Report:
		return l.settleReport(now, s, in)
	case TellDenied:
		return l.settleTellDenied(now, s, in)
	default:
		return Step{Wake: now}
	}
}

func (l *Ladder) settleTell(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, in.Decision)
	if len(out.Told) == 0 {
		next.Attempt = l.failed(now, s, out.Err)
		step := Step{Entry: next}
		if s.State == pb.LadderState_ESCALATED && !escalated(s) {
			step.Act = Escalate
		}
		return step
	}
	next.Decision = in.Decision // all that was told carries the ladder
	next.State = pb.LadderState_NOTIFIED
	next.NotifiedAt, next.RevokeAt = stamp(now), stamp(out.RevokeAt)
	next.Announced, next.Moved = next.RevokeAt, out.Moved
	next.Collateral = shows(s, out.Collateral)
	next.Told = union(s.Told, out.Told)
	next.RemindersSent = 0
	next.Attempt, next.Waiting, next.Reason = nil, "", ""
	if out.Err != nil {
		next.Attempt = l.failed(now, &pb.LadderState{}, out.Err)
	}
	return Step{Entry: next}
}

func (l *Ladder) settleMore(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, in.Decision)
	next.Told = union(s.Told, out.Told)
	next.Attempt = nil
	if out.Err != nil {
		next.Attempt = l.failed(now, s, out.Err)
	}
	if out.Act == Remind && len(out.Told) > 0 {
		passed, _ := reminders(now, s)
		next.State, next.RemindersSent = pb.LadderState_REMINDED, passed
	}
	return Step{Entry: next}
}

func (l *Ladder) settleEscalate(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, in.Decision)
	if len(out.Told) > 0 {
		next.Reason = escalatedPrefix + strings.Join(out.Told, ", ")
		return Step{Entry: next}
	}
	next.Attempt = l.failed(now, s, fmt.Errorf("escalation: %w", out.Err))
	return Step{Entry: next}
}

func (l *Ladder) settleLook(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	switch {
	case out.Err != nil:
		return l.fail(now, s, in, out.Err)
	case out.Sighting.Status == target.Gone && intended(s):
		return Step{Act: Verify}
	case out.Sighting.Status == target.Gone:
		next := resolve(now, s, in.Decision, "gone at the issuer before it was to be revoked")
		next.Proof = out.Sighting.Detail
		return Step{Entry: next}
	case out.Sighting.Status != target.Alive:
		return l.fail(now, s, in, fmt.Errorf("whether it is alive is unknown: %s", out.Sighting.Detail))
	case over(in.Decision) != "":
		return l.fail(now, s, in, fmt.Errorf("the log says %s and the issuer says alive", over(in.Decision)))
	}
	if next := leave(now, s, in); next != nil {
		return Step{Entry: next}
	}
	in.Facts.Collateral = out.Collateral
	refused := l.refusals(now, s, in.Decision, &in.Facts)
	if len(refused) == 0 && out.PlanErr != nil {
		return l.fail(now, s, in, fmt.Errorf("plan of the re-issue: %w", out.PlanErr))
	}
	if len(refused) > 0 {
		step := l.hold(now, s, in.Decision, refused)
		if step.Entry != nil {
			step.Entry.Collateral = shows(s, out.Collateral) // what an approver decides on
		}
		return step
	}
	next := entry(now, s, in.Decision)
	next.State, next.Waiting = pb.LadderState_REVOKE_INTENDED, ""
	next.Collateral, next.Restore = shows(s, out.Collateral), out.Sighting.Restore
	next.ApprovedBy = approving(in.Facts.Approvals[control.Revoke], "")
	next.Attempt = &pb.Attempt{Number: 1, At: stamp(now)}
	if intended(s) || s.State == pb.LadderState_ESCALATED {
		// Another try of the same revocation.
		next.Attempt.Number = s.GetAttempt().GetNumber() + 1
		if at := s.GetAttempt().GetAt(); at != nil {
			next.Attempt.At = at
		}
	}
	next.IntendedAs = cmp.Or(out.Sighting.Found, s.Credential)
	if out.Plan != nil {
		next.Reissue = out.Plan
	} else if out.PlanRefused != "" {
		next.Reissue = &pb.Reissue{Narrowed: "nothing is given back: " + notify.Clean(out.PlanRefused, 300)}
	}
	return Step{Entry: next, Act: Revoke}
}

// fail says that the target could not be asked, or did not do it. Before an
// intent that only holds the ladder; afterwards it is a revocation to be tried
// again. What no retry helps, and what failed too often, is escalated.
func (l *Ladder) fail(now time.Time, s *pb.LadderState, in Inputs, err error) Step {
	if !intended(s) && s.State != pb.LadderState_ESCALATED && target.KindOf(err) == target.Retryable {
		return l.hold(now, s, in.Decision, []Refusal{{GuardTarget, cleanError(err)}})
	}
	next := entry(now, s, in.Decision)
	next.Attempt = l.failed(now, s, err)
	next.Waiting = "target: " + cleanError(err)
	if s.State != pb.LadderState_ESCALATED && !escalated(s) && target.KindOf(err) == target.Retryable && next.Attempt.Number < l.MaxAttempts {
		next.State = pb.LadderState_RETRYING
		return Step{Entry: next}
	}
	next.State = pb.LadderState_ESCALATED
	step := Step{Entry: next}
	if !escalated(s) {
		step.Act = Escalate
	}
	return step
}

func (l *Ladder) settleRevoke(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	if out.Err != nil {
		return l.fail(now, s, in, out.Err)
	}
	if !out.Proof.Gone {
		return l.fail(now, s, in, fmt.Errorf("the target took the revocation and does not prove it: %s", out.Proof.Text))
	}
	next := entry(now, s, in.Decision)
	next.State = pb.LadderState_REVOKED
	next.Proof, next.WorksUntil = out.Proof.Text, stamp(out.Proof.WorksUntil)
	next.Attempt, next.Waiting, next.Reason = nil, "", ""
	if next.RevokedAt == nil {
		next.RevokedAt = stamp(now)
	}
	return Step{Entry: next}
}

// settleReport notes that the outcome was told, so that a ladder that is open
// for days does not tell it again after each restart.
func (l *Ladder) settleReport(now time.Time, s *pb.LadderState, in Inputs) Step {
	if len(in.Outcome.Told) == 0 {
		return Step{Wake: now}
	}
	next := entry(now, s, nil)
	next.ReportedAt = stamp(now)
	return Step{Entry: next}
}

func (l *Ladder) settleReissue(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, nil)
	if out.Err == nil {
		next.State, next.Reissue = pb.LadderState_REISSUED, out.Done
		next.Attempt, next.Waiting, next.Reason = nil, "", ""
		return Step{Entry: next}
	}
	next.Attempt = l.failed(now, s, out.Err)
	next.Waiting = "re-issue: " + cleanError(out.Err)
	if target.KindOf(out.Err) == target.Impossible {
		next.State = pb.LadderState_REVOKED
		next.Attempt, next.Waiting = nil, ""
		next.Reissue = &pb.Reissue{Narrowed: "nothing is given back: " + cleanError(out.Err)}
	}
	step := Step{Entry: next}
	if !escalated(s) && (target.KindOf(out.Err) != target.Retryable || next.Attempt.GetNumber() >= l.MaxAttempts) {
		step.Act = Escalate
	}
	return step
}

func (l *Ladder) settleRollback(now time.Time, s *pb.LadderState, in Inputs) Step {
	out := in.Outcome
	next := entry(now, s, nil)
	if settleUndone(next, in) {
		return Step{Entry: next}
	}
	if out.Err == nil {
		next.State, next.Attempt, next.Waiting = pb.LadderState_ROLLED_BACK, nil, ""
		next.Reason = "the former scope was put back"
		return Step{Entry: next}
	}
	next.Attempt = l.failed(now, s, out.Err)
	next.Waiting = "rollback: " + cleanError(out.Err)
	step := Step{Entry: next}
	if !escalated(s) && target.KindOf(out.Err) != target.Retryable {
		step.Act = Escalate
	}
	return step
}

// planned tells whether something is to be, or was, given back.
func planned(s *pb.LadderState) bool { return s.GetReissue().GetPolicyName() != "" }

// after goes on with a ladder whose credential is proven gone.
func (l *Ladder) after(now time.Time, s *pb.LadderState, in Inputs) Step {
	if in.Decision.GetSubject().GetState() == "revoked" && s.SeenInLogAt == nil {
		next := entry(now, s, nil)
		next.SeenInLogAt = stamp(now)
		return Step{Entry: next}
	}
	if !in.Unsent.IsZero() && !now.Before(in.Unsent) {
		return Step{Act: Transmit}
	}
	switch s.State {
	case pb.LadderState_REVOKED, pb.LadderState_REISSUE_INTENDED:
		if planned(s) {
			return l.giveBack(now, s, in)
		}
	}
	step, wake, done := l.corrected(now, s, in)
	if done {
		return step
	}
	if step = l.wrapUp(now, s, in); step.Entry == nil && step.Act == Nothing {
		step.Wake = earlier(step.Wake, wake)
	}
	return step
}

// wrapUp brings a ladder to its end of which nothing is taken or given any more.
func (l *Ladder) wrapUp(now time.Time, s *pb.LadderState, in Inputs) Step {
	if s.State == pb.LadderState_ROLLED_BACK {
		return Step{Wake: in.Unsent}
	}
	if in.Rollback && planned(s) {
		return l.rollBack(now, s, in)
	}
	if s.State == pb.LadderState_CLOSED {
		return Step{}
	}
	if in.Report && s.ReportedAt == nil {
		return Step{Act: Report}
	}
	step, left := l.windUp(now, s, in)
	if !in.Unsent.IsZero() && step.Act == Nothing && step.Entry == nil {
		return Step{Wake: earlier(step.Wake, in.Unsent)} // it is not closed before all are told
	}
	if left {
		return step
	}
	next := entry(now, s, nil)
	next.State = pb.LadderState_CLOSED
	since := instant(s.RevokedAt)
	if since.IsZero() {
		since = s.At.AsTime()
	}
	switch deadline := since.Add(l.LogDeadline); {
	case s.SeenInLogAt != nil:
		next.Reason = "the revocation came back in the issuer's log"
	case now.Before(deadline):
		return Step{Wake: earlier(deadline, now.Add(l.HoldEvery))}
	default:
		next.Reason = fmt.Sprintf("the revocation did not come back in the issuer's log within %s", l.LogDeadline)
	}
	if s.Correction != nil {
		next.Reason += "; " + deniedText(s.Correction)
	}
	return Step{Entry: next}
}

// giveBack stands under the kill switch, too: it is an act at the target.
func (l *Ladder) giveBack(now time.Time, s *pb.LadderState, in Inputs) Step {
	if r := kill(l, now, s, in.Decision, &in.Facts); r != nil {
		return l.hold(now, s, nil, []Refusal{*r})
	}
	approved := in.Facts.Approvals[control.Narrow]
	if r := approvalOf(control.Narrow, s, s.Decision, approved, ""); r != nil {
		return l.hold(now, s, nil, []Refusal{*r})
	}
	if wake, wait := gated(now, s); wait {
		return Step{Wake: wake}
	}
	if s.State == pb.LadderState_REISSUE_INTENDED {
		return Step{Act: Reissue}
	}
	next := entry(now, s, nil)
	next.State, next.Waiting, next.ReissuedAt = pb.LadderState_REISSUE_INTENDED, "", stamp(now)
	next.ApprovedBy = approving(approved, "")
	return Step{Entry: next, Act: Reissue}
}

const rollbackIntended = "rollback intended"

func (l *Ladder) rollBack(now time.Time, s *pb.LadderState, in Inputs) Step {
	if r := kill(l, now, s, in.Decision, &in.Facts); r != nil {
		return l.hold(now, s, nil, []Refusal{*r})
	}
	if wake, wait := gated(now, s); wait {
		return Step{Wake: wake}
	}
	step := Step{Act: Rollback}
	if s.Waiting != rollbackIntended {
		step.Entry = entry(now, s, nil)
		step.Entry.Waiting = rollbackIntended
	}
	return step
}

// cleanError bounds what an issuer or a channel answered: it is text from
// outside.
func cleanError(err error) string {
	if err == nil {
		err = errors.New("no reason was given")
	}
	return notify.Clean(err.Error(), 500)
}

func union(a, b []string) []string {
	list := slices.Clone(a)
	return append(list, missing(b, a)...)
}
