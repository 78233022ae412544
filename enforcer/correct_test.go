package enforcer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	wanted = "read secret/data/needed" // allowed before it was narrowed
	probed = "read secret/data/probed" // never allowed
)

// undo is a policy that wants the former scope back after a denial.
func undo(d *pb.Decision) {
	d.Ladder.Corrected = &pb.Corrected{WatchMs: (48 * time.Hour).Milliseconds(), OnDenial: pb.Corrected_ROLLBACK}
}

// deny says that the credential that was given back was refused something.
func (w *world) deny(permission string, count uint64, changes ...func(d *pb.Decision)) {
	d := resolved()
	d.Credential = "fake/default/token/new"
	d.Subject.Policies = []string{"leastwise-fake"}
	d.Denials = []*pb.Denial{{Permission: permission, Count: count, FirstAt: timestamppb.Now(), LastAt: timestamppb.Now()}}
	for _, change := range changes {
		change(d)
	}
	w.say(d)
}

func inCorrectedWorld(t *testing.T, policy func(d *pb.Decision), f func(w *world)) {
	t.Helper()
	inWorld(t, Config{}, func(w *world) {
		w.issuer.Formerly = []string{wanted, "read secret/data/other"}
		w.run(80*time.Minute, with(policy))
		if s := w.now(); s.State != closed || s.ReissuedAt == nil {
			t.Fatalf("%v", s)
		}
		f(w)
	})
}

func TestADenialThatTheCorrectionCausedIsToldOncePerPermission(t *testing.T) {
	inCorrectedWorld(t, func(*pb.Decision) {}, func(w *world) {
		w.deny(wanted, 1)
		w.run(time.Minute)
		for _, count := range []uint64{2, 3, 9} { // it is denied on and on
			w.deny(wanted, count)
			w.run(time.Minute)
		}
		for name, box := range map[string]*inbox{"owner": w.owner, "security": w.oncall} {
			told := slices.DeleteFunc(box.kinds(), func(k notify.Kind) bool { return k != notify.Denied })
			if len(told) != 1 {
				t.Fatalf("%s was told %v", name, box.kinds())
			}
		}
		m := w.owner.got[len(w.owner.got)-1]
		for _, want := range []string{wanted + ": once, first ", "No role was narrowed", "Agent: ingest"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("%q is not said:\n%s", want, m.Text)
			}
		}
		w.deny("read secret/data/other", 2, func(d *pb.Decision) {
			d.Denials = append(d.Denials, &pb.Denial{Permission: wanted, Count: 9, FirstAt: d.Denials[0].FirstAt, LastAt: d.Denials[0].LastAt})
		})
		w.run(time.Minute)
		if s := w.now(); len(s.Correction.Denials) != 2 || s.Correction.Told != 2 || s.Correction.Denials[0].Count != 9 || s.State != closed ||
			!strings.Contains(s.Reason, wanted+" (9 times), read secret/data/other (2 times)") {
			t.Errorf("%v", s)
		}
		if w.issuer.Rolled != 0 {
			t.Error("rolled back without a policy that says so")
		}
	})
}

func TestADenialRollsBackByPolicyOnceAndIsTold(t *testing.T) {
	inCorrectedWorld(t, undo, func(w *world) {
		w.deny(wanted, 3)
		w.run(time.Minute)
		s := w.now()
		if s.State != rolledBack || w.issuer.Rolled != 1 || s.Correction.RollbackAt == nil || s.Correction.UndoneToldAt == nil ||
			!strings.Contains(s.Reason, "put back by policy: the narrower scope denied "+wanted+" (3 times)") {
			t.Fatalf("rolled back %d times: %v", w.issuer.Rolled, s)
		}
		intent := slices.IndexFunc(w.journal, func(s *pb.LadderState) bool { return s.Waiting == rollbackIntended })
		done := slices.IndexFunc(w.journal, func(s *pb.LadderState) bool { return s.State == rolledBack })
		if intent < 0 || intent > done {
			t.Errorf("no intent before the act: %v", w.journal)
		}
		if got := w.oncall.kinds(); !slices.Equal(got, []notify.Kind{notify.Denied, notify.Denied}) {
			t.Errorf("security was told %v", got)
		}
		if m := w.owner.got[len(w.owner.got)-1]; !strings.Contains(m.Title, "put back") || !strings.Contains(m.Text, "log in again") {
			t.Errorf("%+v", m)
		}
		for range 2 {
			w.deny(wanted, 9)
			w.deny("read secret/data/other", 1)
			w.run(time.Hour)
			w.restart()
		}
		if w.issuer.Rolled != 1 || w.now().Step != s.Step {
			t.Errorf("rolled back %d times, %v", w.issuer.Rolled, w.now())
		}
	})
}

func TestWhatTheCorrectionDidNotCauseDoesNothing(t *testing.T) {
	for name, deny := range map[string]func(w *world){
		"the former scope would have refused it, too": func(w *world) { w.deny(probed, 100) },
		"it holds something else than what was narrowed": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Subject.Policies = []string{"broad"} })
		},
		"it is somebody else's": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Credential, d.Subject.Agent = "fake/default/token/b", "other" })
		},
		"it is another principal's": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Subject.Principal = "fake/default/entity/e2" })
		},
		"it is at another issuer": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Credential = "fake/other/token/new" })
		},
		"it is what was revoked": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Credential = cred })
		},
		"it was before": func(w *world) {
			w.deny(wanted, 1, func(d *pb.Decision) { d.Denials[0].LastAt = timestamppb.New(time.Now().Add(-time.Hour)) })
		},
		"it is no longer watched": func(w *world) {
			w.run(50 * time.Hour)
			w.deny(wanted, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCorrectedWorld(t, func(d *pb.Decision) { undo(d); d.Subject.Principal = "fake/default/entity/e1" }, func(w *world) {
				deny(w)
				w.run(time.Minute)
				if s := w.now(); w.issuer.Rolled != 0 || s.State != closed || s.Correction != nil || slices.Contains(w.owner.kinds(), notify.Denied) {
					t.Errorf("rolled back %d times: %v", w.issuer.Rolled, s)
				}
			})
		})
	}
	inCorrectedWorld(t, func(d *pb.Decision) { d.Ladder.Corrected = &pb.Corrected{} }, func(w *world) { // watch: 0s
		w.deny(wanted, 1)
		if w.run(time.Minute); w.now().Correction != nil {
			t.Errorf("%v", w.now())
		}
	})
}

func TestADenialOfAnotherCredentialOfTheSameIdentityCounts(t *testing.T) {
	for name, change := range map[string]func(d *pb.Decision){
		"principal":                 func(d *pb.Decision) { d.Subject.Agent, d.Subject.Principal = "", "fake/default/entity/e1" },
		"agent":                     func(*pb.Decision) {},
		"nothing but what it holds": func(d *pb.Decision) { d.Subject.Agent = "" },
	} {
		t.Run(name, func(t *testing.T) {
			inCorrectedWorld(t, func(d *pb.Decision) { undo(d); d.Subject.Principal = "fake/default/entity/e1" }, func(w *world) {
				w.deny(wanted, 1, func(d *pb.Decision) { d.Credential = "fake/default/token/later" }, change)
				if w.run(time.Minute); w.now().State != rolledBack {
					t.Errorf("%v", w.now())
				}
			})
		})
	}
}

func TestKillSwitchAndModeHoldARollbackByPolicyAndTheAlarmDoesNotWait(t *testing.T) {
	for name, stop := range map[string]struct {
		key, on, off string
		setting      pb.Control_Setting
	}{"kill switch": {"kill_switch", "on", "off", pb.Control_KILL_SWITCH}, "mode": {"mode", "notify", "enforce", pb.Control_MODE}} {
		t.Run(name, func(t *testing.T) {
			inCorrectedWorld(t, undo, func(w *world) {
				w.set(stop.key, stop.on, stop.setting)
				w.owner.fail = errors.New("503")
				w.deny(wanted, 1)
				w.run(time.Hour)
				if s := w.now(); w.issuer.Rolled != 0 || s.State != closed || !strings.Contains(s.Waiting, strings.Fields(name)[0]) ||
					!slices.Equal(w.oncall.kinds(), []notify.Kind{notify.Denied}) {
					t.Fatalf("rolled back %d times, security was told %v: %v", w.issuer.Rolled, w.oncall.kinds(), s)
				}
				w.set(stop.key, stop.off, stop.setting)
				w.run(time.Minute)
				if w.issuer.Rolled != 1 || w.now().State != rolledBack {
					t.Errorf("%v", w.now())
				}
			})
		})
	}
}

func TestAnAlarmThatNobodyTakesIsTriedNowAndThenAndTheRollbackDoesNotWait(t *testing.T) {
	inCorrectedWorld(t, undo, func(w *world) {
		w.owner.fail, w.oncall.fail = errors.New("503"), errors.New("503")
		w.deny(wanted, 1)
		w.run(time.Minute)
		if s := w.now(); s.State != rolledBack || s.Correction.Told != 0 {
			t.Fatalf("%v", s)
		}
		w.owner.fail, w.oncall.fail = nil, nil
		w.run(time.Hour)
		if s := w.now(); s.Correction.Told != 1 || s.Correction.UndoneToldAt == nil || !slices.Equal(w.oncall.kinds(), []notify.Kind{notify.Denied}) {
			t.Errorf("security was told %v: %v", w.oncall.kinds(), s)
		}
	})
}

func TestARollbackThatCanNotBeDoneIsSaidAndNotTriedForEver(t *testing.T) {
	inCorrectedWorld(t, undo, func(w *world) {
		tries := 0
		w.issuer.Before = func(act string) error {
			if act != "rollback" {
				return nil
			}
			if tries++; tries < 3 {
				return &target.Error{Op: "roll back", Err: errors.New("500")}
			}
			return &target.Error{Kind: target.Impossible, Op: "roll back", Err: errors.New("the role was changed since")}
		}
		w.deny(wanted, 1)
		w.run(24 * time.Hour)
		s := w.now()
		if tries != 3 || s.State != closed || !strings.Contains(s.Correction.Refused, "changed since") || !strings.Contains(s.Reason, "can not be put back") {
			t.Errorf("%d tries: %v", tries, s)
		}
		if m := w.oncall.got[len(w.oncall.got)-1]; m.Kind != notify.Denied || !strings.Contains(m.Text, "it can not be put back: ") {
			t.Errorf("%+v", m)
		}
	})
}

func TestDyingAroundARollbackByPolicyPutsBackOnce(t *testing.T) {
	entries := map[string]func(s *pb.LadderState) bool{
		"denied":          func(s *pb.LadderState) bool { return s.Correction != nil && s.Correction.Told == 0 },
		"told":            func(s *pb.LadderState) bool { return s.Correction.GetTold() == 1 && s.Correction.RollbackAt == nil },
		"rollback intent": func(s *pb.LadderState) bool { return s.Waiting == rollbackIntended },
		"rolled back":     func(s *pb.LadderState) bool { return s.State == rolledBack },
	}
	for name, at := range entries {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, before the act: %t", name, before), func(t *testing.T) {
				inCorrectedWorld(t, undo, func(w *world) {
					w.crash = func(s *pb.LadderState) bool {
						if !at(s) {
							return false
						}
						if before {
							w.issuer.Before = func(string) error { return &target.Error{Op: "dead", Err: errCrash} }
						}
						return true
					}
					w.deny(wanted, 1)
					w.run(time.Minute)
					if !w.dead {
						t.Fatal("it did not die")
					}
					done := w.issuer.Rolled
					w.issuer.Before = nil
					w.restart()
					w.run(time.Hour)
					// Done and not recorded, it is done again: putting back what is back is harmless.
					if s := w.now(); s.State != rolledBack || w.issuer.Rolled < 1 || w.issuer.Rolled > done+1 || s.Correction.UndoneToldAt == nil {
						t.Errorf("rolled back %d times, %d of them before: %v", w.issuer.Rolled, done, s)
					}
					n := w.issuer.Rolled
					w.restart()
					if w.run(time.Hour); w.issuer.Rolled != n {
						t.Error("rolled back again")
					}
				})
			})
		}
	}
}

// The decision's offset is committed after tick: until the record of a denial
// is durable, tick fails and the decision is read again.
func TestADenialThatCouldNotBeNotedIsReadAgain(t *testing.T) {
	inCorrectedWorld(t, undo, func(w *world) {
		w.dead = true
		w.deny(wanted, 1)
		if err := w.p.tick(t.Context()); !errors.Is(err, errCrash) || len(w.noted) != 0 {
			t.Fatalf("%v, %d noted", err, len(w.noted))
		}
		w.restart()
		w.run(time.Minute)
		if w.now().Correction != nil {
			t.Fatalf("%v", w.now())
		}
		for range 3 { // redelivered
			w.deny(wanted, 1)
			w.run(time.Minute)
		}
		if s := w.now(); s.State != rolledBack || w.issuer.Rolled != 1 || s.Correction.Denials[0].Count != 1 {
			t.Errorf("%v", s)
		}
	})
}

func TestDenialsAreBounded(t *testing.T) {
	inCorrectedWorld(t, func(*pb.Decision) {}, func(w *world) {
		w.issuer.Formerly = nil
		for i := range 400 {
			permission := fmt.Sprintf("read secret/data/%d", i)
			w.issuer.Formerly = append(w.issuer.Formerly, permission)
			w.deny(permission, 1, func(d *pb.Decision) { d.Credential = fmt.Sprintf("fake/default/token/%d", i) })
			w.run(10 * time.Second)
		}
		if s := w.now(); len(s.Correction.Denials) != maxDenials || len(w.noted) > 256 {
			t.Errorf("%d journaled, %d noted", len(s.Correction.Denials), len(w.noted))
		}
	})
}

func TestARollbackDoesNotKeepReceiversFromLearningOfTheRevocation(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		to := &receivers{away: true}
		w.e.transmitter = to
		w.issuer.Formerly = []string{wanted}
		w.run(80*time.Minute, with(undo))
		w.deny(wanted, 1)
		w.run(time.Minute)
		if s := w.now(); s.State != rolledBack {
			t.Fatalf("%v", s)
		}
		to.away = false
		if w.run(time.Hour); len(to.ids()) != 1 {
			t.Errorf("told %v", to.got)
		}
	})
}
