package enforcer

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func berlin() *pb.Hours {
	return &pb.Hours{Zone: "Europe/Berlin", Days: []uint32{1, 2, 3, 4, 5}, FromMinute: 9 * 60, ToMinute: 17 * 60}
}

func TestTheNextAllowedMoment(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	freeze := func(from, until string) []*pb.Freeze {
		return []*pb.Freeze{{From: stamp(at(from)), Until: stamp(at(until)), Reason: "close"}}
	}
	for name, c := range map[string]struct {
		l        *pb.Ladder
		at, want string // no want: never
		why      string
	}{
		"no rules":             {&pb.Ladder{}, "2026-03-07T03:00:00Z", "2026-03-07T03:00:00Z", ""},
		"within":               {&pb.Ladder{BusinessHours: []*pb.Hours{berlin()}}, "2026-03-06T15:59:59Z", "2026-03-06T15:59:59Z", ""},
		"the hour it closes":   {&pb.Ladder{BusinessHours: []*pb.Hours{berlin()}}, "2026-03-06T16:00:00Z", "2026-03-09T08:00:00Z", "outside business hours"},
		"over a summer change": {&pb.Ladder{BusinessHours: []*pb.Hours{berlin()}}, "2026-03-28T10:00:00Z", "2026-03-30T07:00:00Z", "outside business hours"},
		"frozen":               {&pb.Ladder{Freeze: freeze("2026-03-06T00:00:00Z", "2026-03-06T12:00:00Z")}, "2026-03-06T00:00:00Z", "2026-03-06T12:00:00Z", "frozen until 2026-03-06T12:00:00Z (close)"},
		"end of a freeze is outside hours": {&pb.Ladder{BusinessHours: []*pb.Hours{berlin()}, Freeze: freeze("2026-03-06T08:00:00Z", "2026-03-06T20:00:00Z")},
			"2026-03-06T10:00:00Z", "2026-03-09T08:00:00Z", "frozen"},
		"hours never meet": {&pb.Ladder{BusinessHours: []*pb.Hours{berlin(), {Zone: "UTC", Days: []uint32{0}, FromMinute: 0, ToMinute: 60}}},
			"2026-03-06T10:00:00Z", "", "no moment within a year"},
		"zone is not known": {&pb.Ladder{BusinessHours: []*pb.Hours{{Zone: "Nowhere", Days: []uint32{1}, ToMinute: 60}}}, "2026-03-06T10:00:00Z", "", "can not be told"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := (&Ladder{}).allowed(at(c.at), &pb.Decision{Ladder: c.l})
			want := time.Time{}
			if c.want != "" {
				want = at(c.want)
			}
			if !got.Equal(want) || !strings.Contains(why, c.why) || c.why == "" && why != "" {
				t.Errorf("%s, %q", got.UTC().Format(time.RFC3339), why)
			}
		})
	}
}

// The bubble's clock begins on a Saturday at midnight UTC.
func TestADeadlineIsMovedLaterIntoBusinessHoursAndSaid(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		d := with(func(d *pb.Decision) { d.Ladder.BusinessHours = []*pb.Hours{berlin()} })
		w.run(time.Minute, d)
		s := w.now()
		opens := time.Date(2000, 1, 3, 8, 0, 0, 0, time.UTC)
		if !s.RevokeAt.AsTime().Equal(opens) || !strings.Contains(s.Moved, "outside business hours") {
			t.Fatalf("%v", s)
		}
		if m := w.owner.got[0]; !m.RevokeAt.Equal(opens) || !strings.Contains(m.Text, "The time was moved from 2000-01-01T01:00:00Z to 2000-01-03T08:00:00Z") {
			t.Errorf("told %s", m.Text)
		}
		w.run(time.Until(opens)-time.Second, d)
		if w.issuer.Revoked(cred) != 0 {
			t.Fatal("revoked outside business hours")
		}
		w.run(2*time.Minute, d)
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestAFreezeThatCameLaterMovesTheAnnouncedTimeAndTellsTheOwner(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.run(30*time.Minute, violating())
		until := time.Now().Add(5 * time.Hour).Truncate(time.Second)
		frozen := with(func(d *pb.Decision) {
			d.Ladder.Freeze = []*pb.Freeze{{From: stamp(time.Now().Add(-time.Minute)), Until: stamp(until), Reason: "launch"}}
		})
		w.owner.fail = errors.New("503")
		w.run(5*time.Minute, frozen)
		w.owner.fail = nil
		w.run(5*time.Minute, frozen)
		s := w.now()
		if !s.RevokeAt.AsTime().Equal(until) || !s.Announced.AsTime().Equal(until) || w.owner.kinds()[len(w.owner.got)-1] != notify.Moved {
			t.Fatalf("%v\n%v", w.owner.kinds(), s)
		}
		w.run(4*time.Hour, violating()) // the freeze is taken back: what was announced stays
		if w.issuer.Revoked(cred) != 0 {
			t.Fatal("revoked earlier than announced")
		}
		w.run(2*time.Hour, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestWhatWasHeldIntoAFreezeWaitsForItsEnd(t *testing.T) {
	start := time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)
	cfg := Config{Freeze: []Freeze{{From: start.Format(time.RFC3339), Until: start.Add(6 * time.Hour).Format(time.RFC3339), Reason: "launch"}}}
	inWorld(t, cfg, func(w *world) {
		w.set("kill_switch", "on", pb.Control_KILL_SWITCH)
		w.run(150*time.Minute, violating()) // due at one o'clock, held, and now it is half past two
		w.set("kill_switch", "off", pb.Control_KILL_SWITCH)
		w.run(5*time.Hour, violating())
		if s := w.now(); w.issuer.Revoked(cred) != 0 || !s.RevokeAt.AsTime().Equal(start.Add(6*time.Hour)) {
			t.Fatalf("%v", s)
		}
		w.run(2*time.Hour, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestTheEscalationPathIsTakenStepByStepWhileNothingHappens(t *testing.T) {
	steps := []*pb.EscalationStep{{Channel: "team", AfterMs: (20 * time.Minute).Milliseconds()}, {Channel: "nowhere"},
		{Channel: "oncall", AfterMs: (2 * time.Hour).Milliseconds()}}
	inWorld(t, Config{}, func(w *world) {
		team := &inbox{}
		w.e.lines["team"] = &line{Channel: team, name: "team"}
		d := with(func(d *pb.Decision) { d.Ladder.Escalation, d.Ladder.GraceMs = steps, (24 * time.Hour).Milliseconds() })
		w.run(19*time.Minute, d)
		if len(team.got) != 0 {
			t.Fatal("told too early")
		}
		team.fail = errors.New("503")
		w.run(10*time.Minute, d)
		team.fail = nil
		w.run(10*time.Minute, d)
		if len(team.got) != 1 || len(w.oncall.got) != 0 {
			t.Fatalf("team %v, on-call %v", team.kinds(), w.oncall.kinds())
		}
		w.run(10*time.Hour, d)
		if len(team.got) != 1 || len(w.oncall.got) != 1 || !slices.Equal(w.now().PathTold, []string{"team", "oncall"}) {
			t.Errorf("team %v, on-call %v: %v", team.kinds(), w.oncall.kinds(), w.now())
		}
	})
	inWorld(t, Config{}, func(w *world) {
		d := with(func(d *pb.Decision) { d.Ladder.Escalation = steps })
		w.run(30*time.Minute, d)
		w.run(10*time.Hour, resolved())
		if len(w.oncall.got) != 0 {
			t.Error("told although it was mended")
		}
	})
}

func TestTwoDifferentPeopleHaveToApprove(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		d := with(func(d *pb.Decision) { d.Ladder.Approvals = &pb.Approvals{Revoke: 2, Narrow: 1} })
		w.run(62*time.Minute, d)
		if s := w.now(); !strings.HasPrefix(s.Waiting, "approval: waiting for two people") {
			t.Fatalf("%v", s)
		}
		w.approve("revoke", "alice")
		w.approve("revoke", " Alice")
		w.put("approve/"+w.now().LadderId, &pb.Control{Setting: pb.Control_APPROVE, SetBy: "ALICE", Value: w.now().LadderId})
		w.approve("finish", "bob")
		w.put("approve/"+w.now().LadderId+"/revoke/", &pb.Control{Setting: pb.Control_APPROVE, Value: w.now().LadderId}) // nobody
		w.run(time.Hour, d)
		if s := w.now(); w.issuer.Revoked(cred) != 0 || !strings.HasPrefix(s.Waiting, "approval: alice approved ladder") {
			t.Fatalf("%v", s)
		}
		w.approve("revoke", "bob")
		w.run(2*time.Minute, d)
		if s := w.now(); w.issuer.Revoked(cred) != 1 || s.State != revokedState || !strings.HasPrefix(s.Waiting, "approval: waiting for somebody to approve the act narrow") {
			t.Fatalf("%v", s)
		}
		w.approve("narrow", "carol")
		w.run(2*time.Minute, d)
		if s := w.now(); s.State != reissued {
			t.Errorf("%v", s)
		}
		for _, s := range w.journal {
			if s.State == revokeIntended && !slices.Equal(s.ApprovedBy, []string{"alice", "bob"}) {
				t.Errorf("the intent names %v", s.ApprovedBy)
			}
		}
	})
}

func TestCollateralIsToldBeforehandAndNeedsApproval(t *testing.T) {
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.hits = []target.Hit{{Key: "fake/default/token/child"}, {Key: "fake/default/token/b", Text: "session of the same role, since noon"}, {Text: "a lease without a name"}}
		d := with(func(d *pb.Decision) {
			d.Subject.Children = []string{"fake/default/token/child"}
			d.Subject.ChildrenTotal = 1
		})
		w.run(time.Minute, d)
		if c := w.now().Collateral; c.GetCount() != 3 || c.Others != 2 || len(c.Hits) != 3 {
			t.Fatalf("%v", w.now())
		}
		if text := w.owner.got[0].Text; !strings.Contains(text, "It also hits 3 others") || !strings.Contains(text, "session of the same role") {
			t.Errorf("told %s", text)
		}
		w.run(62*time.Minute, d)
		if s := w.now(); s.State != held || !strings.HasPrefix(s.Waiting, "collateral: it hits 2 others besides its children, 0 are allowed") {
			t.Fatalf("%v", s)
		}
		w.approve("revoke", "bob")
		f.hits = append(f.hits, target.Hit{Text: "one more"}) // than bob was shown
		w.run(10*time.Minute, d)
		if w.issuer.Revoked(cred) != 0 {
			t.Fatal("revoked although more is hit than was approved")
		}
		time.Sleep(time.Second)
		w.approve("revoke", "bob")
		w.run(2*time.Minute, d)
		if s := w.now(); w.issuer.Revoked(cred) != 1 || s.Collateral.Others != 3 {
			t.Errorf("%v", s)
		}
	})
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.hits = []target.Hit{{Text: "a"}, {Text: "b"}}
		w.run(63*time.Minute, with(func(d *pb.Decision) { d.Ladder.MaxCollateral = proto.Uint32(2) }))
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("as many as the policy allows: %v", w.now())
		}
	})
	inFullWorld(t, Config{}, func(w *world, f *full) {
		f.hitsErr = errors.New("throttled")
		w.run(90*time.Minute, violating())
		if s := w.now(); s.State != held || !strings.HasPrefix(s.Waiting, "collateral: unknown: throttled") || w.issuer.Revoked(cred) != 0 {
			t.Errorf("%v", s)
		}
		if !strings.Contains(w.owner.got[0].Text, "could not be found out: throttled") {
			t.Errorf("told %s", w.owner.got[0].Text)
		}
		f.hitsErr = nil
		w.run(2*time.Minute, violating())
		if w.issuer.Revoked(cred) != 1 {
			t.Errorf("%v", w.now())
		}
	})
}

func TestBudgetsOfTargetAndOwnerStopAndOneCommandResumes(t *testing.T) {
	for name, c := range map[string]struct {
		budgets Budgets
		text    string
	}{
		"target": {Budgets{Target: map[string]string{"fake/default": "2/h 100%"}}, "budget: 2 of 2 this hour for target fake/default"},
		"owner":  {Budgets{Owner: "2/h"}, "budget: 2 of 2 this hour for owner data"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{Budgets: c.budgets, LiveCredentials: 100}, func(w *world) {
				var all []*pb.Decision
				for _, id := range []string{"a1", "a2", "a3", "a4", "a5"} {
					key := "fake/default/token/" + id
					w.issuer.Add(key)
					all = append(all, with(func(d *pb.Decision) {
						d.Credential = key
						if id == "a5" && name == "owner" {
							d.Subject.Owner = &pb.Owner{Id: "ops", Channels: []string{"owner"}}
						}
					}))
				}
				count := func() (n int) {
					for _, d := range all {
						n += w.issuer.Revoked(d.Credential)
					}
					return n
				}
				free := 0
				if name == "owner" {
					free = 1 // another owner's has a budget of its own
				}
				w.run(70*time.Minute, all...)
				if count() != 2+free {
					t.Fatalf("%d revoked", count())
				}
				waiting := 0
				for _, d := range all {
					if s := w.newest(d.Credential); s.State == held && strings.HasPrefix(s.Waiting, c.text) {
						waiting++
					}
				}
				if waiting != 3-free {
					t.Errorf("%d wait by name: %q", waiting, w.newest(all[3].Credential).Waiting)
				}
				w.restart()
				w.run(5*time.Minute, all...)
				if count() != 2+free {
					t.Fatalf("a restart refilled it: %d revoked", count())
				}
				w.put("resume", &pb.Control{Setting: pb.Control_RESUME, SetBy: "operator", SetAt: stamp(time.Now().Add(time.Hour))})
				w.run(2*time.Minute, all...)
				if count() != 2+free {
					t.Fatal("a resumption dated in the future resumed")
				}
				w.put("resume", &pb.Control{Setting: pb.Control_RESUME, SetBy: "operator", SetAt: stamp(time.Now())})
				w.run(2*time.Minute, all...)
				if count() != 4+free && count() != 5 {
					t.Errorf("%d revoked after it was resumed", count())
				}
				if name == "target" && count() != 4 {
					t.Errorf("the budget does not stop again: %d", count())
				}
			})
		})
	}
}
