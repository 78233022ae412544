package enforcer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The process dies right after each entry in turn: before the act that follows
// it, and after the act but before its result is durable.
func TestDyingAfterAnyEntryNeitherRepeatsNorForgets(t *testing.T) {
	for n := 1; n <= 7; n++ {
		t.Run(fmt.Sprintf("after the act that follows entry %d, where logs show hashes", n), func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				w.issuer.Hashed = true
				w.crash = func(s *pb.LadderState) bool { return s.Step == uint64(n) }
				w.run(65*time.Minute, violating())
				w.restart()
				w.run(80*time.Minute, violating())
				checkEnd(w)
			})
		})
		t.Run(fmt.Sprintf("after entry %d, before its act", n), func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				w.crash = func(s *pb.LadderState) bool {
					if s.Step == uint64(n) {
						// Nothing reaches the target any more.
						w.issuer.Before = func(string) error { return &target.Error{Op: "dead", Err: errCrash} }
						w.owner.fail = errCrash
						return true
					}
					return false
				}
				w.run(65*time.Minute, violating())
				w.issuer.Before, w.owner.fail = nil, nil
				w.restart()
				w.run(80*time.Minute, violating())
				checkEnd(w)
			})
		})
		t.Run(fmt.Sprintf("after the act that follows entry %d", n), func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				w.crash = func(s *pb.LadderState) bool { return s.Step == uint64(n) }
				w.run(65*time.Minute, violating())
				w.restart()
				w.run(80*time.Minute, violating())
				checkEnd(w)
			})
		})
	}
}

func checkEnd(w *world) {
	w.t.Helper()
	if s := w.now(); s.State != closed || w.issuer.Revoked(cred) != 1 {
		w.t.Errorf("revoked %d times, ends in %v", w.issuer.Revoked(cred), s)
	}
}

func TestNothingIsDoneWhileTheJournalTakesNoIntent(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.away = func(s *pb.LadderState) bool { return s.State == revokeIntended }
		w.run(61*time.Minute, violating())
		if w.issuer.Revoked(cred) != 0 {
			t.Error("revoked without an intent")
		}
		w.away = nil
		w.run(80*time.Minute, violating())
		checkEnd(w)
	})
}

func TestTheNewestStepOfTheJournalWins(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(80*time.Minute, violating())
		n := len(w.journal)
		slices.Reverse(w.journal) // as a compacted topic that a stale writer has added to
		w.restart()
		slices.Reverse(w.journal)
		w.run(10*time.Minute, violating())
		if len(w.journal) != n || w.issuer.Revoked(cred) != 1 {
			t.Errorf("%d entries more: %v", len(w.journal)-n, w.now())
		}
	})
}

func TestAnOlderDecisionThatComesLateChangesNothing(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(time.Minute, violating())
		old := resolved()
		old.DecidedAt = stamp(time.Now().Add(-2 * time.Minute))
		w.p.decide(old)
		w.run(time.Second)
		w.want(violated, notified)
	})
}

func TestAReminderThatWouldPrecedeTheNotificationIsNotSent(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(12*time.Minute, with(func(d *pb.Decision) { d.Ladder.GraceMs = (10 * time.Minute).Milliseconds() }))
		if slices.Contains(w.states(), reminded) || w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.states())
		}
	})
}

// Every act fails in both ways: not done, and done but reported as failed.
func TestEveryFailureOfAnActIsRetriedAndNothingIsDoneTwice(t *testing.T) {
	failure := &target.Error{Op: "injected", Err: errors.New("500")}
	for _, act := range []string{"protected", "live", "lookup", "plan", "revoke", "verify", "reissue"} {
		for _, times := range []int{1, 3} {
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s fails %d times, done: %t", act, times, done), func(t *testing.T) {
					inWorld(t, Config{}, func(w *world) {
						left := times
						fail := func(a string) error {
							if a == act && left > 0 {
								left--
								return failure
							}
							return nil
						}
						if w.issuer.Before = fail; done {
							w.issuer.Before, w.issuer.After = nil, fail
						}
						w.run(2*time.Hour, violating())
						checkEnd(w)
						if act == "revoke" && done {
							left = min(left, times-1) - (times - 1) // it is gone: nobody revokes again
						}
						if left != 0 {
							t.Errorf("the failure was not met: %d left", left)
						}
						if act == "revoke" && !slices.Contains(w.states(), retrying) {
							t.Errorf("states %v", w.states())
						}
					})
				})
			}
		}
	}
}

func TestATargetThatNeverProvesItIsNotRecordedAsRevoked(t *testing.T) {
	inWorld(t, Config{MaxAttempts: 3}, func(w *world) {
		w.issuer.Before = func(act string) error {
			if act == "verify" {
				return &target.Error{Op: "verify", Err: errors.New("500")}
			}
			return nil
		}
		w.run(5*time.Hour, violating())
		if s := w.now(); s.State != escalatedState || slices.Contains(w.states(), revokedState) {
			t.Errorf("%v", s)
		}
		w.issuer.Before = nil
		w.run(15*time.Minute, violating())
		if s := w.now(); !revoked(s) || w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", s)
		}
	})
}

// seed is printed by a failing test; LEASTWISE_SEED repeats it.
func seed(t *testing.T) uint64 {
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("LEASTWISE_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("LEASTWISE_SEED=%d", n)
		}
	})
	return n
}

// The checker of this test shares no code with the guards: it looks at the
// inputs of each step and says on its own whether an intent was allowed.
func TestNoPathLeadsToAnIntentWithoutEverythingItNeeds(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 1))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	intents := 0
	for range 600 {
		intents += walk(t, rng, start)
		if t.Failed() {
			return
		}
	}
	if intents < 50 {
		t.Errorf("only %d walks came to an intent: the test sees too little", intents)
	}
}

// walk takes one ladder through random inputs and returns how many intents it
// came to.
func walk(t *testing.T, rng *rand.Rand, now time.Time) (intents int) {
	l := Config{}.withDefaults().ladder()
	var s *pb.LadderState
	var out *Outcome
	var toldAt time.Time // when the owner was last told a time of revocation
	var toldGrace time.Duration
	calm := rng.IntN(4) // of 4: how seldom something is in the way
	for range 200 {
		in := randomInputs(rng, now, s, calm)
		in.Outcome = out
		before := s
		step := l.Next(now, s, in)
		out = nil
		if step.Entry != nil {
			if before != nil && step.Entry.Step != before.Step+1 {
				t.Errorf("step %d after %d", step.Entry.Step, before.Step)
			}
			s = proto.CloneOf(step.Entry)
			if before.GetState() != notified && s.State == violated {
				toldAt = time.Time{}
			}
		}
		if s.GetState() == revokedState && before.GetState() != revokedState && !intended(before) {
			t.Errorf("%v to REVOKED", before.GetState())
		}
		if s.GetState() == revokedState && before.GetState() != revokedState && !in.Outcome.Proof.Gone {
			t.Errorf("REVOKED without proof: %+v", in.Outcome)
		}
		if step.Act == Revoke {
			intents++
			if in.Outcome.Sighting.Status != target.Alive {
				t.Errorf("an intent after %v", in.Outcome.Sighting.Status)
			}
			if in.Decision == nil {
				in.Decision = before.Decision
			}
			if why := forbidden(now, s, in, toldAt, toldGrace); why != "" {
				t.Errorf("intent although %s\nbefore %v\nentry %v\ninputs %+v", why, before, s, in.Facts)
				return intents
			}
		}
		if step.Act != Nothing {
			out = randomOutcome(rng, step, in)
			if step.Act == TellOwner && len(out.Told) > 0 && !step.RevokeAt.IsZero() {
				d := in.Decision
				if d == nil {
					d = before.Decision
				}
				toldAt, toldGrace = now, graceOf(d)
			}
			now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
			continue
		}
		jump := time.Duration(rng.IntN(20)) * time.Minute
		if !step.Wake.IsZero() && rng.IntN(2) == 0 && step.Wake.After(now) {
			jump = step.Wake.Sub(now)
		}
		now = now.Add(jump)
	}
	return intents
}

func forbidden(now time.Time, s *pb.LadderState, in Inputs, toldAt time.Time, toldGrace time.Duration) string {
	f, d := in.Facts, in.Decision
	if d == nil {
		return "there is no decision"
	}
	untold := d.Ladder.RevokeUntold
	age := now.Sub(d.AsOf.AsTime())
	switch {
	case f.NotReady != "":
		return "not ready"
	case f.Overall != pb.Ladder_ENFORCE || d.Ladder.Mode != pb.Ladder_ENFORCE || !d.Ladder.Revoke:
		return "mode"
	case f.Killed != "":
		return "killed"
	case len(f.Cover.Excepted) > 0:
		return "excepted"
	case f.Protected != "" || f.ProtectedUnknown != "":
		return "protected"
	case age > 5*time.Minute || age < -time.Minute:
		return "stale"
	case len(d.Violations) == 0 || d.Subject.State != "active":
		return "not violated"
	case f.LiveUnknown != "" || f.Used >= min(f.Budget.Count, max(1, int(f.Budget.Share*float64(f.Live)))):
		return "no budget"
	case d.Ladder.RequiresApproval && len(f.Approvals[control.Revoke]) == 0:
		return "not approved"
	case f.NoTarget != "":
		return "no target"
	case len(s.Told) == 0 && !untold:
		return "untold"
	case !untold && (toldAt.IsZero() || now.Before(toldAt.Add(toldGrace))):
		return "grace not over since " + toldAt.String()
	}
	return ""
}

func randomInputs(rng *rand.Rand, now time.Time, s *pb.LadderState, calm int) Inputs {
	rare := func() bool { return rng.IntN(4*(calm+1)*(calm+1)) == 0 }
	d := violating()
	at := now
	if rare() {
		at = now.Add(time.Duration(rng.IntN(20)-10) * time.Minute)
	}
	d.DecidedAt, d.AsOf = stamp(at), stamp(at)
	if rare() {
		d.AsOf = stamp(at.Add(-time.Hour))
	}
	d.Ladder.GraceMs = int64(rng.IntN(40)) * 60_000
	if rare() {
		d.Ladder.Mode = pb.Ladder_Mode(rng.IntN(3))
	}
	d.Ladder.Revoke = !rare()
	d.Ladder.RevokeUntold = rare()
	d.Ladder.RequiresApproval = rare()
	if rare() {
		d.Violations[0].PolicyId = "another"
	}
	if veryRare := rare() && rng.IntN(4) == 0; veryRare {
		d.Violations = nil
	}
	if veryRare := rare() && rng.IntN(4) == 0; veryRare {
		d.Subject.State = "revoked"
	}
	f := Facts{Overall: pb.Ladder_ENFORCE, Budget: control.Budget{Count: 20, Share: 1}, Live: 10, Used: rng.IntN(3)}
	if rare() {
		f.Overall = pb.Ladder_Mode(rng.IntN(3))
	}
	for _, p := range []*string{&f.NotReady, &f.Killed, &f.Protected, &f.ProtectedUnknown, &f.LiveUnknown, &f.NoTarget} {
		if rare() {
			*p = "something"
		}
	}
	if rare() {
		f.Approvals = map[control.Class][]control.Approval{control.Revoke: {{By: "somebody", At: now}}}
	}
	if rare() {
		f.Used = 30
	}
	if rare() {
		f.Cover = exception.Cover{Excepted: []string{"long-lived"}, ID: "ex", Until: now.Add(time.Minute), All: rng.IntN(2) == 0}
	}
	in := Inputs{Decision: d, Facts: f, Owner: []string{"owner"}, Report: rng.IntN(2) == 0}
	if rare() {
		in.Owner = nil
	}
	if s != nil && rare() {
		in.Decision = nil
	}
	return in
}

func randomOutcome(rng *rand.Rand, step Step, in Inputs) *Outcome {
	out := &Outcome{Act: step.Act, RevokeAt: step.RevokeAt}
	if rng.IntN(4) == 0 {
		out.Err = &target.Error{Kind: target.Kind(rng.IntN(3)), Op: "random", Err: errors.New("failure")}
	}
	switch step.Act {
	case TellOwner, TellRest, Remind, Escalate, Report:
		if out.Err == nil {
			out.Told = []string{"owner"}
		}
	case Look:
		out.Sighting = target.Sighting{Status: target.Status(rng.IntN(3)), Found: "x", Detail: "d"}
		if rng.IntN(3) > 0 {
			out.Sighting.Status = target.Alive
		}
	case Revoke, Verify:
		out.Proof = target.Proof{Gone: rng.IntN(2) == 0, Text: "t"}
	}
	return out
}
