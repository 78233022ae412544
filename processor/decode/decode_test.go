package decode

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// some gives an event with about half of its fields set.
func some(rng *rand.Rand) *pb.Event {
	ev := &pb.Event{}
	m := ev.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if rng.IntN(2) == 0 || fd.IsMap() || fd.Message() != nil || fd.IsList() || fd.Kind().String() != "string" {
			continue
		}
		m.Set(fd, protoreflect.ValueOfString(fmt.Sprintf("%s-%d", fd.Name(), rng.IntN(100))))
	}
	when := func() *timestamppb.Timestamp {
		if rng.IntN(4) == 0 {
			return nil
		}
		return &timestamppb.Timestamp{Seconds: rng.Int64N(1 << 40), Nanos: rng.Int32N(3) - 1}
	}
	for i := range rng.IntN(20) {
		ev.Id = append(ev.Id, byte(i))
	}
	ev.Kind, ev.Outcome, ev.Index = pb.Event_Kind(rng.Int32N(12)-1), pb.Outcome(rng.Int32N(3)), rng.Uint32()
	ev.Flag, ev.Orphan, ev.OccurredAt, ev.ObservedAt = pb.Event_Flag(rng.Int32N(3)), rng.IntN(2) == 0, when(), when()
	if rng.IntN(2) == 0 {
		ev.Lifetime = &pb.Lifetime{IssuedAt: when(), ExpiresAt: when(), NeverExpires: rng.IntN(2) == 0, PeriodSeconds: rng.Int64() - 1<<62,
			MaxTtlSeconds: rng.Int64N(3), Renewable: rng.IntN(2) == 0}
	}
	for range rng.IntN(4) {
		ev.Policies, ev.GrantedBy = append(ev.Policies, fmt.Sprint("p", rng.IntN(5))), append(ev.GrantedBy, fmt.Sprint("p", rng.IntN(3)))
	}
	if n := rng.IntN(12); n > 0 {
		ev.Labels = map[string]string{}
		for range n {
			ev.Labels[fmt.Sprint("l", rng.IntN(12)-1)] = fmt.Sprint("v", rng.IntN(3))
		}
	}
	return ev
}

// same holds Read against UnmarshalVT.
func same(t *testing.T, events *Events, message []byte) {
	t.Helper()
	want := &pb.Event{}
	failed := want.UnmarshalVT(message)
	got, err := events.Read(message)
	if fmt.Sprint(err) != fmt.Sprint(failed) {
		t.Fatalf("%x: error %v, want %v", message, err, failed)
	}
	if err == nil && (!proto.Equal(got, want) || len(got.Id) != len(want.Id)) {
		t.Fatalf("%x:\nread  %v\nwant  %v", message, got, want)
	}
}

func TestEventsAreReadAsTheyWereWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var events Events
	for range 3000 {
		if rng.IntN(100) == 0 {
			events.Reset()
		}
		message, err := some(rng).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		same(t, &events, message)
	}
	if len(events.labels) == 0 || len(events.lists) == 0 {
		t.Error("nothing was shared")
	}
}

func TestWhatIsNoEventIsReadAsUnmarshalDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var events Events
	for range 30_000 {
		message, _ := some(rng).MarshalVT()
		switch more, _ := some(rng).MarshalVT(); rng.IntN(5) {
		case 0:
			message = message[:rng.IntN(len(message)+1)]
		case 1:
			message = append(message, more...) // one merged into the other
		case 2:
			message = append(message, 0xf2, 0x7f, 2, 'x', 'y') // a field that nobody knows
		default:
			for range 1 + rng.IntN(3) {
				if len(message) > 0 {
					message[rng.IntN(len(message))] = byte(rng.Uint32())
				}
			}
		}
		same(t, &events, message)
	}
}

func TestLabelsAndListsOutliveTheMessage(t *testing.T) {
	ev := &pb.Event{Labels: map[string]string{"role": "ingest"}, Policies: []string{"default", "ingest"}, GrantedBy: []string{"ingest"}}
	message, _ := ev.MarshalVT()
	again, _ := ev.MarshalVT()
	var events Events
	got, _ := events.Read(message)
	labels, policies, granted := got.Labels, got.Policies, got.GrantedBy
	clear(message)
	events.Reset()
	if got, _ = events.Read(again); fmt.Sprint(labels, policies, granted) != fmt.Sprint(got.Labels, got.Policies, got.GrantedBy) ||
		fmt.Sprint(labels, policies, granted) != "map[role:ingest] [default ingest] [ingest]" {
		t.Errorf("%v %v %v", labels, policies, granted)
	}
}

func TestLabelsThatNeverRepeatDoNotPileUp(t *testing.T) {
	var events Events
	for i := range 3 * maxShared {
		message, _ := (&pb.Event{Labels: map[string]string{"call": fmt.Sprint(i)}, Policies: []string{fmt.Sprint(i)}}).MarshalVT()
		events.Reset()
		if _, err := events.Read(message); err != nil {
			t.Fatal(err)
		}
	}
	if len(events.labels) > maxShared || len(events.lists) > maxShared || len(events.chunks) != 1 {
		t.Errorf("%d labels, %d lists, %d chunks are held", len(events.labels), len(events.lists), len(events.chunks))
	}
}

func TestWhatIsDoneWithIsLetGo(t *testing.T) {
	var events Events
	message, _ := (&pb.Event{Id: []byte("1"), Credential: "a", Labels: map[string]string{"a": "b"}}).MarshalVT()
	for range 3 * chunk {
		if _, err := events.Read(message); err != nil {
			t.Fatal(err)
		}
	}
	events.Reset()
	for _, slots := range events.chunks {
		for i := range slots {
			if ev := &slots[i].event; ev.Id != nil || ev.Credential != "" || ev.Labels != nil {
				t.Fatalf("event %d still holds %v", i, ev)
			}
		}
	}
	if got := len(events.chunks); got != 3 {
		t.Errorf("%d chunks are kept for the next batch, want 3", got)
	}
	if events.Reset(); len(events.chunks) != 1 {
		t.Errorf("%d chunks are kept of an empty batch, want 1", len(events.chunks))
	}
}

func BenchmarkRead(b *testing.B) {
	at := &timestamppb.Timestamp{Seconds: 1767600000, Nanos: 54000000}
	message, _ := (&pb.Event{Id: make([]byte, 16), Kind: pb.Event_USED, Credential: "vault/bench/token/hmac-sha256:43579792d548bc21f7941435ad27ccb94197c657f4ced19640dac16c77f5716c",
		Principal: "vault/bench/entity/3451e40a-9efa-efba-5ad9-0b51577ff382", OccurredAt: at, ObservedAt: at, Source: "vault", Instance: "bench", Action: "read",
		Permission: "read secret/data/team-34/inputs/item-3", Resource: "secret/data/team-34/inputs/item-3", RecordId: "2298ea64-e67c-a695-4ae5-83ce2ed6b0fb",
		Position: "/var/log/vault/audit.log:9000", Lifetime: &pb.Lifetime{IssuedAt: at, ExpiresAt: at}, RemoteAddress: "10.133.225.7",
		Policies:  []string{"agent-baseline", "agent-role-34-read", "agent-role-34-write", "default", "observability-metrics-push", "pki-workload-issue"},
		Labels:    map[string]string{"display_name": "kubernetes-agents-agent-role-34", "mount_point": "secret/", "mount_type": "kv", "role_name": "agent-role-34"},
		GrantedBy: []string{"agent-role-34-read", "agent-baseline"}}).MarshalVT()
	b.Run("read", func(b *testing.B) {
		var events Events
		b.ReportAllocs()
		for b.Loop() {
			events.Reset()
			if _, err := events.Read(message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := (&pb.Event{}).UnmarshalVT(message); err != nil {
				b.Fatal(err)
			}
		}
	})
}
