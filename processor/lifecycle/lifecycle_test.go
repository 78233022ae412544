package lifecycle

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const key = "vault/default/token/hmac-sha256:5b09e8e844eaa38e20496ce3b61d0dcbea849e67c6be0ce31e4593ba05ce6a59"

var start = time.Date(2026, 11, 21, 6, 12, 0, 0, time.UTC)

func at(seconds int) *timestamppb.Timestamp {
	return timestamppb.New(start.Add(time.Duration(seconds) * time.Second))
}

func nanosAt(seconds int) int64 { return nanos(at(seconds)) }

func event(kind pb.Event_Kind, seconds int) *pb.Event {
	return &pb.Event{Kind: kind, Credential: key, OccurredAt: at(seconds)}
}

// reported is what an agent logs of a call.
func reported(seconds int, outcome, instance string) *pb.Event {
	ev := event(pb.Event_NOTED, seconds)
	ev.Source, ev.Instance = "agentusage", instance
	ev.Labels = map[string]string{"reported_use": "true", "reported_outcome": outcome, "form": "json"}
	return ev
}

// history is the life of a busy token: issued, used, refused, renewed, observed, with children, revoked in some.
func history(rng *rand.Rand) []*pb.Event {
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(3600), Renewable: true}
	issued.Policies, issued.Labels = []string{"default", "ingest"}, map[string]string{"role_name": "ingest"}
	events := []*pb.Event{issued}
	for i := range 200 {
		ev := event(pb.Event_USED, 1+rng.IntN(5000))
		ev.Permission = fmt.Sprintf("update secret/data/folder-%d/part-%d", rng.IntN(600), rng.IntN(40))
		ev.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(3600)}
		if i%5 == 0 {
			ev.Kind, ev.Permission = pb.Event_DENIED, fmt.Sprintf("read sys/thing-%d", rng.IntN(50))
		}
		events = append(events, ev)
	}
	for i := range rng.IntN(60) {
		events = append(events, reported(1+rng.IntN(5000), []string{"success", "denied", "failure", "unknown"}[rng.IntN(4)], fmt.Sprint(i%12)))
	}
	for i := range 3 {
		renewed := event(pb.Event_RENEWED, 1000*(i+1))
		renewed.Lifetime = &pb.Lifetime{ExpiresAt: at(1000*(i+1) + 3600)}
		observed := event(pb.Event_OBSERVED, 900*(i+1))
		observed.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(1000*i + 3600)}
		observed.Policies = []string{"default", fmt.Sprintf("ingest-%d", i)}
		observed.Labels = map[string]string{"display_name": fmt.Sprintf("name-%d", i)}
		linked := event(pb.Event_LINKED, 500)
		linked.Child = fmt.Sprintf("vault/default/token/child-%d", rng.IntN(5))
		events = append(events, renewed, observed, linked)
	}
	if rng.IntN(2) == 0 {
		for _, how := range []string{HowParentExpired, HowParentRevoked, HowRevoked}[:1+rng.IntN(3)] {
			revoked := event(pb.Event_REVOKED, 4000+rng.IntN(100))
			revoked.Labels = map[string]string{"how": how}
			events = append(events, revoked)
		}
	}
	return events
}

func TestAnyOrderOfTheSameEventsGivesTheSameCredential(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		events := history(rng)
		apply := func() *Credential {
			c := New(key)
			for _, ev := range events {
				c.Apply(ev, true)
			}
			return c
		}
		want := apply()
		rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		got := apply()
		if !proto.Equal(want.Proto(), got.Proto()) {
			t.Fatalf("seed %d:\nin order %v\nshuffled %v", seed, want.Proto(), got.Proto())
		}
	}
}

func TestARestartInBetweenChangesNothing(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 6))
		events := history(rng)
		want, got := New(key), New(key)
		for _, ev := range events {
			want.Apply(ev, true)
			got.Apply(ev, true)
			if rng.IntN(10) == 0 {
				blob, err := got.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if got, err = Load(key, blob); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !proto.Equal(want.Proto(), got.Proto()) {
			t.Fatalf("seed %d: a restart changed the credential", seed)
		}
	}
}

func TestARepeatedEventAddsToNoCount(t *testing.T) {
	c := New(key)
	used := event(pb.Event_USED, 10)
	used.Permission = "read secret/data/a"
	denied := event(pb.Event_DENIED, 11)
	denied.Permission = "read sys/mounts"
	for i := range 3 {
		c.Apply(used, i == 0)
		c.Apply(denied, i == 0)
	}
	if c.Uses != 1 || c.Denied != 1 || c.Windows(nanosAt(20)).Hour != 1 || c.Refusals(nanosAt(20)).Hour != 1 || c.Used()[0].Count != 1 {
		t.Fatalf("uses %d, denied %d, windows %+v", c.Uses, c.Denied, c.Windows(nanosAt(20)))
	}
}

func TestADeniedCallIsNeverAUse(t *testing.T) {
	c := New(key)
	for i := range 7 {
		denied := event(pb.Event_DENIED, i)
		denied.Permission = fmt.Sprintf("read sys/%d", i%4)
		c.Apply(denied, true)
	}
	if c.Uses != 0 || len(c.Used()) != 0 || c.LastUsedAt != 0 || c.Denied != 7 || c.DeniedPermissions() != 4 {
		t.Fatalf("uses %d, used %v, denied %d of %d permissions", c.Uses, c.Used(), c.Denied, c.DeniedPermissions())
	}
}

func TestStateFollowsTheNewestWordOnExpiry(t *testing.T) {
	c := New(key)
	if c.State(nanosAt(0)) != Unknown {
		t.Fatal("nothing is known, yet the state is", c.State(nanosAt(0)))
	}
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(60)}
	renewed := event(pb.Event_RENEWED, 30)
	renewed.Lifetime = &pb.Lifetime{ExpiresAt: at(630)}
	used := event(pb.Event_USED, 40) // repeats what was frozen at issue
	used.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(60)}
	for _, ev := range []*pb.Event{renewed, issued, used} {
		c.Apply(ev, true)
	}
	if c.ExpiresAt != nanosAt(630) || c.State(nanosAt(629)) != Active || c.State(nanosAt(630)) != Expired {
		t.Fatalf("expires %s", Time(c.ExpiresAt))
	}
}

func TestAPresumedEndGivesWayToASignOfLife(t *testing.T) {
	c := New(key)
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{NeverExpires: true}
	gone := event(pb.Event_REVOKED, 100)
	gone.Labels = map[string]string{"how": HowParentExpired}
	c.Apply(issued, true)
	c.Apply(gone, true)
	if c.State(nanosAt(150)) != Revoked {
		t.Fatal("not revoked with its parent")
	}
	c.Apply(event(pb.Event_OBSERVED, 120), true)
	if c.State(nanosAt(150)) != Active {
		t.Fatal("the issuer's inventory lists it, yet it is taken for revoked")
	}
	c.Apply(event(pb.Event_REVOKED, 130), true)
	if c.State(nanosAt(150)) != Revoked {
		t.Fatal("revoked by itself, yet", c.State(nanosAt(150)))
	}
}

func TestAnUnleasedCertificateOutlivesItsToken(t *testing.T) {
	c := New("vault/default/certificate/44:8c")
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{ExpiresAt: at(3600)}
	issued.Labels = map[string]string{"ends_with_parent": "false"}
	gone := event(pb.Event_REVOKED, 100)
	gone.Labels = map[string]string{"how": HowParentRevoked}
	c.Apply(gone, true)
	c.Apply(issued, true)
	if c.State(nanosAt(200)) != Active {
		t.Fatal(c.State(nanosAt(200)))
	}
}

func TestMemoryOfPermissionsIsBounded(t *testing.T) {
	c := New(key)
	for i := range 20_000 {
		used := event(pb.Event_USED, i)
		used.Permission = fmt.Sprintf("read secret/data/%d/x", i)
		denied := event(pb.Event_DENIED, i)
		denied.Permission = fmt.Sprintf("read sys/%d", i)
		c.Apply(used, true)
		c.Apply(denied, true)
	}
	if len(c.Used()) > maxFolders || c.UsedComplete() || len(c.DeniedSamples()) > maxSamples {
		t.Fatalf("%d folders, complete %v, %d samples", len(c.Used()), c.UsedComplete(), len(c.DeniedSamples()))
	}
	if got := c.DeniedPermissions(); got < 18_000 || got > 22_000 {
		t.Fatalf("%d distinct refused permissions estimated, 20000 made", got)
	}
}

func TestAKeyThatIsSwitchedOnAgainIsActiveWhateverComesFirst(t *testing.T) {
	off := func(seconds int) *pb.Event {
		ev := event(pb.Event_REVOKED, seconds)
		ev.Labels = map[string]string{"how": HowDeactivated}
		return ev
	}
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{NeverExpires: true}
	on := event(pb.Event_OBSERVED, 200)
	for name, c := range map[string]struct {
		events []*pb.Event
		want   State
	}{
		"off":               {[]*pb.Event{issued, off(100)}, Revoked},
		"off, on":           {[]*pb.Event{off(100), issued, on}, Active},
		"on told first":     {[]*pb.Event{on, issued, off(100)}, Active},
		"off, on, off":      {[]*pb.Event{off(300), on, issued, off(100)}, Revoked},
		"off, on, deleted":  {[]*pb.Event{off(100), on, issued, event(pb.Event_REVOKED, 250)}, Revoked},
		"deleted while off": {[]*pb.Event{event(pb.Event_REVOKED, 250), on, off(100), issued}, Revoked},
	} {
		cred := New(key)
		for _, ev := range c.events {
			cred.Apply(ev, true)
		}
		if got := cred.State(nanosAt(400)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAKindThatHasNoExpiryIsKnownNotToExpireUntilARecordSaysOtherwise(t *testing.T) {
	used := event(pb.Event_USED, 100)
	used.Lifetime = &pb.Lifetime{NeverExpires: true}
	c := New(key)
	c.Apply(used, true)
	if c.State(nanosAt(200)) != Active || !c.NeverExpires() {
		t.Errorf("a used key of that kind is %s", c.State(nanosAt(200)))
	}
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(150)}
	for _, events := range [][]*pb.Event{{used, issued}, {issued, used}} {
		c := New(key)
		for _, ev := range events {
			c.Apply(ev, true)
		}
		if c.State(nanosAt(200)) != Expired || c.NeverExpires() {
			t.Errorf("issued with an end, and %s", c.State(nanosAt(200)))
		}
	}
}
