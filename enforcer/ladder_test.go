package enforcer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
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

// Each guard alone holds a revocation that is due, says so once, and lets go
// when it is silent again.
func TestEachGuardHoldsAndLetsGo(t *testing.T) {
	cases := map[Guard]struct {
		cfg   Config
		hold  func(w *world) // before the grace period is over
		free  func(w *world)
		beats func(d *pb.Decision)
		text  string
	}{
		GuardMode: {
			hold: func(w *world) { w.set("mode", "notify", pb.Control_MODE) },
			free: func(w *world) { w.set("mode", "enforce", pb.Control_MODE) },
			text: "mode: overall mode is notify",
		},
		GuardKill: {
			hold: func(w *world) { w.set("kill_switch", "on", pb.Control_KILL_SWITCH) },
			free: func(w *world) { w.set("kill_switch", "off", pb.Control_KILL_SWITCH) },
			text: "kill_switch: switched on by operator",
		},
		GuardBudget: {
			hold: func(w *world) { w.set("budget", "0/h 5%", pb.Control_BUDGET) },
			free: func(w *world) { w.set("budget", "1/h 5%", pb.Control_BUDGET) },
			text: "budget: 0 of 0 this hour (0/h 5%)",
		},
		GuardApproval: {
			beats: func(d *pb.Decision) { d.Ladder.RequiresApproval = true },
			hold:  func(*world) {},
			free: func(w *world) {
				w.set("approve/"+w.now().LadderId, w.now().LadderId, control.Approve)
			},
			text: "approval: waiting for somebody to approve ladder",
		},
		GuardProtected: {
			hold: func(w *world) {
				w.issuer.Before = func(act string) error {
					if act == "protected" {
						return &target.Error{Op: "see own token", Err: errors.New("500")}
					}
					return nil
				}
			},
			free: func(w *world) { w.issuer.Before = nil },
			text: "protected: unknown: see own token: 500",
		},
		GuardException: {
			beats: func(d *pb.Decision) {
				d.Violations = append(d.Violations, &pb.Violation{PolicyId: "broad", Metric: "scope"})
			},
			hold: func(w *world) { w.except(anException(time.Now().Add(48 * time.Hour))) },
			free: func(w *world) {
				x := anException(time.Now().Add(time.Hour))
				x.RevokedBy, x.RevokedAt = "bob", stamp(time.Now())
				w.except(x)
			},
			text: "exception: ex-1 covers long-lived: waiting for a decision without it",
		},
		GuardTarget: {
			hold: func(w *world) {
				w.issuer.Before = func(act string) error {
					if act == "lookup" {
						return &target.Error{Op: "look up", Err: errors.New("connection refused")}
					}
					return nil
				}
			},
			free: func(w *world) { w.issuer.Before = nil },
			text: "target: look up: connection refused",
		},
	}
	for guard, c := range cases {
		t.Run(string(guard), func(t *testing.T) {
			inWorld(t, c.cfg, func(w *world) {
				d := violating()
				if c.beats != nil {
					c.beats(d)
				}
				w.run(time.Minute, d)
				c.hold(w)
				w.run(70*time.Minute, d)
				s := w.now()
				if s.State != held || !strings.HasPrefix(s.Waiting, c.text) {
					t.Fatalf("want HELD by %q, got %v", c.text, s)
				}
				if w.issuer.Revoked(cred) > 0 {
					t.Fatal("revoked although held")
				}
				n := len(w.journal)
				w.run(30*time.Minute, d)
				if len(w.journal) != n {
					t.Errorf("%d entries more while nothing changed", len(w.journal)-n)
				}
				c.free(w)
				w.run(2*time.Minute, d)
				if w.issuer.Revoked(cred) != 1 {
					t.Errorf("not revoked when the guard let go: %v", w.now())
				}
			})
		})
	}
}

func TestAStaleDecisionHolds(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(time.Minute, violating())
		w.run(2 * time.Hour) // no heartbeat
		if s := w.now(); s.State != held || !strings.Contains(s.Waiting, "freshness") {
			t.Fatalf("%v", s)
		}
		w.run(time.Second, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("not revoked when a fresh decision came: %v", w.now())
		}
	})
}

func TestAReplaysDecisionIsNotFresh(t *testing.T) {
	l := Config{}.withDefaults().ladder()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := violating()
	d.DecidedAt, d.AsOf = stamp(now), stamp(now.Add(-time.Hour))
	if fresh(l, now, nil, d, nil) == nil {
		t.Error("a decision about an hour ago is fresh")
	}
	d.AsOf = stamp(now)
	if r := fresh(l, now, nil, d, nil); r != nil {
		t.Errorf("a decision about now is not: %v", r)
	}
	d.DecidedAt = stamp(now.Add(time.Hour))
	d.AsOf = d.DecidedAt
	if fresh(l, now, nil, d, nil) == nil {
		t.Error("a decision from the future is fresh")
	}
}

func TestProtectedCredentialsAreNeverRevoked(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		prep func(w *world)
		d    func(d *pb.Decision)
	}{
		"own token":  {prep: func(w *world) { w.issuer.Own(cred) }},
		"credential": {cfg: Config{Protect: []Protection{{Credential: "fake/*/token/a*"}}}},
		"principal":  {cfg: Config{Protect: []Protection{{Principal: "vault/default/entity/*"}}}, d: func(d *pb.Decision) { d.Subject.Principal = "vault/default/entity/e/1" }},
		"label": {cfg: Config{Protect: []Protection{{Labels: map[string]string{"role_name": "break-*"}}}},
			d: func(d *pb.Decision) { d.Subject.Labels = map[string]string{"role_name": "break-glass"} }},
		"catalog": {d: func(d *pb.Decision) { d.Subject.Labels = map[string]string{"protected": "true"} }},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c.cfg, func(w *world) {
				if c.prep != nil {
					c.prep(w)
				}
				d := violating()
				if c.d != nil {
					c.d(d)
				}
				w.run(5*time.Hour, d)
				if s := w.now(); s.State != held || !strings.HasPrefix(s.Waiting, "protected: ") || w.issuer.Revoked(cred) != 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

func TestModesBelowEnforceNeverRevoke(t *testing.T) {
	for name, c := range map[string]struct {
		overall string
		policy  pb.Ladder_Mode
		want    []pb.LadderState_State
	}{
		"overall observe caps":          {"observe", pb.Ladder_ENFORCE, []pb.LadderState_State{violated}},
		"policy observes":               {"enforce", pb.Ladder_OBSERVE, []pb.LadderState_State{violated}},
		"overall notify caps":           {"notify", pb.Ladder_ENFORCE, []pb.LadderState_State{violated, notified}},
		"policy notifies":               {"enforce", pb.Ladder_NOTIFY, []pb.LadderState_State{violated, notified}},
		"weaker of notify, observe":     {"notify", pb.Ladder_OBSERVE, []pb.LadderState_State{violated}},
		"default configuration observe": {"observe", pb.Ladder_NOTIFY, []pb.LadderState_State{violated}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{Mode: c.overall}, func(w *world) {
				w.run(30*time.Hour, with(func(d *pb.Decision) { d.Ladder.Mode = c.policy }))
				w.want(c.want...)
				if s := w.now(); s.RevokeAt != nil || w.issuer.Revoked(cred) != 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

func TestRaisingTheModeAnnouncesATimeAndGivesFullGrace(t *testing.T) {
	inWorld(t, Config{Mode: "notify"}, func(w *world) {
		w.run(10*time.Hour, violating())
		w.want(violated, notified)
		w.set("mode", "enforce", pb.Control_MODE)
		w.run(59*time.Minute, violating())
		if w.issuer.Revoked(cred) != 0 {
			t.Fatal("revoked without grace")
		}
		if got := w.owner.got; len(got) < 2 || got[0].RevokeAt != nil || got[1].RevokeAt == nil {
			t.Errorf("messages: %+v", got)
		}
		w.run(2*time.Minute, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("not revoked: %v", w.now())
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

func TestNobodyToTellEscalatesAndNeverRevokes(t *testing.T) {
	for name, owner := range map[string]*pb.Owner{
		"no owner":        nil,
		"no channels":     {Id: "data"},
		"unknown channel": {Id: "data", Channels: []string{"pager"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				ownerless := with(func(d *pb.Decision) { d.Subject.Owner = owner })
				w.run(30*time.Hour, ownerless)
				w.want(violated, escalatedState)
				if got := w.oncall.kinds(); !slices.Equal(got, []notify.Kind{notify.Escalation}) {
					t.Errorf("escalations: %v", got)
				}
				if w.issuer.Revoked(cred) != 0 {
					t.Fatal("revoked")
				}
				w.run(59*time.Minute, violating()) // the catalog names an owner
				w.want(violated, escalatedState, notified, reminded)
				w.run(2*time.Minute, violating())
				if w.issuer.Revoked(cred) != 1 {
					t.Errorf("%v", w.now())
				}
			})
		})
	}
}

func TestChannelThatFailsIsRetriedThenEscalated(t *testing.T) {
	inWorld(t, Config{NotifyDeadline: 30 * time.Minute}, func(w *world) {
		w.owner.fail = errors.New("answered 503")
		w.run(29*time.Minute, violating())
		w.want(violated)
		if a := w.now().Attempt; a.GetNumber() < 3 || !strings.Contains(a.GetError(), "503") {
			t.Errorf("attempt %v", a)
		}
		w.run(10*time.Hour, violating())
		w.want(violated, escalatedState)
		if w.issuer.Revoked(cred) != 0 || len(w.oncall.got) != 1 {
			t.Errorf("revoked %d times, %d escalations", w.issuer.Revoked(cred), len(w.oncall.got))
		}
		w.owner.fail = nil
		w.run(15*time.Minute, violating())
		w.want(violated, escalatedState, notified)
	})
}

func TestRevokeUntoldWaitsForTheGraceAfterTheEscalation(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		d := with(func(d *pb.Decision) { d.Subject.Owner, d.Ladder.RevokeUntold = nil, true })
		w.run(59*time.Minute, d)
		w.want(violated, escalatedState)
		w.run(2*time.Minute, d)
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestRevokeUntoldThatIsWithdrawnHolds(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(50*time.Minute, with(func(d *pb.Decision) { d.Subject.Owner, d.Ladder.RevokeUntold = nil, true }))
		w.run(3*time.Hour, with(func(d *pb.Decision) { d.Subject.Owner = nil }))
		if s := w.now(); s.State != escalatedState || !strings.Contains(s.Waiting, "told: the owner could not be told") || w.issuer.Revoked(cred) != 0 {
			t.Errorf("%v", s)
		}
	})
}

func TestWhatTheIssuerDoesNotKnowIsHeldNotRevoked(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		const other = "fake/default/token/never-seen"
		d := with(func(d *pb.Decision) { d.Credential = other })
		w.run(5*time.Hour, d)
		if s := w.newest(other); s.State != held || !strings.Contains(s.Waiting, "unknown: never heard of it") {
			t.Errorf("%v", s)
		}
	})
}

func TestEscalationThatFailsIsRetried(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.oncall.fail = errors.New("answered 500")
		ownerless := with(func(d *pb.Decision) { d.Subject.Owner = nil })
		w.run(time.Hour, ownerless)
		if s := w.now(); s.State != escalatedState || escalated(s) || s.Attempt.GetNumber() < 3 {
			t.Errorf("%v", s)
		}
		w.oncall.fail = nil
		w.run(15*time.Minute, ownerless)
		if s := w.now(); !escalated(s) || len(w.oncall.got) != 1 {
			t.Errorf("%v, %d messages", s, len(w.oncall.got))
		}
	})
}

func TestPermissionDeniedEscalatesWithTheCapabilityAndIsNotForgotten(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		denied := &target.Error{Kind: target.Permission, Op: "revoke the token", Missing: target.Missing{Path: "auth/token/revoke-accessor", Capability: "update", Step: "revoke"}}
		w.issuer.Before = func(act string) error {
			if act == "revoke" {
				return denied
			}
			return nil
		}
		w.run(62*time.Minute, violating())
		s := w.now()
		if s.State != escalatedState || !strings.Contains(s.Waiting, `"update" on "auth/token/revoke-accessor"`) {
			t.Fatalf("%v", s)
		}
		w.run(2*time.Hour, violating())
		if got := w.oncall.kinds(); !slices.Equal(got, []notify.Kind{notify.Escalation}) {
			t.Errorf("escalations %v", got)
		}
		w.issuer.Before = nil
		w.run(15*time.Minute, violating())
		if s := w.now(); w.issuer.Revoked(cred) != 1 || !revoked(s) {
			t.Errorf("after the grant: %v", s)
		}
	})
}

func TestARollbackIsDoneOnceWhenAsked(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(80*time.Minute, violating())
		if w.now().State != closed {
			t.Fatalf("%v", w.now())
		}
		id := w.now().LadderId
		w.set("rollback/"+id, id, pb.Control_ROLLBACK)
		w.run(time.Hour)
		if s := w.now(); s.State != rolledBack || w.issuer.Rolled != 1 {
			t.Errorf("%v, rolled back %d times", s, w.issuer.Rolled)
		}
		w.restart()
		w.set("rollback/"+id, id, pb.Control_ROLLBACK)
		w.run(time.Hour)
		if w.issuer.Rolled != 1 {
			t.Errorf("rolled back %d times", w.issuer.Rolled)
		}
	})
}

func TestTheBudgetStopsBeforeActingAndIsNotRefilledByARestart(t *testing.T) {
	inWorld(t, Config{Budget: "3/h 100%"}, func(w *world) {
		var all []*pb.Decision
		for i := range 8 {
			key := fmt.Sprintf("fake/default/token/b%d", i)
			w.issuer.Add(key)
			all = append(all, with(func(d *pb.Decision) { d.Credential = key }))
		}
		count := func() (n int) {
			for _, d := range all {
				n += w.issuer.Revoked(d.Credential)
			}
			return n
		}
		w.run(90*time.Minute, all...)
		if n := count(); n != 3 {
			t.Fatalf("%d revoked within the first hour after the grace", n)
		}
		w.restart()
		w.run(20*time.Minute, all...)
		if n := count(); n != 3 {
			t.Fatalf("%d revoked after a restart", n)
		}
		w.run(30*time.Minute, all...)
		if n := count(); n != 6 {
			t.Errorf("%d revoked an hour later", n)
		}
	})
	inWorld(t, Config{Budget: "100/h 10%"}, func(w *world) { // of 21 live ones
		var all []*pb.Decision
		for i := range 20 {
			key := fmt.Sprintf("fake/default/token/b%d", i)
			w.issuer.Add(key)
			all = append(all, with(func(d *pb.Decision) { d.Credential = key }))
		}
		w.run(100*time.Minute, all...)
		n := 0
		for _, d := range all {
			n += w.issuer.Revoked(d.Credential)
		}
		if n != 2 {
			t.Errorf("%d of 21 revoked with a share of 10%%", n)
		}
	})
}
