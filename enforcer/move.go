package enforcer

import (
	"fmt"
	"slices"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func movedText(from, to time.Time, why string) string {
	return fmt.Sprintf("from %s to %s: %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), why)
}

// move takes the announced time out of a freeze, or into business hours, and
// tells the owner. It only ever moves it later; what was once announced is
// never done earlier, also when the freeze is taken back.
func (l *Ladder) move(now time.Time, s *pb.LadderState, in Inputs) Step {
	due := dueAt(s)
	if due.IsZero() {
		return Step{}
	}
	at := due
	if now.After(at) {
		at = now
	}
	if later, why := l.allowed(at, in.Decision); why != "" && later.After(at) {
		next := entry(now, s, in.Decision)
		next.RevokeAt, next.Moved = stamp(later), movedText(due, later, why)
		if s.State == pb.LadderState_HELD {
			next.State, next.Waiting = pb.LadderState_NOTIFIED, ""
			if s.RemindersSent > 0 {
				next.State = pb.LadderState_REMINDED
			}
		}
		return Step{Entry: next}
	}
	told := s.NotifiedAt != nil && s.Announced != nil
	if told && s.Announced.AsTime().Before(s.RevokeAt.AsTime()) && !now.Before(in.Quiet) && len(in.Owner) > 0 {
		return Step{Act: TellMoved, RevokeAt: instant(s.RevokeAt), Moved: s.Moved}
	}
	return Step{}
}

// settleMoved notes what the owner was told. Where no channel took it, it is
// told again a little later; the new time holds all the same, being later.
func (l *Ladder) settleMoved(now time.Time, s *pb.LadderState, in Inputs) Step {
	if len(in.Outcome.Told) == 0 {
		return Step{Wake: now}
	}
	next := entry(now, s, in.Decision)
	next.Announced = s.RevokeAt
	return Step{Entry: next}
}

// pathDue follows the policies' escalation path: channels that are told one after
// another while nothing happens, counted from when the owner was told or, where
// nobody could be told, from the start of the ladder.
func pathDue(now time.Time, s *pb.LadderState, in Inputs) (Act, time.Time) {
	from := instant(s.NotifiedAt)
	switch {
	case s.NotifiedAt != nil:
	case s.State == pb.LadderState_ESCALATED:
		from = startedAt(s)
	default:
		return Nothing, time.Time{}
	}
	var following time.Time
	for _, step := range in.Path {
		if slices.Contains(s.PathTold, step.Channel) {
			continue
		}
		at := from.Add(time.Duration(max(0, step.AfterMs)) * time.Millisecond)
		if at.Before(in.Quiet) {
			at = in.Quiet
		}
		if !at.After(now) {
			return TellPath, time.Time{}
		}
		following = earlier(following, at)
	}
	return Nothing, following
}

// dueOnPath are the channels that are to be told now.
func dueOnPath(now time.Time, s *pb.LadderState, steps []*pb.EscalationStep) []string {
	var list []string
	for _, step := range steps {
		only := Inputs{Path: []*pb.EscalationStep{step}}
		if act, _ := pathDue(now, s, only); act == TellPath {
			list = union(list, []string{step.Channel})
		}
	}
	return list
}

func (l *Ladder) settlePath(now time.Time, s *pb.LadderState, in Inputs) Step {
	if len(in.Outcome.Told) == 0 {
		return Step{Wake: now}
	}
	next := entry(now, s, in.Decision)
	next.PathTold = union(s.PathTold, in.Outcome.Told)
	return Step{Entry: next}
}
