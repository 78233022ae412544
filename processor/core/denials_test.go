package core

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/processor/lifecycle"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func (w *world) deny(name, permission string, after time.Duration) {
	w.event(pb.Event_DENIED, name, after, func(ev *pb.Event) { ev.Permission = permission })
}

func TestWhatACredentialIsDeniedIsToldAtOnceAndThenOnceAHeartbeat(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	w.use("a", "read secret/a", time.Minute)
	if got := w.settle(2 * time.Minute); len(got) != 0 {
		t.Fatalf("decided of a well one: %v", got)
	}
	w.deny("a", "read secret/b", 3*time.Minute)
	got := w.settle(3 * time.Minute)
	want := []*pb.Denial{{Permission: "read secret/b", Count: 1, FirstAt: at(3 * time.Minute), LastAt: at(3 * time.Minute)}}
	if len(got) != 1 || len(got[0].Violations) != 0 || !same(got[0].Denials, want) || got[0].Subject.GetState() != "active" {
		t.Fatalf("%v", got)
	}
	told := proto.CloneOf(got[0])
	for second := range 30 {
		w.deny("a", "read secret/b", 3*time.Minute+time.Duration(second)*time.Second)
		if got := w.settle(3*time.Minute + time.Duration(second)*time.Second); len(got) != 0 {
			t.Fatalf("a storm of decisions: %v", got)
		}
	}
	next := w.core.Next()
	if wait := time.Duration(next - start.Add(3*time.Minute).UnixNano()); wait > 62*time.Second {
		t.Fatalf("the rest is told after %s", wait)
	}
	got = w.settle(time.Duration(next - start.UnixNano()))
	if len(got) != 1 || len(got[0].Denials) != 1 || got[0].Denials[0].Count != 31 {
		t.Fatalf("the rest is not told: %v", got)
	}
	if got := w.settle(30 * time.Minute); len(got) != 0 {
		t.Fatalf("told twice: %v", got)
	}
	// A restart that finds the state from before the decisions, and the first decision.
	blob, err := w.core.Entry(key("a")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		said *pb.Decision
		want int
	}{{told, 1}, {got[0], 0}} {
		again := newWorld(t, agePolicy, "")
		again.core.Rules(w.core.rules)
		cred, err := lifecycle.Load(key("a"), blob)
		if err != nil {
			t.Fatal(err)
		}
		again.core.Load(cred)
		again.core.Entry(key("a")).Decided.At, again.core.Entry(key("a")).Decided.Revision = 0, ""
		again.core.Published(c.said)
		if got := again.settle(30 * time.Minute); len(got) != c.want {
			t.Errorf("after a restart: %v", got)
		}
	}
}

func TestWhatACredentialWasDeniedIsToldAfterItsEndToo(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 30*time.Minute)
	w.deny("a", "read secret/b", 3*time.Minute)
	w.deny("a", "read secret/c", 4*time.Minute)
	got := w.settle(time.Hour)
	if len(got) != 1 || len(got[0].Denials) != 2 || got[0].Subject.GetState() != "expired" {
		t.Fatalf("%v", got)
	}
	if got := w.settle(2 * time.Hour); len(got) != 0 {
		t.Errorf("told twice: %v", got)
	}
	w.deny("a", "read secret/b", 5*time.Minute) // its record came late
	if got := w.settle(2*time.Hour + time.Minute); len(got) != 1 || got[0].Denials[0].Count != 2 {
		t.Errorf("%v", got)
	}
}

func TestARefusalAtATimeThatIsNotBelievedIsNotTold(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	w.event(pb.Event_DENIED, "a", time.Minute, func(ev *pb.Event) { ev.Permission, ev.Flag = "read secret/b", pb.Event_STALE })
	if got := w.settle(2 * time.Minute); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if e := w.core.Entry(key("a")); e.Denied != 1 || !slices.Equal(e.DeniedSamples(), []string{"read secret/b"}) {
		t.Errorf("%d, %v", e.Denied, e.DeniedSamples())
	}
}

func same(a, b []*pb.Denial) bool {
	return slices.EqualFunc(a, b, func(a, b *pb.Denial) bool { return proto.Equal(a, b) })
}
