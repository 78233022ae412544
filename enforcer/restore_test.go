package enforcer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	restoreIntended = pb.LadderState_RESTORE_INTENDED
	restored        = pb.LadderState_RESTORED
)

func TestWhatWasTakenIsGivenBackWhenSomebodyAsksWithAReason(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		w.run(80*time.Minute, violating())
		w.askBack("alice", "")
		w.run(time.Minute, violating())
		if f.restored != 0 {
			t.Fatal("given back without a reason")
		}
		w.set("kill_switch", "on", pb.Control_KILL_SWITCH) // takes nothing away, so it goes on
		w.set("budget", "0/h 0%", pb.Control_BUDGET)
		w.askBack("alice", "payroll stands still")
		w.run(time.Second)
		s := w.now()
		if s.State != restored || f.restored != 1 || !slices.Contains(w.issuer.Alive(), cred) {
			t.Fatalf("restored %d times, %v", f.restored, s)
		}
		if !slices.Contains(w.states(), restoreIntended) || s.Restoration.AskedBy != "alice" || s.Restoration.ToldAt == nil || s.Restore == "" || s.RevokedAt == nil {
			t.Errorf("%v", s)
		}
		for name, box := range map[string]*inbox{"owner": w.owner, "security": w.oncall} {
			if got := box.kinds(); !slices.Contains(got, notify.Restored) {
				t.Errorf("%s was told %v", name, got)
			}
		}
		if text := w.owner.got[len(w.owner.got)-1].Text; !strings.Contains(text, "alice asked for it: payroll stands still") {
			t.Errorf("told:\n%s", text)
		}
		n := len(w.journal)
		w.restart()
		w.run(time.Hour)
		if len(w.journal) != n {
			t.Errorf("goes on after it was given back: %v", w.now())
		}
	})
}

func TestARestoredCredentialThatStillViolatesGetsANewLadderWithFullGrace(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		w.run(80*time.Minute, violating())
		old := w.now().LadderId
		w.askBack("alice", "payroll stands still")
		w.run(30 * time.Second)
		told := len(w.owner.got)
		w.run(59*time.Minute, violating())
		s := w.now()
		if s.LadderId == old || s.State != reminded || w.issuer.Revoked(cred) != 1 || len(w.owner.got) < told+1 {
			t.Fatalf("revoked %d times within the new grace period: %v", w.issuer.Revoked(cred), s)
		}
		w.run(3*time.Minute, violating())
		if w.issuer.Revoked(cred) != 2 {
			t.Errorf("the new ladder does not come to its end: %v", w.now())
		}
		if s := w.now(); s.Restoration != nil || s.IntendedAs == "" {
			t.Errorf("%v", s)
		}
	})
	inFullWorld(t, Config{}, func(w *world, f *full) {
		w.run(80*time.Minute, violating())
		w.askBack("alice", "payroll stands still")
		w.run(time.Second)
		w.except(anException(time.Now().Add(48 * time.Hour)))
		w.run(10*time.Hour, violating())
		if s := w.now(); s.State != exempted || w.issuer.Revoked(cred) != 1 {
			t.Errorf("an exception does not cover it: %v", s)
		}
	})
}

func TestRestoreNeedsTheApprovalsOfOthersThanWhoAsks(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		d := with(func(d *pb.Decision) { d.Ladder.Approvals = &pb.Approvals{Restore: 2} })
		w.run(80*time.Minute, d)
		w.askBack("alice", "payroll stands still")
		for _, by := range []string{"Alice ", "bob", "BOB"} {
			w.approve("restore", by)
		}
		w.approve("revoke", "carol")
		w.run(10*time.Minute, d)
		if f.restored != 0 || w.now().Restoration.GetAskedBy() != "alice" || w.now().State != closed {
			t.Fatalf("given back with one approval: %v", w.now())
		}
		w.approve("restore", "carol")
		w.run(time.Second)
		if s := w.now(); s.State != restored || !slices.Equal(s.Restoration.ApprovedBy, []string{"bob", "carol"}) {
			t.Errorf("%v", s)
		}
	})
}

func TestAnUnapprovedWishDoesNotStopARevocation(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		d := with(func(d *pb.Decision) { d.Ladder.Approvals = &pb.Approvals{Restore: 1} })
		fails := true
		w.issuer.Before = func(act string) error {
			if fails && act == "verify" {
				return &target.Error{Op: "verify", Err: errors.New("500")}
			}
			return nil
		}
		w.run(61*time.Minute, d)
		w.askBack("alice", "I want it")
		fails = false
		w.run(20*time.Minute, d)
		if s := w.now(); !revoked(s) || f.restored != 0 {
			t.Errorf("%v", s)
		}
	})
}

func TestRestoreOfWhatWasNotTakenOrCanNotBeGivenBackIsRefusedAndSaid(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		w.run(10*time.Minute, violating())
		w.askBack("alice", "please do not")
		w.run(80*time.Minute, violating())
		if f.restored != 0 || w.issuer.Revoked(cred) != 1 || !strings.Contains(w.now().Restoration.GetRefused(), "exception") {
			t.Errorf("%v", w.now())
		}
	})
	inWorld(t, Config{}, func(w *world) { // this issuer gives nothing back
		w.run(80*time.Minute, violating())
		w.askBack("alice", "payroll stands still")
		w.run(time.Minute)
		s := w.now()
		if s.State != closed || !strings.Contains(s.Restoration.Refused, "new credential") || s.Restoration.ToldAt == nil {
			t.Errorf("%v", s)
		}
		if text := w.oncall.got[len(w.oncall.got)-1].Text; !strings.Contains(text, "was not given back") {
			t.Errorf("told %s", text)
		}
	})
}

func TestRestoreIsTriedUntilTheIssuerSaysAlive(t *testing.T) {
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprintf("failures, done: %t", done), func(t *testing.T) {
			inFullWorld(t, Config{MaxAttempts: 3}, func(w *world, f *full) {
				w.run(80*time.Minute, violating())
				fails := 4
				hook := func(act string) error {
					if act == "restore" && fails > 0 {
						fails--
						return &target.Error{Op: "restore", Err: errors.New("500")}
					}
					return nil
				}
				if w.issuer.Before = hook; done {
					w.issuer.Before, w.issuer.After = nil, hook
				}
				w.askBack("alice", "payroll stands still")
				w.run(5 * time.Minute)
				if s := w.now(); s.State != restored || fails != 0 || f.restored < 1 {
					t.Errorf("%v", s)
				}
				if !slices.Contains(w.oncall.kinds(), notify.Escalation) {
					t.Errorf("nobody was told that it fails: %v", w.oncall.kinds())
				}
			})
		})
	}
}

func TestDyingAroundARestoreGivesBackAndTakesNothingAgain(t *testing.T) {
	for _, before := range []bool{true, false} {
		for _, at := range []pb.LadderState_State{restoreIntended, restored} {
			t.Run(fmt.Sprintf("at %v, before the act: %t", at, before), func(t *testing.T) {
				inFullWorld(t, Config{}, func(w *world, f *full) {
					w.run(80*time.Minute, violating())
					w.crash = func(s *pb.LadderState) bool {
						if s.State != at {
							return false
						}
						if before {
							w.issuer.Before = func(string) error { return &target.Error{Op: "dead", Err: errCrash} }
						}
						return true
					}
					w.askBack("alice", "payroll stands still")
					w.run(time.Minute)
					w.issuer.Before = nil
					control := w.journal[len(w.journal)-1].LadderId
					w.restart()
					w.put("restore/"+control, &pb.Control{Setting: pb.Control_RESTORE, Value: control, SetBy: "alice", Reason: "payroll stands still",
						SetAt: w.now().Restoration.AskedAt})
					w.run(30*time.Minute, resolved())
					if s := w.now(); s.State != restored || !slices.Contains(w.issuer.Alive(), cred) || w.issuer.Revoked(cred) != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}
