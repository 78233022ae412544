package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func (w *world) use(name, permission string, after time.Duration) {
	w.event(pb.Event_USED, name, after, func(ev *pb.Event) { ev.Permission = permission })
}

func TestWhatIsUsedLaterCounts(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.grants.Put(&pb.Grant{Id: "vault/default/policy/ingest", AsOf: at(0), Rules: []*pb.Rule{
		{Resource: "secret/a", Capabilities: []string{"read"}}, {Resource: "secret/b", Capabilities: []string{"read"}}}})
	w.issue("a", 0, 5*time.Hour)
	for n, path := range []string{"secret/a", "secret/b"} {
		w.use("a", "read "+path, time.Minute)
		w.settle(time.Duration(2+n) * time.Minute)
		if used, known := w.core.Entry(key("a")).UsedPermissions(); used != n+1 || !known {
			t.Errorf("%d permissions used (%v), want %d", used, known, n+1)
		}
	}
}

func TestTheEntryIsTheOneThatCounts(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	w.settle(time.Minute)
	w.core.Dirty()
	w.core.Entry(key("a"))
	w.core.Pack(start.Add(time.Hour).UnixNano())
	w.use("a", "read x", 2*time.Minute)
	w.core.Entries(func(e *Entry) {
		if e != w.core.Entry(key("a")) || e.Uses != 1 {
			t.Errorf("after it was packed: %d uses", e.Uses)
		}
	})
	loaded := lifecycle.New(key("a"))
	loaded.Uses = 7
	w.core.Load(loaded)
	if e := w.core.Entry(key("a")); e.Uses != 7 {
		t.Errorf("after it was loaded: %d uses", e.Uses)
	}
}

func TestEventsThatFollowKeepTheirIDs(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, time.Hour)
	w.event(pb.Event_LINKED, "a", 0, func(ev *pb.Event) { ev.Child = key("child") })
	w.settle(2 * time.Hour)
	ends := start.Add(time.Hour).UnixNano()
	want := []schemas.Key{{System: "EXPIRED", Instance: key("a"), ID: fmt.Sprintf("EXPIRED %d", ends)},
		{System: "REVOKED", Instance: key("child"), ID: "REVOKED " + key("a") + " parent expired"}}
	got := w.core.Derived()
	for i, ev := range got {
		id := schemas.EventID("leastwise", want[i].Instance, want[i].ID, 0)
		if ev.Kind.String() != want[i].System || ev.Credential != want[i].Instance || ev.RecordId != want[i].ID || [16]byte(ev.Id) != id ||
			ev.OccurredAt.AsTime().UnixNano() != ends || ev.Position != "derived" {
			t.Errorf("%v", ev)
		}
	}
	if len(got) != 2 || got[1].Actor != key("a") || got[1].Labels["how"] != "parent expired" {
		t.Errorf("%v", got)
	}
}
