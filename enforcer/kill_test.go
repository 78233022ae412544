package enforcer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The intent is stored, and in that moment somebody pulls the kill switch.
func TestTheKillSwitchHoldsAnActWhoseIntentIsStoredAlready(t *testing.T) {
	for intent, done := range map[pb.LadderState_State]func(w *world, f *full) int{
		revokeIntended: func(w *world, _ *full) int { return w.issuer.Revoked(cred) },
		reissueIntent: func(w *world, _ *full) (n int) {
			for _, k := range w.issuer.Reissues {
				n += k
			}
			return n
		},
		finishIntended: func(_ *world, f *full) int { return f.finished },
	} {
		t.Run(intent.String(), func(t *testing.T) {
			inFullWorld(t, Config{}, func(w *world, f *full) {
				f.finishAfter = time.Hour
				killed := false
				w.crash = func(s *pb.LadderState) bool {
					if s.State == intent && !killed {
						killed = true
						w.set("kill_switch", "on", pb.Control_KILL_SWITCH)
					}
					return false
				}
				w.run(5*time.Hour, violating())
				if !killed || done(w, f) != 0 {
					t.Fatalf("done %d times: %v", done(w, f), w.now())
				}
				w.set("kill_switch", "off", pb.Control_KILL_SWITCH)
				w.run(3*time.Hour, violating())
				if done(w, f) != 1 || w.now().State != closed {
					t.Errorf("done %d times afterwards: %v", done(w, f), w.now())
				}
			})
		})
	}
}

// pulled is how long it took from the command until two enforcers that are
// busy revoking had both read it, and what they started later than that.
func pulled(t testing.TB, s *site, round int) (took time.Duration, late int64) {
	var es []*Enforcer
	f := &targettest.Fake{}
	var all, begun atomic.Int64
	for n := range 2 {
		cfg := fastConfig()
		cfg.Budget, cfg.Writer, cfg.LiveCredentials = "1000/h 100%", fmt.Sprintf("e%d", n), 10000
		e, stop := s.begin(cfg, map[string]Target{"fake/default": &watched{Fake: f, begun: func() {
			begun.Add(1)
			if es[n].control.Now().Kill != nil {
				all.Add(1)
			}
		}}})
		es = append(es, e)
		defer stop()
	}
	for i := range 100 {
		key := fmt.Sprintf("fake/default/token/r%dc%d", round, i)
		f.Add(key)
		d := scaled(key)
		d.Ladder.GraceMs, d.Ladder.RemindMs = int64(200+20*i), nil
		s.say(d)
	}
	for deadline := time.Now().Add(30 * time.Second); begun.Load() < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is revoked within half a minute")
		}
	}
	at := time.Now()
	if err := control.SetKillSwitch(t.Context(), s.c, true, control.Who{Name: "operator", Reason: "drill"}, at); err != nil {
		t.Fatal(err)
	}
	for es[0].control.Now().Kill == nil || es[1].control.Now().Kill == nil {
		if time.Since(at) > 30*time.Second {
			t.Fatal("the record has not arrived within half a minute")
		}
		time.Sleep(time.Millisecond)
	}
	took = time.Since(at)
	last := scaled(fmt.Sprintf("fake/default/token/r%dc99", round))
	last.Ladder.GraceMs, last.Ladder.RemindMs = int64(200+20*99), nil
	s.until(last, held) // by now all others have come due, too
	return took, all.Load()
}

func TestTheKillSwitchReachesTwoBusyEnforcersAndNothingStartsAfterIt(t *testing.T) {
	took, late := pulled(t, newSite(t), 0)
	t.Logf("both had read it %s after the command", took.Round(time.Millisecond))
	// Each worker may just have looked for the last time; more than one act of
	// each would be one that began later.
	if late > 2 {
		t.Errorf("%d acts started after the record was read", late)
	}
}

func BenchmarkTheKillSwitchReachesTwoEnforcers(b *testing.B) {
	var sum time.Duration
	for i := range b.N {
		b.StopTimer()
		took, _ := pulled(b, newSite(b), i)
		sum += took
		b.StartTimer()
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/both")
}

// watched is the fake with a look at the beginning of each revocation.
type watched struct {
	*targettest.Fake
	begun func()
}

func (w *watched) Revoke(ctx context.Context, c target.Credential) error {
	w.begun()
	return w.Fake.Revoke(ctx, c)
}
