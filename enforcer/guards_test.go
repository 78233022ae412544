package enforcer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

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
				w.set("approve/"+w.now().LadderId, w.now().LadderId, pb.Control_APPROVE)
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
