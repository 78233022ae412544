package enforcer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A corrected scope is watched: was something taken away that is needed? What
// was denied because of it arrives as Inputs.Denials (watch.go says how it gets
// here and what counts). Each permission that is new is journaled and told; if
// the policy says so, the former scope is put back, once, under the kill switch
// and only in mode enforce, by the act and with the intent with which a person's
// wish is carried out.

const (
	// defaultWatch is how long what was given back is watched where no policy
	// says it.
	defaultWatch = 72 * time.Hour
	// maxDenials of a ladder are journaled and told.
	maxDenials = 32
)

// watchOf is how long the ladder's re-issue is watched; 0: not at all.
func watchOf(s *pb.LadderState) time.Duration {
	c := s.GetDecision().GetLadder().GetCorrected()
	if c == nil {
		return defaultWatch
	}
	return time.Duration(max(0, c.WatchMs)) * time.Millisecond
}

// observing tells whether denials may still concern the ladder.
func observing(s *pb.LadderState) bool {
	return s.GetReissuedAt() != nil && planned(s) && revoked(s) && watchOf(s) > 0
}

// undoes tells whether the policy wants the former scope back after a denial.
func undoes(s *pb.LadderState) bool {
	return s.GetDecision().GetLadder().GetCorrected().GetOnDenial() == pb.Corrected_ROLLBACK
}

// undoing tells whether the former scope is to be put back because of denials.
func undoing(s *pb.LadderState) bool {
	return observing(s) && undoes(s) && len(s.GetCorrection().GetDenials()) > 0 && s.GetCorrection().GetRefused() == "" &&
		s.State != pb.LadderState_ROLLED_BACK
}

// corrected does what follows from denials. It gives a step, or false and when
// it wants to be asked again.
func (l *Ladder) corrected(now time.Time, s *pb.LadderState, in Inputs) (step Step, wake time.Time, done bool) {
	if !observing(s) {
		return Step{}, time.Time{}, false
	}
	if list := joined(s.GetCorrection().GetDenials(), in.Denials); s.State != pb.LadderState_ROLLED_BACK && len(list) > len(s.GetCorrection().GetDenials()) {
		next := entry(now, s, nil)
		if next.Correction == nil {
			next.Correction = &pb.Correction{}
		}
		next.Correction.Denials = list
		next.Reason = deniedText(next.Correction)
		return Step{Entry: next}, time.Time{}, true
	}
	if s.Correction == nil {
		return Step{}, time.Time{}, false
	}
	if !toldOf(s) {
		if !now.Before(in.Quiet) {
			return Step{Act: TellDenied}, time.Time{}, true
		}
		wake = in.Quiet
	}
	if !undoing(s) {
		return Step{}, wake, false
	}
	if in.Facts.Overall < pb.Ladder_ENFORCE && !in.Rollback {
		step = l.hold(now, s, nil, []Refusal{{GuardMode, "overall mode is " + modeWord(in.Facts.Overall)}})
	} else {
		step = l.rollBack(now, s, in)
	}
	if step.Entry == nil && step.Act == Nothing {
		step.Wake = earlier(step.Wake, wake)
	} else if step.Entry != nil && step.Act == Rollback && step.Entry.Correction.RollbackAt == nil {
		step.Entry.Correction.RollbackAt = stamp(now)
	}
	return step, time.Time{}, true
}

// toldOf tells whether owner and security know all that there is to know.
func toldOf(s *pb.LadderState) bool {
	c := s.GetCorrection()
	undone := s.State == pb.LadderState_ROLLED_BACK && c.GetRollbackAt() != nil
	return int(c.GetTold()) >= len(c.GetDenials()) && (!undone || c.GetUndoneToldAt() != nil)
}

// joined adds to what is known what is new, and brings counts and times up to
// date. What is known stays in its place.
func joined(known, now []*pb.Denial) []*pb.Denial {
	list := make([]*pb.Denial, 0, len(known))
	for _, d := range known {
		list = append(list, proto.CloneOf(d))
	}
	for _, d := range now {
		i := slices.IndexFunc(list, func(k *pb.Denial) bool { return k.Permission == d.Permission })
		switch {
		case i < 0 && len(list) < maxDenials:
			list = append(list, proto.CloneOf(d))
		case i >= 0 && d.Count > list[i].Count:
			list[i] = proto.CloneOf(d)
		}
	}
	return list
}

func (l *Ladder) settleTellDenied(now time.Time, s *pb.LadderState, in Inputs) Step {
	if len(in.Outcome.Told) == 0 {
		return Step{Wake: now}
	}
	next := entry(now, s, nil)
	next.Correction.Told = uint32(len(s.Correction.Denials))
	if s.State == pb.LadderState_ROLLED_BACK {
		next.Correction.UndoneToldAt = stamp(now)
	}
	return Step{Entry: next}
}

// settleUndone notes what came of a rollback that policy asked for; nil: a
// person did, or it was neither done nor is it impossible.
func settleUndone(next *pb.LadderState, in Inputs) bool {
	if !undoing(next) || next.Correction.RollbackAt == nil || in.Rollback {
		return false
	}
	switch err := in.Outcome.Err; {
	case err == nil:
		next.Correction.Denials = joined(next.Correction.Denials, in.Denials)
		next.State, next.Attempt, next.Waiting = pb.LadderState_ROLLED_BACK, nil, ""
		next.Reason = "the former scope was put back by policy: " + deniedText(next.Correction)
	case target.KindOf(err) == target.Impossible:
		next.Correction.Refused, next.Correction.Told = cleanError(err), 0 // told anew: it will not come by itself
		next.Attempt, next.Waiting = nil, ""
		next.Reason = "the former scope can not be put back: " + cleanError(err) + "; " + deniedText(next.Correction)
	default:
		return false
	}
	return true
}

// deniedText is what the re-issue denied, in one line.
func deniedText(c *pb.Correction) string {
	list := c.GetDenials()
	var names []string
	for _, d := range list[:min(3, len(list))] {
		names = append(names, fmt.Sprintf("%s (%s)", short(d.Permission), times(d.Count)))
	}
	text := "the narrower scope denied " + strings.Join(names, ", ")
	if more := len(list) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// denied tells owner and security what the correction denied, and what follows.
func denied(b *strings.Builder, s *pb.LadderState) {
	c := s.GetCorrection()
	fmt.Fprintf(b, "Since it was given back narrower at %s, calls were denied that the former scope allowed:\n", instant(s.ReissuedAt).UTC().Format(time.RFC3339))
	for _, d := range c.GetDenials() {
		fmt.Fprintf(b, "  %s: %s, first %s, last %s\n", short(d.Permission), times(d.Count),
			instant(d.FirstAt).UTC().Format(time.RFC3339), instant(d.LastAt).UTC().Format(time.RFC3339))
	}
	if len(c.GetDenials()) >= maxDenials {
		fmt.Fprintf(b, "  There may be more: %d are kept.\n", maxDenials)
	}
	undo := fmt.Sprintf("`leastwise rollback %s`", s.LadderId)
	switch {
	case s.State == pb.LadderState_ROLLED_BACK:
		b.WriteString("The former scope was put back. What was issued since stays as narrow as it is: log in again.\n")
	case c.GetRefused() != "":
		fmt.Fprintf(b, "Policy wants the former scope back, and it can not be put back: %s\n", long(c.Refused))
	case undoes(s):
		fmt.Fprintf(b, "By policy the former scope is put back as soon as mode and kill switch allow it. %s does the same.\n", undo)
	case s.GetReissue().GetPrevious() == "":
		b.WriteString("No role was narrowed. If it is needed, issue a credential with what is missing.\n")
	default:
		fmt.Fprintf(b, "Nothing is changed by itself. If it is needed, put the former scope back with %s.\n", undo)
	}
}
