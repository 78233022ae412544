package enforcer

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Ladder holds the times of the state machine that doc.go draws. It has no
// state of its own: Next is a function of the journal's newest entry, the
// clock and what is known now.
type Ladder struct {
	MaxDecisionAge time.Duration // older decisions are not acted on
	NotifyDeadline time.Duration // after which an owner who could not be told is escalated
	RetryMin       time.Duration // first back-off of a failed act, doubled each time
	RetryMax       time.Duration // and its bound
	MaxAttempts    uint32        // of one act before it is escalated; it goes on at RetryMax
	LogDeadline    time.Duration // how long the issuer's own log may take to show the revocation
	HoldEvery      time.Duration // a held ladder is looked at again
	Freeze         []Window      // nothing is revoked within these, whatever policies say
}

// Act is what the worker is to do next.
type Act uint8

// The acts.
const (
	Nothing Act = iota
	TellOwner
	TellRest // the owner's channels that failed before
	Remind
	Escalate
	Report // what became of the credential, to its owner
	Look   // asks the target, changes nothing; plans the re-issue
	Revoke
	Verify
	Reissue
	Rollback
	Transmit     // to those who accept the credential, once it is proven gone
	TellMoved    // the owner, that the time of revocation is later
	TellPath     // the next channel of the policies' escalation path
	Restore      // gives back, and asks whether it is alive
	TellRestored // owner and security, what became of the wish to have it back
	Reverify     // asks again, when what was exposed must have ended
	Finish       // the second step of the revocation, and its proof
	TellDenied   // owner and security, what the narrower scope denied
)

var actNames = [...]string{"nothing", "tell_owner", "tell_rest", "remind", "escalate", "report", "look", "revoke", "verify", "reissue", "rollback",
	"transmit", "tell_moved", "tell_path", "restore", "tell_restored", "reverify", "finish", "tell_denied"}

func (a Act) String() string { return actNames[a] }

// Inputs are what is known now.
type Inputs struct {
	// Decision is the newest of the credential; nil: none came since the start
	// and the journal's holds, however old.
	Decision *pb.Decision
	Facts    Facts
	// Owner are the owner's channels that exist.
	Owner []string
	// Report is set while the outcome was not told and may be tried now.
	Report bool
	// Rollback is set when somebody asked for it.
	Rollback bool
	// Denials are what was denied because of the ladder's re-issue, up to now.
	Denials []*pb.Denial
	// Unsent is when those who accept a credential that was taken are to be
	// told (again); zero: nobody is left to be told.
	Unsent time.Time
	// Restore is who asked to have back what was taken, and why; nil: nobody.
	Restore *pb.Control
	// FinishAfter is the target's further period before the second step; zero:
	// there is no second step.
	FinishAfter time.Duration
	// Path are the steps of the policies' escalation path whose channels exist.
	Path []*pb.EscalationStep
	// Quiet is until when messages wait that the ladder does not wait for.
	Quiet time.Time
	// Outcome of the act that the last step asked for; nil: it asked for none,
	// or this process was not there to see it.
	Outcome *Outcome
}

// Outcome of an act.
type Outcome struct {
	Act         Act
	Err         error
	Told        []string // channels that took the message
	RevokeAt    time.Time
	Sighting    target.Sighting
	Plan        *pb.Reissue
	PlanRefused string
	PlanErr     error
	Proof       target.Proof
	Done        *pb.Reissue
	Collateral  *pb.Collateral
	Moved       string
	// Stopped by a guard in the last moment: nothing was done.
	Stopped *Refusal
}

// Step is the answer of Next: journal Entry (if there is one), then do Act (if
// there is one) and ask again with its outcome, or else ask again at Wake or
// when an input changes.
type Step struct {
	Entry *pb.LadderState
	Act   Act
	// RevokeAt is the time of revocation to announce with TellOwner.
	RevokeAt time.Time
	// Moved says why RevokeAt is later than the grace period asks for.
	Moved string
	Wake  time.Time
	// Refused by these guards, for the metrics.
	Refused []Refusal
}

// Next says what to do about a credential whose newest journal entry is s (nil:
// none). It changes neither s nor in.
func (l *Ladder) Next(now time.Time, s *pb.LadderState, in Inputs) Step {
	if in.Decision == nil {
		in.Decision = s.GetDecision()
	}
	switch {
	case in.Facts.NotReady != "":
		// Nothing is concluded from settings, exceptions or journals that were
		// read in part. An act whose outcome comes in was begun when they were.
		if in.Outcome == nil {
			return Step{Wake: now.Add(l.HoldEvery)}
		}
		return l.settle(now, s, in)
	case in.Outcome != nil:
		return l.settle(now, s, in)
	case s.GetState() == pb.LadderState_RESTORE_INTENDED:
		return l.giveAgain(now, s)
	}
	if step := l.wish(now, s, in); step.Entry != nil || step.Act != Nothing {
		return step
	}
	switch {
	case s.GetState() == pb.LadderState_RESTORED:
		return l.restored(now, s, in)
	case ended(s):
		return l.begin(now, s, in)
	case revoked(s):
		return l.after(now, s, in)
	case s.State == pb.LadderState_EXEMPTED:
		return l.exempted(now, s, in)
	case intended(s):
		if wake, wait := gated(now, s); wait {
			return Step{Wake: wake}
		}
		return Step{Act: Look}
	default:
		return l.climb(now, s, in)
	}
}

// begin starts a ladder for a violation. A credential that the issuer itself
// has called gone never gets another: late decisions about it are echoes.
func (l *Ladder) begin(now time.Time, s *pb.LadderState, in Inputs) Step {
	d := in.Decision
	if len(d.GetViolations()) == 0 || over(d) != "" || s.GetProof() != "" {
		return Step{}
	}
	next := &pb.LadderState{
		Credential: d.Credential, LadderId: newLadderID(d.Credential, now), Step: s.GetStep() + 1,
		State: pb.LadderState_VIOLATED, At: stamp(now), Decision: d, ConfirmedAt: d.DecidedAt,
	}
	if in.Facts.Cover.All {
		next.State, next.ExceptionId = pb.LadderState_EXEMPTED, in.Facts.Cover.ID
	}
	return Step{Entry: next}
}

// exempted waits for the end of the exception; then a violation that still
// stands gets a new ladder, with a fresh grace period.
func (l *Ladder) exempted(now time.Time, s *pb.LadderState, in Inputs) Step {
	cover := in.Facts.Cover
	switch {
	case over(in.Decision) != "":
		return Step{Entry: resolve(now, s, in.Decision, over(in.Decision)+" at the issuer")}
	case cover.All && cover.ID != s.ExceptionId:
		next := entry(now, s, in.Decision)
		next.ExceptionId = cover.ID
		return Step{Entry: next}
	case cover.All:
		return Step{Wake: cover.Until}
	case len(in.Decision.GetViolations()) > 0:
		return l.begin(now, &pb.LadderState{Step: s.Step}, in)
	default:
		return Step{Entry: resolve(now, s, in.Decision, "the exception is over and nothing is violated")}
	}
}

// climb goes on with a ladder that stands, before any intent to revoke.
func (l *Ladder) climb(now time.Time, s *pb.LadderState, in Inputs) Step {
	d := in.Decision
	if next := leave(now, s, in); next != nil {
		return Step{Entry: next}
	}
	if kept := keep(s, d); changed(s.Decision, kept) {
		next := entry(now, s, kept)
		if s.State == pb.LadderState_ESCALATED && s.NotifiedAt == nil {
			next.Attempt = nil // perhaps there is somebody to tell now
		}
		return Step{Entry: next}
	}
	mode := effective(in.Facts.Overall, d)
	wants := mode == pb.Ladder_ENFORCE && d.GetLadder().GetRevoke()
	if wants {
		if step := l.move(now, s, in); step.Entry != nil || step.Act != Nothing {
			return step
		}
	}
	var following time.Time
	if mode > pb.Ladder_OBSERVE {
		var act Act
		if act, following = pathDue(now, s, in); act != Nothing {
			return Step{Act: act}
		}
	}
	step := l.climbOn(now, s, in, mode, wants)
	if step.Entry == nil && step.Act == Nothing {
		step.Wake = earlier(step.Wake, following)
	}
	return step
}

func (l *Ladder) climbOn(now time.Time, s *pb.LadderState, in Inputs, mode pb.Ladder_Mode, wants bool) Step {
	d := in.Decision
	if due := dueAt(s); !due.IsZero() && !now.Before(due) {
		return l.due(now, s, in)
	}
	switch {
	case s.NotifiedAt == nil && mode == pb.Ladder_OBSERVE:
		return l.hold(now, s, d, []Refusal{{GuardMode, "observe"}})
	case s.NotifiedAt == nil || wants && s.RevokeAt == nil:
		return l.tell(now, s, in, wants)
	case wants:
		return l.remind(now, s, in)
	default:
		return l.rest(now, s, in, dueAt(s))
	}
}

// leave ends the ladder without an act, or says nil.
func leave(now time.Time, s *pb.LadderState, in Inputs) *pb.LadderState {
	d := in.Decision
	switch {
	case over(d) == "revoked":
		return resolve(now, s, d, "revoked at the issuer by somebody else, as its log shows")
	case over(d) != "":
		return resolve(now, s, d, over(d))
	case in.Facts.Cover.All:
		next := entry(now, s, d)
		next.State, next.ExceptionId = pb.LadderState_EXEMPTED, in.Facts.Cover.ID
		next.RevokeAt, next.Waiting, next.Attempt, next.IntendedAs, next.Reissue, next.Reason = nil, "", nil, "", nil, ""
		next.Moved, next.Announced = "", nil
		if len(d.GetViolations()) == 0 {
			next.Decision = s.Decision // says what was excepted
		}
		return next
	case len(d.GetViolations()) == 0:
		return resolve(now, s, d, "nothing is violated any more")
	case s.NotifiedAt != nil && len(standing(s.Decision, d)) == 0:
		return resolve(now, s, d, "what the owner was told of is not violated any more")
	default:
		return nil
	}
}

// keep is what the journal holds of a newer decision: once the owner was told,
// only the violations that the owner was told of carry the ladder.
func keep(s *pb.LadderState, d *pb.Decision) *pb.Decision {
	if s.NotifiedAt == nil {
		return d
	}
	kept := &pb.Decision{
		Credential: d.Credential, DecidedAt: d.DecidedAt, AsOf: d.AsOf, PolicyRevision: d.PolicyRevision, InputRevision: d.InputRevision,
		Violations: standing(s.Decision, d), Ladder: d.Ladder, Subject: d.Subject, Proposal: d.Proposal,
	}
	return kept
}

// tell announces the violation to its owner, and the time of revocation if
// there is to be one. Without a way to the owner it escalates.
func (l *Ladder) tell(now time.Time, s *pb.LadderState, in Inputs, wants bool) Step {
	if r := fresh(l, now, s, in.Decision, &in.Facts); r != nil {
		return l.hold(now, s, in.Decision, []Refusal{*r})
	}
	late := s.Attempt != nil && !now.Before(instant(s.Attempt.At).Add(l.NotifyDeadline))
	if s.State != pb.LadderState_ESCALATED && (len(in.Owner) == 0 || late) {
		return l.untold(now, s, in, wants)
	}
	if wake, wait := gated(now, s); wait {
		if due := dueAt(s); !due.IsZero() && due.Before(wake) {
			wake = due
		}
		return Step{Wake: wake}
	}
	if len(in.Owner) == 0 {
		if !escalated(s) {
			return Step{Act: Escalate}
		}
		return Step{Wake: dueAt(s)} // a decision with an owner wakes it earlier
	}
	step := Step{Act: TellOwner}
	if wants {
		step.RevokeAt = ceilSecond(now.Add(graceOf(in.Decision)))
		if later, why := l.allowed(step.RevokeAt, in.Decision); why != "" && later.After(step.RevokeAt) {
			step.Moved = movedText(step.RevokeAt, later, why)
			step.RevokeAt = later
		}
	}
	return step
}

func (l *Ladder) untold(now time.Time, s *pb.LadderState, in Inputs, wants bool) Step {
	next := entry(now, s, in.Decision)
	next.State = pb.LadderState_ESCALATED
	next.Reason = ""
	next.Waiting = string(GuardTold) + ": nobody is known who could be told"
	if len(in.Owner) > 0 {
		next.Waiting = string(GuardTold) + ": no channel of the owner took the message: " + s.GetAttempt().GetError()
	}
	if wants && in.Decision.GetLadder().GetRevokeUntold() {
		next.RevokeAt = stamp(ceilSecond(now.Add(graceOf(in.Decision))))
	}
	return Step{Entry: next, Act: Escalate}
}

// remind sends the reminders that have come due since the notification.
func (l *Ladder) remind(now time.Time, s *pb.LadderState, in Inputs) Step {
	due := dueAt(s)
	passed, following := reminders(now, s)
	if passed <= s.RemindersSent {
		return l.rest(now, s, in, earlier(following, due))
	}
	if wake, wait := gated(now, s); wait {
		return Step{Wake: earlier(wake, due)}
	}
	return Step{Act: Remind}
}

// reminders counts those whose time has come, and gives the time of the next.
// One that would have been sent before the notification itself does not exist.
func reminders(now time.Time, s *pb.LadderState) (passed uint32, following time.Time) {
	for _, before := range s.GetDecision().GetLadder().GetRemindMs() {
		at := s.RevokeAt.AsTime().Add(-time.Duration(before) * time.Millisecond)
		switch {
		case !at.After(instant(s.NotifiedAt)):
		case !at.After(now):
			passed++
		default:
			following = earlier(following, at)
		}
	}
	return passed, following
}

// rest tries the owner's channels again that did not take the notification.
func (l *Ladder) rest(now time.Time, s *pb.LadderState, in Inputs, wake time.Time) Step {
	if s.Attempt == nil || len(missing(in.Owner, s.Told)) == 0 {
		return Step{Wake: wake}
	}
	if !now.Before(instant(s.Attempt.At).Add(l.NotifyDeadline)) {
		next := entry(now, s, in.Decision)
		next.Attempt = nil // given up: somebody of the owner was told
		return Step{Entry: next}
	}
	if next, wait := gated(now, s); wait {
		return Step{Wake: earlier(wake, next)}
	}
	return Step{Act: TellRest, RevokeAt: instant(s.RevokeAt)}
}

// due asks every guard; only if all are silent the target is asked what is
// true, and after its answer the guards are asked once more (settleLook).
func (l *Ladder) due(now time.Time, s *pb.LadderState, in Inputs) Step {
	if refused := l.refusals(now, s, in.Decision, &in.Facts); len(refused) > 0 {
		return l.hold(now, s, in.Decision, refused)
	}
	if s.State == pb.LadderState_ESCALATED || s.State == pb.LadderState_RETRYING {
		if wake, wait := gated(now, s); wait {
			return Step{Wake: wake}
		}
	}
	return Step{Act: Look}
}

// hold waits and says why. States that say more than "held" are kept.
func (l *Ladder) hold(now time.Time, s *pb.LadderState, d *pb.Decision, refused []Refusal) Step {
	step := Step{Wake: now.Add(l.HoldEvery), Refused: refused}
	state := pb.LadderState_HELD
	switch {
	case s.NotifiedAt == nil, s.State == pb.LadderState_RETRYING, s.State == pb.LadderState_ESCALATED, revoked(s):
		state = s.State
	case s.State == pb.LadderState_REVOKE_INTENDED:
		state = pb.LadderState_RETRYING
	}
	if text := texts(refused); s.State != state || s.Waiting != text {
		step.Entry = entry(now, s, d)
		step.Entry.State, step.Entry.Waiting = state, text
	}
	return step
}

// entry is the next journal entry, equal to s until its caller changes it.
func entry(now time.Time, s *pb.LadderState, d *pb.Decision) *pb.LadderState {
	next := proto.CloneOf(s)
	next.Step++
	next.At = stamp(now)
	if d != nil && len(d.Violations) > 0 && over(d) == "" {
		next.ConfirmedAt = d.DecidedAt
		next.Decision = d
		if s.NotifiedAt != nil {
			next.Decision = keep(s, d)
		}
	}
	return next
}

func resolve(now time.Time, s *pb.LadderState, d *pb.Decision, reason string) *pb.LadderState {
	next := entry(now, s, d)
	next.State, next.Reason = pb.LadderState_RESOLVED, reason
	next.Waiting, next.Attempt, next.RevokeAt, next.IntendedAs, next.Reissue = "", nil, nil, "", nil
	return next
}
