package core

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var start = time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)

func at(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(start.Add(d)) }

// world is a core with policies and a catalog, fed by hand.
type world struct {
	t      testing.TB
	core   *Core
	grants *scope.Grants
	offset int64
	asked  int
}

func newWorld(t testing.TB, policies, agents string) *world {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("policies/p.yaml", policies)
	engine, err := rego.New(context.Background(), rego.Options{PolicyDir: filepath.Join(dir, "policies")})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, grants: scope.NewGrants()}
	w.core = New(Options{Grants: w.grants, Heartbeat: time.Minute, OnDecision: func(_ time.Duration, asked bool) {
		if asked {
			w.asked++
		}
	}})
	w.core.Rules(engine.Current())
	if agents != "" {
		cat, err := catalog.Load(write("catalog.yaml", agents))
		if err != nil {
			t.Fatal(err)
		}
		w.core.Catalog(cat)
	}
	return w
}

func key(name string) string { return "vault/default/token/" + name }

func (w *world) event(kind pb.Event_Kind, name string, after time.Duration, change func(*pb.Event)) {
	w.offset++
	id := schemas.EventID("test", name, fmt.Sprint(w.offset), 0)
	ev := &pb.Event{Id: id[:], Kind: kind, Credential: key(name), OccurredAt: at(after), ObservedAt: at(after)}
	if change != nil {
		change(ev)
	}
	w.core.Apply(ev, w.offset, true)
}

func (w *world) issue(name string, after, ttl time.Duration) {
	w.event(pb.Event_ISSUED, name, after, func(ev *pb.Event) {
		ev.Lifetime = &pb.Lifetime{IssuedAt: at(after), ExpiresAt: at(after + ttl)}
		ev.Policies, ev.Labels = []string{"ingest"}, map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}
	})
}

func (w *world) settle(after time.Duration) []*pb.Decision {
	w.t.Helper()
	if err := w.core.Settle(context.Background(), start.Add(after).UnixNano()); err != nil {
		w.t.Fatal(err)
	}
	return w.core.Decisions()
}

const agePolicy = `policy_id: "old"
description: "Too old."
metrics:
  - {name: credential_age, source: vault, threshold: "1h", condition: greater_than}
action:
  - {severity: high, channel: security_team, remediation_hint: "Rotate."}
enforcement: {mode: enforce, grace: 10m, revoke: true}
`

func TestAgeCrossesItsThresholdWithoutAnyEvent(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	if got := w.settle(time.Minute); len(got) != 0 {
		t.Fatalf("decided on a young token: %v", got)
	}
	due := lifecycle.Time(w.core.Next())
	if want := start.Add(time.Hour); due.Before(want) || due.After(want.Add(2*time.Second)) {
		t.Fatalf("next look at %s, want shortly after %s", due, want)
	}
	got := w.settle(due.Sub(start))
	if len(got) != 1 || len(got[0].Violations) != 1 || got[0].Violations[0].PolicyId != "old" || !got[0].Ladder.Revoke {
		t.Fatalf("%v", got)
	}
	if got := w.settle(due.Sub(start) + 30*time.Second); len(got) != 0 {
		t.Fatalf("published again before the heartbeat: %v", got)
	}
	if got := w.settle(due.Sub(start) + 62*time.Second); len(got) != 1 {
		t.Fatalf("a standing violation was not confirmed: %v", got)
	}
}

func TestTheEndOfACredentialTakesItsViolationBack(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	w.settle(2 * time.Hour)
	w.event(pb.Event_REVOKED, "a", 2*time.Hour, nil)
	got := w.settle(2*time.Hour + time.Second)
	if len(got) != 1 || len(got[0].Violations) != 0 || got[0].Subject.State != "revoked" {
		t.Fatalf("%v", got)
	}
	if got := w.settle(9 * time.Hour); len(got) != 0 {
		t.Fatalf("decided on a revoked token: %v", got)
	}
}

// A crash came between the decision and the state that says so; what is read again comes together with what ends it.
func TestADecisionThatTheStateDoesNotKnowIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		stored bool // the credential's state was written at some time before the decision
		after  time.Duration
		state  string
		end    func(w *world)
	}{
		"revoked, no state": {false, 2 * time.Hour, "revoked", func(w *world) { w.event(pb.Event_REVOKED, "a", 2*time.Hour, nil) }},
		"revoked":           {true, 2 * time.Hour, "revoked", func(w *world) { w.event(pb.Event_REVOKED, "a", 2*time.Hour, nil) }},
		"expired":           {true, 6 * time.Hour, "expired", func(*world) {}},
		"not violated any more": {true, 2 * time.Hour, "active", func(w *world) {
			engine, err := rego.New(context.Background(), rego.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w.core.Rules(engine.Current())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := newWorld(t, agePolicy, "")
			before.issue("a", 0, 5*time.Hour)
			blob, err := before.core.Entry(key("a")).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			said := before.settle(90 * time.Minute)
			if len(said) != 1 || len(said[0].Violations) != 1 {
				t.Fatalf("%v", said)
			}
			w := newWorld(t, agePolicy, "")
			if c.stored {
				cred, err := lifecycle.Load(key("a"), blob)
				if err != nil {
					t.Fatal(err)
				}
				w.core.Load(cred)
				w.offset = cred.Offset
			}
			w.core.Published(said[0])
			if !c.stored {
				w.issue("a", 0, 5*time.Hour)
			}
			c.end(w)
			got := w.settle(c.after)
			if len(got) != 1 || len(got[0].Violations) != 0 || got[0].Subject.State != c.state {
				t.Fatalf("%v", got)
			}
		})
	}
}

func TestAnOlderDecisionThanTheStatesIsNoNews(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	said := w.settle(90 * time.Minute)
	w.event(pb.Event_REVOKED, "a", 2*time.Hour, nil)
	if got := w.settle(2 * time.Hour); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	w.core.Published(said[0])
	if got := w.settle(3 * time.Hour); len(got) != 0 {
		t.Fatalf("taken back twice: %v", got)
	}
}

func TestChildrenEndWithTheirParentWhicheverIsToldFirst(t *testing.T) {
	for _, linkedFirst := range []bool{true, false} {
		w := newWorld(t, agePolicy, "")
		w.issue("parent", 0, time.Hour)
		w.issue("child", 0, time.Hour)
		linked := func() {
			w.event(pb.Event_LINKED, "parent", time.Minute, func(ev *pb.Event) { ev.Child = key("child") })
		}
		revoked := func() { w.event(pb.Event_REVOKED, "parent", 2*time.Minute, nil) }
		if linkedFirst {
			linked()
			revoked()
		} else {
			revoked()
			linked()
		}
		derived := w.core.Derived()
		if len(derived) != 1 {
			t.Fatalf("linked first %v: derived %v", linkedFirst, derived)
		}
		w.offset++
		w.core.Apply(derived[0], w.offset, true)
		child := w.core.Entry(key("child"))
		if got := child.State(start.Add(3 * time.Minute).UnixNano()); got != lifecycle.Revoked || child.RevokedHow != lifecycle.HowParentRevoked {
			t.Fatalf("child is %s (%s)", got, child.RevokedHow)
		}
	}
}

func TestAnEventAtOrBeforeTheCredentialsOffsetChangesNothing(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, time.Hour)
	used := &pb.Event{Id: make([]byte, 16), Kind: pb.Event_USED, Credential: key("a"), OccurredAt: at(time.Minute), Permission: "read x"}
	w.core.Apply(used, 7, true)
	w.core.Apply(used, 7, true) // read again after a crash
	if got := w.core.Entry(key("a")).Uses; got != 1 {
		t.Fatalf("%d uses", got)
	}
}

func TestAProposalKeepsWhatWasUsedAndNoMore(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.grants.Put(&pb.Grant{Id: "vault/default/policy/ingest", AsOf: at(0), Rules: []*pb.Rule{
		{Resource: "secret/data/ingest/*", Capabilities: []string{"create", "read", "update"}},
		{Resource: "secret/data/storage/*", Capabilities: []string{"create", "delete", "update"}},
		{Resource: "sys/mounts", Capabilities: []string{"read"}},
	}})
	w.issue("a", 0, 5*time.Hour)
	for i := range 30 {
		w.event(pb.Event_USED, "a", time.Minute, func(ev *pb.Event) { ev.Permission = fmt.Sprintf("read secret/data/ingest/%d", i) })
	}
	w.event(pb.Event_DENIED, "a", time.Minute, func(ev *pb.Event) { ev.Permission = "delete secret/data/storage/x" })
	got := w.settle(2 * time.Hour)
	p := got[0].Proposal
	if len(p.Rules) != 1 || p.Rules[0].Resource != "secret/data/ingest/*" || len(p.Rules[0].Capabilities) != 1 ||
		p.Rules[0].Capabilities[0] != "read" || p.Granted != 7 || p.Proposed != 1 || p.Incomplete != "" {
		t.Fatalf("%v", p)
	}
}

func TestUseBeforeTheObservationJustifiesNothing(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.core.opts.Observation = time.Hour
	w.grants.Put(&pb.Grant{Id: "vault/default/policy/ingest", AsOf: at(0), Rules: []*pb.Rule{
		{Resource: "secret/data/ingest/*", Capabilities: []string{"read"}},
		{Resource: "secret/data/storage/*", Capabilities: []string{"create"}},
	}})
	w.issue("a", 0, 9*time.Hour)
	use := func(permission string, after time.Duration) {
		w.event(pb.Event_USED, "a", after, func(ev *pb.Event) { ev.Permission = permission })
	}
	use("create secret/data/storage/x", time.Minute)
	use("read secret/data/ingest/x", 2*time.Hour)
	got := w.settle(2*time.Hour + time.Minute)
	if p := got[0].Proposal; len(p.Rules) != 1 || p.Rules[0].Resource != "secret/data/ingest/*" {
		t.Fatalf("%v", p)
	}
	ratio := func(after time.Duration) float64 {
		w.settle(after)
		values := w.core.Values(w.core.Entry(key("a")), start.Add(after).UnixNano())
		v, _ := values.Get(rego.UnusedPermissionRatio)
		return v
	}
	if got := ratio(2*time.Hour + 2*time.Minute); got != 0.5 {
		t.Fatalf("unused %v", got)
	}
	if got := ratio(4 * time.Hour); got != 1 {
		t.Fatalf("unused %v after everything fell out of the observation", got)
	}
}

func TestAnUnknownScopeIsNeverProposedOrCounted(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	got := w.settle(2 * time.Hour)
	if p := got[0].Proposal; p.Incomplete == "" || len(p.Rules) != 0 || p.Granted != 0 {
		t.Fatalf("%v", p)
	}
	values := w.core.Values(w.core.Entry(key("a")), start.UnixNano())
	if _, known := values.Get(rego.ScopeComplexity); known {
		t.Fatal("an unknown scope has a figure")
	}
}

func TestAPackedCredentialIsTheSameAndStillComesDue(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	w.issue("a", 0, 5*time.Hour)
	w.settle(time.Minute)
	w.core.Dirty()
	before := w.core.Entry(key("a")).Proto()
	w.core.Pack(start.Add(20 * time.Minute).UnixNano())
	if len(w.core.cold) != 1 || len(w.core.entries) != 0 {
		t.Fatalf("%d packed, %d not", len(w.core.cold), len(w.core.entries))
	}
	if got := w.settle(time.Hour + 5*time.Second); len(got) != 1 {
		t.Fatalf("a packed credential missed its deadline: %v", got)
	}
	after := w.core.Entry(key("a")).Proto()
	if before.ExpiresAt != after.ExpiresAt || before.IssuedAt != after.IssuedAt || len(after.Policies) != 1 {
		t.Fatalf("packing changed it: %v, was %v", after, before)
	}
}

func TestASteadyFleetAsksNoPolicy(t *testing.T) {
	w := newWorld(t, agePolicy, "")
	for i := range 50 {
		w.issue(fmt.Sprint(i), 0, 5*time.Hour)
	}
	for round := range 40 {
		for i := range 50 {
			w.event(pb.Event_USED, fmt.Sprint(i), time.Duration(round)*time.Minute, func(ev *pb.Event) { ev.Permission = "read secret/data/x" })
		}
		w.settle(time.Duration(round) * time.Minute)
	}
	if w.asked != 0 {
		t.Fatalf("OPA was asked %d times in 2000 events", w.asked)
	}
}

// idle is a credential as most are: issued by a role, used a few times, quiet since.
func idle(w *world, i int) {
	name := fmt.Sprintf("hmac-sha256:%064x", i)
	w.event(pb.Event_ISSUED, name, 0, func(ev *pb.Event) {
		ev.Lifetime = &pb.Lifetime{IssuedAt: at(0), ExpiresAt: at(48 * time.Hour), Renewable: true}
		ev.Principal = fmt.Sprintf("vault/default/entity/15e30d73-c7ea-998c-3fc8-%012d", i%1000)
		ev.Policies, ev.Labels = []string{"default", "ingest"}, map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}
	})
	for range 3 {
		w.event(pb.Event_USED, name, time.Second, func(ev *pb.Event) { ev.Permission = "read secret/data/ingest/a" })
	}
}

func BenchmarkIdleCredentialMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		w := newWorld(b, agePolicy, "")
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			idle(w, i)
			if i%10_000 == 9999 {
				w.settle(time.Minute)
				w.core.Dirty()
				w.core.Pack(start.Add(time.Hour).UnixNano())
			}
		}
		w.core.Settle(context.Background(), start.Add(time.Minute).UnixNano())
		w.core.Dirty()
		w.core.Pack(start.Add(time.Hour).UnixNano())
		runtime.GC()
		runtime.ReadMemStats(&after)
		if len(w.core.cold) != n {
			b.Fatalf("%d packed", len(w.core.cold))
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/credential")
		runtime.KeepAlive(w)
	}
}
