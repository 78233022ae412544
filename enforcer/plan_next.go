package enforcer

import (
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// next is the act that comes next, when, and which guards refuse it now. The
// guard of the grace period is left out: the time says it.
func (e *Enforcer) next(now time.Time, s *pb.LadderState, in Inputs, seen target.Sighting) (act string, at time.Time, refused []Refusal) {
	d := in.Decision
	switch {
	case s.State == pb.LadderState_RESTORE_INTENDED, in.Restore != nil && !answered(s.Restoration) && (intended(s) || revoked(s)):
		if r := approvalOf(control.Restore, s, s.Decision, in.Facts.Approvals[control.Restore], in.Restore.GetSetBy()); r != nil && s.State != pb.LadderState_RESTORE_INTENDED {
			refused = append(refused, *r)
		}
		return "give back", now, refused
	case revoked(s):
		return e.nextAfter(now, s, in)
	case s.State == pb.LadderState_EXEMPTED:
		return "nothing while the exception holds", in.Facts.Cover.Until, nil
	case len(d.GetViolations()) == 0 || over(d) != "":
		return "close: nothing is violated any more", now, nil
	case seen.Status == target.Gone && !intended(s):
		return "close: it is gone at the issuer", now, nil
	}
	mode := effective(in.Facts.Overall, d)
	due := dueAt(s)
	switch {
	case mode == pb.Ladder_OBSERVE:
		return "nothing: it is only observed", time.Time{}, nil
	case mode == pb.Ladder_NOTIFY || !d.GetLadder().GetRevoke():
		if s.NotifiedAt != nil {
			return "nothing: the owner is told", time.Time{}, nil
		}
		return "tell the owner", now, nil
	}
	if due.IsZero() {
		due = ceilSecond(now.Add(graceOf(d))) // the owner is told first, so not before this
	}
	moved, why := e.ladder.allowed(later(due, now), d)
	if why != "" && moved.IsZero() {
		due = time.Time{}
	} else {
		due = later(due, moved)
	}
	for _, r := range e.ladder.refusals(now, s, d, &in.Facts) {
		switch {
		case r.Guard == GuardGrace, r.Guard == GuardWindow && !due.IsZero(): // the time says it
		case r.Guard == GuardTold && s.NotifiedAt == nil && len(in.Owner) > 0: // comes first
		default:
			refused = append(refused, r)
		}
	}
	if seen.Status == target.Unknown && len(refused) == 0 {
		refused = append(refused, Refusal{GuardTarget, "whether it is alive is not known"})
	}
	return "revoke", due, refused
}

// nextAfter is what is left to be done with what is revoked.
func (e *Enforcer) nextAfter(now time.Time, s *pb.LadderState, in Inputs) (string, time.Time, []Refusal) {
	if planned(s) && (s.State == pb.LadderState_REVOKED || s.State == pb.LadderState_REISSUE_INTENDED) {
		var refused []Refusal
		if r := kill(nil, now, s, nil, &in.Facts); r != nil {
			refused = append(refused, *r)
		}
		if r := approvalOf(control.Narrow, s, s.Decision, in.Facts.Approvals[control.Narrow], ""); r != nil {
			refused = append(refused, *r)
		}
		return "issue a narrower one", now, refused
	}
	if undoing(s) {
		var refused []Refusal
		if in.Facts.Overall < pb.Ladder_ENFORCE {
			refused = append(refused, Refusal{GuardMode, "overall mode is " + modeWord(in.Facts.Overall)})
		}
		if r := kill(nil, now, s, nil, &in.Facts); r != nil {
			refused = append(refused, *r)
		}
		return "put the former scope back: " + deniedText(s.Correction), now, refused
	}
	then := ""
	if s.Correction != nil {
		then = "; " + deniedText(s.Correction)
	}
	if in.FinishAfter > 0 && s.FinishedAt == nil {
		at := later(instant(s.RevokedAt).Add(in.FinishAfter), now)
		step := e.ladder.finish(at, s, in)
		return "second step, which can not be taken back" + then, at, step.Refused
	}
	if exposed(s) {
		return "ask whether nothing of it works any more" + then, instant(s.WorksUntil), nil
	}
	return "close" + then, now, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
