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
	finishIntended = pb.LadderState_FINISH_INTENDED
	finished       = pb.LadderState_FINISHED
)

func TestTheSecondStepComesAfterItsPeriodAndBeforeTheClose(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.finishAfter = 72 * time.Hour
		w.run(71*time.Hour, violating())
		if f.finished != 0 || slices.Contains(w.states(), closed) {
			t.Fatalf("finished %d times: %v", f.finished, w.states())
		}
		w.restart() // tells the outcome no second time
		w.run(4*time.Hour, violating())
		w.want(violated, notified, reminded, revokeIntended, revokedState, reissueIntent, reissued, finishIntended, finished, closed)
		s := w.now()
		if f.finished != 1 || s.FinishedAt.AsTime().Sub(s.RevokedAt.AsTime()) < 72*time.Hour {
			t.Errorf("finished %d times: %v", f.finished, s)
		}
		outcomes := 0
		for _, kind := range w.owner.kinds() {
			if kind == notify.Outcome {
				outcomes++
			}
		}
		if outcomes != 1 {
			t.Errorf("the outcome was told %d times", outcomes)
		}
	})
}

func TestTheSecondStepStandsUnderItsGuards(t *testing.T) {
	for name, c := range map[string]struct {
		hold, free func(w *world)
		d          func(d *pb.Decision)
		text       string
	}{
		"kill switch": {hold: func(w *world) { w.set("kill_switch", "on", pb.Control_KILL_SWITCH) },
			free: func(w *world) { w.set("kill_switch", "off", pb.Control_KILL_SWITCH) }, text: "kill_switch: "},
		"mode": {hold: func(w *world) { w.set("mode", "notify", pb.Control_MODE) },
			free: func(w *world) { w.set("mode", "enforce", pb.Control_MODE) }, text: "mode: "},
		"protected": {hold: func(w *world) { w.issuer.Own(cred) }, text: "protected: "},
		"exception": {hold: func(w *world) { w.except(anException(time.Now().Add(500 * time.Hour))) }, text: "exception: "},
		"approval": {hold: func(*world) {}, free: func(w *world) { w.approve("finish", "bob") },
			d: func(d *pb.Decision) { d.Ladder.Approvals = &pb.Approvals{Finish: 1} }, text: "approval: waiting for somebody to approve the act finish of ladder"},
	} {
		t.Run(name, func(t *testing.T) {
			inFullWorld(t, Config{}, func(w *world, f *full) {
				f.finishAfter = 24 * time.Hour
				d := violating()
				if c.d != nil {
					c.d(d)
				}
				w.run(2*time.Hour, d)
				c.hold(w)
				w.run(48*time.Hour, d)
				if s := w.now(); f.finished != 0 || s.State != reissued || !strings.HasPrefix(s.Waiting, c.text) {
					t.Fatalf("finished %d times: %v", f.finished, s)
				}
				if c.free == nil {
					return
				}
				c.free(w)
				w.run(5*time.Minute, d)
				if s := w.now(); f.finished != 1 || s.State != closed {
					t.Errorf("finished %d times: %v", f.finished, s)
				}
			})
		})
	}
}

func TestWhatWasRestoredIsNotFinished(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.finishAfter = 24 * time.Hour
		w.run(2*time.Hour, violating())
		w.askBack("alice", "payroll stands still")
		w.run(time.Minute)
		w.run(100*time.Hour, resolved())
		if s := w.now(); f.finished != 0 || s.State != restored {
			t.Errorf("finished %d times: %v", f.finished, s)
		}
	})
	inFullWorld(t, Config{}, func(w *world, f *full) { // by somebody else, at the issuer
		f.finishAfter = 24 * time.Hour
		w.run(2*time.Hour, violating())
		w.issuer.Add(cred)
		w.run(30*time.Hour, resolved())
		if s := w.now(); f.finished != 0 || s.State != restored || !strings.Contains(s.Reason, "at the issuer") {
			t.Errorf("finished %d times: %v", f.finished, s)
		}
	})
}

func TestDyingAroundTheSecondStepDoesItOnceInEffect(t *testing.T) {
	for _, before := range []bool{true, false} {
		for _, at := range []pb.LadderState_State{finishIntended, finished} {
			t.Run(fmt.Sprintf("at %v, before the act: %t", at, before), func(t *testing.T) {
				inFullWorld(t, Config{}, func(w *world, f *full) {
					f.finishAfter = 24 * time.Hour
					w.crash = func(s *pb.LadderState) bool {
						if s.State != at {
							return false
						}
						if before {
							w.issuer.Before = func(string) error { return &target.Error{Op: "dead", Err: errCrash} }
						}
						return true
					}
					w.run(26*time.Hour, violating())
					w.issuer.Before = nil
					w.restart()
					w.run(time.Hour, violating())
					if s := w.now(); s.State != closed || f.finished < 1 {
						t.Errorf("finished %d times: %v", f.finished, s)
					}
				})
			})
		}
	}
}

func TestWhatWorksOnIsExposedUntilTheIssuerProvesThatNothingDoes(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.works = 5 * time.Hour
		asked := 0
		w.issuer.Before = func(act string) error {
			if act != "verify" || f.revokedAt.IsZero() || time.Since(f.revokedAt) < time.Hour {
				return nil
			}
			if asked++; asked < 3 {
				return &target.Error{Op: "verify", Err: errors.New("500")}
			}
			return nil
		}
		w.run(5*time.Hour, violating())
		s := w.now()
		if s.State != reissued || s.WorksUntil == nil || s.ExposureEndedAt != nil || asked != 0 {
			t.Fatalf("asked %d times: %v", asked, s)
		}
		w.run(90*time.Minute, violating())
		s = w.now()
		if s.State != closed || s.ExposureEndedAt.AsTime().Before(s.WorksUntil.AsTime()) || asked != 3 {
			t.Errorf("asked %d times: %v", asked, s)
		}
	})
	inFullWorld(t, Config{MaxAttempts: 3}, func(w *world, f *full) { // it works again
		f.works = 5 * time.Hour
		w.run(4*time.Hour, violating())
		w.issuer.Add(cred)
		w.run(4*time.Hour, violating())
		if s := w.now(); s.State == closed || !strings.HasPrefix(s.Waiting, "exposure: ") || !slices.Contains(w.oncall.kinds(), notify.Escalation) {
			t.Errorf("%v", s)
		}
	})
}
