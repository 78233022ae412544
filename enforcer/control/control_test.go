package control

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// topic applies what is published, as the enforcer does.
type topic struct{ State }

func (s *topic) Publish(_ context.Context, msgs ...stream.Message) error {
	for _, m := range msgs {
		if err := s.Apply(m); err != nil {
			return err
		}
	}
	return nil
}

func TestWhatIsSetIsInForce(t *testing.T) {
	s, who, now := &topic{}, Who{Name: "operator", Reason: "drill"}, time.Now()
	if n := s.Now(); n.Mode != nil || n.Budget != nil || n.Kill != nil {
		t.Fatalf("%+v", n)
	}
	for _, err := range []error{
		SetMode(t.Context(), s, "enforce", who, now), SetBudget(t.Context(), s, "7/h 2.5%", who, now), SetKillSwitch(t.Context(), s, true, who, now),
		ApproveLadder(t.Context(), s, "l1", who, now), Rollback(t.Context(), s, "l2", who, now),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n := s.Now()
	if *n.Mode != pb.Ladder_ENFORCE || *n.Budget != (Budget{7, 0.025}) || n.Kill.GetSetBy() != "operator" {
		t.Errorf("%+v", n)
	}
	if len(s.Approvals("l1", Revoke)) != 1 || s.Approvals("l1", Revoke)[0].By != "operator" || s.Approvals("l2", Revoke) != nil || s.State.Rollback("l2") == nil || s.State.Rollback("l1") != nil {
		t.Error("approval and rollback are not apart")
	}
	if err := SetKillSwitch(t.Context(), s, false, who, now); err != nil || s.Now().Kill != nil {
		t.Errorf("%v", err)
	}
}

func TestBadValuesAreNotWritten(t *testing.T) {
	s, who, now := &topic{}, Who{Name: "operator"}, time.Now()
	for name, err := range map[string]error{
		"mode":    SetMode(t.Context(), s, "block", who, now),
		"budget":  SetBudget(t.Context(), s, "many", who, now),
		"nobody":  SetMode(t.Context(), s, "observe", Who{Name: " "}, now),
		"no id":   Rollback(t.Context(), s, "", who, now),
		"nothing": SetBudget(t.Context(), s, "", who, now),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.Now(); n.Mode != nil || n.Budget != nil {
		t.Errorf("%+v", n)
	}
}

func TestRecordsThatCanNotBeReadCountAsTheStrictest(t *testing.T) {
	var s State
	for _, key := range []string{"kill_switch", "mode", "budget"} {
		if err := s.Apply(stream.Message{Key: []byte(key), Value: []byte("\xff\xff")}); err == nil {
			t.Errorf("%s: no error", key)
		}
	}
	n := s.Now()
	if n.Kill == nil || n.Mode == nil || *n.Mode != pb.Ladder_OBSERVE || n.Budget == nil || n.Budget.Allows(1000) != 0 {
		t.Errorf("%+v", n)
	}
	if err := s.Apply(stream.Message{Key: []byte("volume"), Value: nil}); err == nil {
		t.Error("an unknown setting is no error")
	}
}

func TestBudgets(t *testing.T) {
	for text, want := range map[string]struct{ live, allows int }{
		"20/h 5%": {1000, 20}, "20/h 5% ": {100, 5}, "20/h 5%  ": {10, 1}, "0/h 5%": {1000, 0}, "20/h 0%": {1000, 0}, "5/h 100%": {3, 3},
	} {
		b, err := ParseBudget(text)
		if err != nil || b.Allows(want.live) != want.allows {
			t.Errorf("%q of %d: %d, %v", text, want.live, b.Allows(want.live), err)
		}
		if again, err := ParseBudget(b.String()); err != nil || again != b {
			t.Errorf("%q reads back as %v, %v", b, again, err)
		}
	}
	for _, bad := range []string{"20", "20/h", "20/h 5", "20/d 5%", "-1/h 5%", "20/h -5%", "20/h 101%", "20/h NaN%", "20/h 5% 1"} {
		if _, err := ParseBudget(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
