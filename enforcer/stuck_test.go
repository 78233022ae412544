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
