package enforcer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	violated       = pb.LadderState_VIOLATED
	notified       = pb.LadderState_NOTIFIED
	reminded       = pb.LadderState_REMINDED
	held           = pb.LadderState_HELD
	revokeIntended = pb.LadderState_REVOKE_INTENDED
	revokedState   = pb.LadderState_REVOKED
	reissueIntent  = pb.LadderState_REISSUE_INTENDED
	reissued       = pb.LadderState_REISSUED
	closed         = pb.LadderState_CLOSED
	resolvedState  = pb.LadderState_RESOLVED
	exempted       = pb.LadderState_EXEMPTED
	retrying       = pb.LadderState_RETRYING
	escalatedState = pb.LadderState_ESCALATED
	rolledBack     = pb.LadderState_ROLLED_BACK
)

func TestTheWholeLadder(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(time.Minute, violating())
		w.want(violated, notified)
		if s := w.now(); !s.RevokeAt.AsTime().Equal(ceilSecond(s.NotifiedAt.AsTime().Add(time.Hour))) || !slices.Equal(s.Told, []string{"owner"}) {
			t.Errorf("notified entry %v", s)
		}
		w.run(45*time.Minute, violating())
		w.want(violated, notified, reminded)
		if w.issuer.Revoked(cred) != 0 {
			t.Fatal("revoked within the grace period")
		}
		w.run(30*time.Minute, violating())
		w.want(violated, notified, reminded, revokeIntended, revokedState, reissueIntent, reissued, closed)
		if s := w.now(); !strings.Contains(s.Reason, "did not come back") || s.Proof == "" || s.Reissue.Credential == "" {
			t.Errorf("closed entry %v", s)
		}
		w.say(goneByLog())
		w.run(time.Second)
		if s := w.now(); s.SeenInLogAt == nil || s.State != closed {
			t.Errorf("after the log showed it: %v", s)
		}
		if got := w.owner.kinds(); !slices.Equal(got, []notify.Kind{notify.Violation, notify.Reminder, notify.Outcome}) {
			t.Errorf("messages %v", got)
		}
		// Late decisions about it are echoes.
		n := len(w.journal)
		w.run(time.Hour, violating())
		if len(w.journal) != n {
			t.Errorf("a revoked credential got another ladder: %v", w.now())
		}
	})
}

func TestTheLadderClosesWhenTheLogShowsTheRevocation(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(61*time.Minute, violating())
		w.want(violated, notified, reminded, revokeIntended, revokedState, reissueIntent, reissued)
		w.run(time.Second, goneByLog())
		w.want(violated, notified, reminded, revokeIntended, revokedState, reissueIntent, reissued, closed)
		if s := w.now(); !strings.Contains(s.Reason, "came back") {
			t.Errorf("%v", s)
		}
	})
}

func TestAViolationThatEndsResolves(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(30*time.Minute, violating())
		w.run(3*time.Hour, resolved())
		w.want(violated, notified, resolvedState)
		if w.issuer.Revoked(cred) != 0 {
			t.Error("revoked")
		}
		// Violated again: a new ladder with its own grace.
		id := w.now().LadderId
		w.run(59*time.Minute, violating())
		w.want(violated, notified, resolvedState, violated, notified, reminded)
		if w.now().LadderId == id || w.issuer.Revoked(cred) != 0 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestEndedByOthersResolvesWithAReason(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(time.Minute, violating())
		w.issuer.End(cred)
		w.run(time.Second, goneByLog())
		w.want(violated, notified, resolvedState)
		if s := w.now(); !strings.Contains(s.Reason, "somebody else") {
			t.Errorf("%v", s)
		}
	})
	inWorld(t, Config{}, func(w *world) { // the log never shows it, as of a child whose parent ended
		w.run(time.Minute, violating())
		w.issuer.End(cred)
		w.run(5*time.Hour, violating())
		w.want(violated, notified, reminded, resolvedState)
		if s := w.now(); !strings.Contains(s.Reason, "gone at the issuer") || w.issuer.Revoked(cred) != 0 {
			t.Errorf("%v", s)
		}
	})
}

func TestAnotherPolicysViolationStartsItsOwnLadder(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(50*time.Minute, violating())
		other := with(func(d *pb.Decision) { d.Violations[0].PolicyId = "unused" })
		w.run(50*time.Minute, other)
		w.want(violated, notified, reminded, resolvedState, violated, notified, reminded)
		if w.issuer.Revoked(cred) != 0 {
			t.Error("revoked for a policy nobody was told of")
		}
	})
}

func TestExceptionExemptsAndItsEndGivesFreshGrace(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(50*time.Minute, violating())
		w.except(anException(time.Now().Add(24 * time.Hour)))
		w.run(23*time.Hour, violating())
		w.want(violated, notified, reminded, exempted)
		if s := w.now(); s.ExceptionId != "ex-1" {
			t.Errorf("%v", s)
		}
		w.run(time.Hour+59*time.Minute, violating())
		w.want(violated, notified, reminded, exempted, violated, notified, reminded)
		if w.issuer.Revoked(cred) != 0 {
			t.Error("revoked without grace after the exception")
		}
		w.run(2*time.Minute, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestExceptionHoldsWhenTheProcessorDropsTheViolation(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(time.Minute, violating())
		w.except(anException(time.Now().Add(2 * time.Hour)))
		w.run(time.Hour, resolved())
		w.want(violated, notified, exempted)
		w.run(2*time.Hour, resolved())
		w.want(violated, notified, exempted, resolvedState)
	})
}

func TestUnapprovedOrSelfApprovedExceptionsCoverNothing(t *testing.T) {
	for name, spoil := range map[string]func(x *pb.Exception){
		"not approved":  func(x *pb.Exception) { x.ApprovedBy, x.ApprovedAt = "", nil },
		"self-approved": func(x *pb.Exception) { x.ApprovedBy = " Alice" },
		"over":          func(x *pb.Exception) { x.Until = stamp(time.Now()) },
		"revoked":       func(x *pb.Exception) { x.RevokedBy, x.RevokedAt = "carol", stamp(time.Now()) },
		"other policy":  func(x *pb.Exception) { x.PolicyId = "broad" },
		"other":         func(x *pb.Exception) { x.Credential = cred + "2" },
		"both subjects": func(x *pb.Exception) { x.Identity = "vault/default/entity/e" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				x := anException(time.Now().Add(100 * time.Hour))
				spoil(x)
				w.except(x)
				w.run(62*time.Minute, violating())
				if w.issuer.Revoked(cred) != 1 {
					t.Errorf("it covered the credential: %v", w.now())
				}
			})
		})
	}
}
