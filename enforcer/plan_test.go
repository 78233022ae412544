package enforcer

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func (s *site) plan(cfg Config, targets map[string]Target) Plan {
	s.t.Helper()
	e, err := New(cfg, Deps{Stream: s.c, Env: daemon.NewEnv("plan", slog.New(slog.DiscardHandler)), Targets: targets,
		Notify: map[string]Channel{"owner": &inbox{}, "oncall": &inbox{}}})
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := e.Plan(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// write puts an entry into the journal as an enforcer would.
func (s *site) write(e *pb.LadderState) {
	s.t.Helper()
	raw, err := e.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.c.Publish(s.t.Context(), stream.Message{Topic: schemas.TopicEnforcement, Key: []byte(e.Credential), Value: raw}); err != nil {
		s.t.Fatal(err)
	}
}

func TestThePlanSaysWhatWouldBeDoneWhenAndWhatRefuses(t *testing.T) {
	s := newSite(t)
	f := &full{Fake: &targettest.Fake{}, hits: []target.Hit{{Key: "fake/default/token/x", Text: "session of the same role"}}, finishAfter: 72 * time.Hour}
	now := time.Now().UTC().Truncate(time.Second)
	notifiedAt := now.Add(-time.Hour)
	add := func(id string, state pb.LadderState_State, change func(e *pb.LadderState)) {
		key := "fake/default/token/" + id
		d := with(func(d *pb.Decision) { d.Credential = key })
		s.say(d)
		e := &pb.LadderState{Credential: key, LadderId: newLadderID(key, notifiedAt), Step: 3, State: state, At: stamp(notifiedAt), Decision: d, NotifiedAt: stamp(notifiedAt),
			Told: []string{"owner"}, RevokeAt: stamp(now.Add(time.Hour)), Writer: "w"}
		f.Add(key)
		if change != nil {
			change(e)
		}
		s.write(e)
	}
	add("soon", notified, nil)
	add("gone", notified, nil)
	f.End("fake/default/token/gone")
	add("taken", reissued, func(e *pb.LadderState) {
		e.RevokedAt, e.IntendedAs, e.WorksUntil = stamp(now.Add(-time.Hour)), "id of it", stamp(now.Add(5*time.Hour))
	})
	add("over", closed, nil)
	add("missed", closed, func(e *pb.LadderState) {
		undo(e.Decision)
		e.ReissuedAt, e.Reissue = stamp(now), &pb.Reissue{PolicyName: "leastwise-fake"}
		e.Correction = &pb.Correction{Denials: []*pb.Denial{{Permission: wanted, Count: 3}}}
	})
	if err := control.SetKillSwitch(t.Context(), s.c, true, control.Who{Name: "operator", Reason: "drill"}, now); err != nil {
		t.Fatal(err)
	}
	before := f.Alive()
	p := s.plan(fastConfig(), map[string]Target{"fake/default": f})
	if p.Killed != "operator" || p.Mode != "enforce" || len(p.Ladders) != 4 {
		t.Fatalf("%+v", p)
	}
	by := map[string]PlannedStep{}
	for _, l := range p.Ladders {
		by[strings.TrimPrefix(l.Credential, "fake/default/token/")] = l
	}
	soon := by["soon"]
	guards := map[string]bool{}
	for _, r := range soon.Refused {
		guards[r.Guard] = true
	}
	if soon.Act != "revoke" || !soon.At.Equal(now.Add(time.Hour)) || soon.Sighting != "alive" || soon.Collateral.Others != 1 || soon.BudgetLeft != 4 ||
		!guards["kill_switch"] || !guards["collateral"] || len(guards) != 2 || !strings.Contains(soon.GivenBack, "with 1 permission,") {
		t.Errorf("%+v", soon)
	}
	if by["gone"].Act != "close: it is gone at the issuer" {
		t.Errorf("%+v", by["gone"])
	}
	if taken := by["taken"]; !strings.HasPrefix(taken.Act, "second step") || !taken.At.Equal(now.Add(71*time.Hour)) || taken.ExposedUntil == nil || taken.Refused[0].Guard != "kill_switch" {
		t.Errorf("%+v", taken)
	}
	if missed := by["missed"]; missed.Act != "put the former scope back: the narrower scope denied "+wanted+" (3 times)" || missed.Refused[0].Guard != "kill_switch" {
		t.Errorf("%+v", missed)
	}
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"The kill switch is on (operator)", "refused by   collateral: it hits 1 others", "exposed until", "session of the same role", "Nothing was changed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
	// Nothing was changed, anywhere.
	if after := f.Alive(); len(after) != len(before) || f.finished+f.restored+f.Rolled != 0 || len(s.journal("fake/default/token/soon")) != 1 {
		t.Errorf("alive before %v, after %v", before, after)
	}
}
