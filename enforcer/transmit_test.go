package enforcer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// receivers are those who accept credentials; while they are away nothing is
// taken.
type receivers struct {
	mu   sync.Mutex
	away bool
	got  []ssf.Event
}

func (r *receivers) Transmit(_ context.Context, e ssf.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return fmt.Errorf("%w: api", ssf.ErrPending)
	}
	r.got = append(r.got, e)
	return nil
}

func (r *receivers) ids() []string {
	var list []string
	for _, e := range r.got {
		if !slices.Contains(list, e.ID+e.Credential) {
			list = append(list, e.ID+e.Credential)
		}
	}
	return list
}

func TestThoseWhoAcceptACredentialAreToldOnceItIsProvenGone(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		to := &receivers{}
		w.e.transmitter = to
		w.run(59*time.Minute, violating())
		if len(to.got) != 0 {
			t.Fatal("told before it was revoked")
		}
		w.run(2*time.Hour, violating())
		if s := w.now(); s.State != pb.LadderState_CLOSED || len(to.got) != 1 || to.got[0].ID != s.LadderId || to.got[0].Credential != cred {
			t.Errorf("%v, told %v", s, to.got)
		}
	})
}

func TestALadderStaysOpenUntilAllAreToldAlsoAfterARestart(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		to := &receivers{away: true}
		w.e.transmitter = to
		w.run(3*time.Hour, violating())
		if s := w.now(); s.State == pb.LadderState_CLOSED || !revoked(s) || s.Reissue.GetCredential() == "" {
			t.Fatalf("%v", s)
		}
		w.restart()
		w.e.transmitter = to
		w.run(time.Hour, violating())
		if s := w.now(); s.State == pb.LadderState_CLOSED {
			t.Fatalf("closed, and nobody was told: %v", s)
		}
		to.away = false
		w.run(10*time.Minute, violating())
		if s := w.now(); s.State != pb.LadderState_CLOSED || len(to.ids()) != 1 {
			t.Errorf("%v, told %v", s, to.got)
		}
		told := len(to.got)
		w.restart()
		w.e.transmitter = to
		w.run(time.Hour, violating())
		if len(to.got) != told {
			t.Error("a closed ladder is told again")
		}
	})
}

// unable is what an issuer answers that can end nothing.
func unable(act string) error {
	if act != "lookup" {
		return nil
	}
	return &target.Error{Kind: target.Impossible, Op: "find the token", Err: target.ErrIssuerCannot}
}

func TestWhatTheIssuerCanNotEndIsToldWhenEveryGuardIsSilent(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		to := &receivers{}
		w.e.transmitter = to
		w.issuer.Before = unable
		w.set("kill_switch", "on", pb.Control_KILL_SWITCH)
		w.run(3*time.Hour, violating())
		if len(to.got) != 0 {
			t.Fatalf("told under the kill switch: %v", to.got)
		}
		w.set("kill_switch", "off", pb.Control_KILL_SWITCH)
		w.run(30*time.Minute, violating())
		if s := w.now(); s.State != pb.LadderState_ESCALATED || len(to.got) != 1 || to.got[0].ID != s.LadderId {
			t.Errorf("%v, told %v", s, to.got)
		}
		if used := w.e.ledger.used(time.Now(), time.Now().Add(-budgetWindow), "", scope{}); used != 1 {
			t.Errorf("it took %d places of the budget", used)
		}
	})
}

func TestTellingTakesAPlaceOfTheBudget(t *testing.T) {
	inWorld(t, Config{Budget: "0/h 100%"}, func(w *world) {
		to := &receivers{}
		w.e.transmitter = to
		w.issuer.Before = unable
		w.run(3*time.Hour, violating())
		if len(to.got) != 0 {
			t.Errorf("told without budget: %v", to.got)
		}
	})
}

func TestAnIntentDoesNotOpenTheWayAroundTheKillSwitch(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		to := &receivers{}
		w.e.transmitter = to
		w.issuer.Before = func(act string) error {
			if act == "revoke" {
				return errors.New("no answer")
			}
			return nil
		}
		w.run(61*time.Minute, violating())
		if !intended(w.now()) {
			t.Fatalf("%v", w.now())
		}
		w.set("kill_switch", "on", pb.Control_KILL_SWITCH)
		w.issuer.Before = unable
		w.run(2*time.Hour, violating())
		if len(to.got) != 0 {
			t.Errorf("told under the kill switch: %v", to.got)
		}
	})
}
