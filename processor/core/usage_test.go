package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const judgedAt = 8 * time.Hour

func TestWhatAgentsSayIsComparedWithWhatWasIssued(t *testing.T) {
	first := newWorld(t, usagePolicies, "")
	for name, c := range stories {
		t.Run(name, func(t *testing.T) {
			w := first.another()
			w.t = t
			w.core.Silence(c.readings)
			w.tell(c.story.events)
			w.tell(neighbours(otherToken, otherJWT))
			if got := w.said(c.story.credential, w.settle(judgedAt)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			e := w.core.Entry(c.story.credential)
			findings := w.core.Usage(e, start.Add(judgedAt).UnixNano())
			n := 0
			e.Usage().Each(func(verdict usage.Verdict, why usage.Reason) {
				if n >= len(findings) || findings[n].About != verdict || findings[n].Reason != why {
					t.Errorf("judged %s %s, told %v", verdict, why, findings)
				}
				n++
			})
			if n != len(findings) {
				t.Errorf("%d judged, told %v", n, findings)
			}
			for _, f := range findings {
				if f.Why == "" || strings.Contains(f.Why, "%!") || strings.Contains(f.Why, "1970-01-01") {
					t.Errorf("%s: %q", f.Reason, f.Why)
				}
			}
		})
	}
}

func TestNoOrderAndNoRestartChangesWhatIsSaid(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	first := newWorld(t, usagePolicies, "")
	for name, c := range stories {
		var want *pb.CredentialState
		for round := range 20 {
			w := first.another()
			w.core.Silence(c.readings)
			events := slices.Clone(c.story.events)
			if round > 0 {
				rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			}
			if round%2 == 0 {
				w.tell(neighbours(otherToken, otherJWT))
			}
			cut := 0
			if round > 1 { // half way, everything is written and read again
				cut = rng.IntN(len(events) + 1)
				w.tell(events[:cut])
				w.settle(judgedAt)
				w = w.restarted()
				w.core.Silence(c.readings)
			}
			w.tell(events[cut:])
			if round%2 != 0 {
				w.tell(neighbours(otherToken, otherJWT))
			}
			decisions := w.settle(judgedAt)
			if round <= 1 {
				if got := w.said(c.story.credential, decisions); got != c.want {
					t.Errorf("%s, round %d: %q, want %q", name, round, got, c.want)
				}
			}
			got := w.core.Entry(c.story.credential).Proto()
			got.AppliedOffset, got.DecidedAt, got.DecidedRevision, got.DecidedPolicies = 0, 0, "", nil
			if want == nil {
				want = got
			}
			if !proto.Equal(got, want) {
				t.Errorf("%s, round %d:\n%v\nwas\n%v", name, round, got, want)
			}
			if judgement, _, _ := strings.Cut(c.want, " policy"); w.said(c.story.credential, nil) != strings.TrimPrefix(judgement, "policy") {
				t.Errorf("%s, round %d: %q, want %q", name, round, w.said(c.story.credential, nil), judgement)
			}
		}
	}
}

// another world with the same policies, in which nothing has happened.
func (w *world) another() *world {
	next := &world{t: w.t, grants: scope.NewGrants()}
	next.core = New(Options{Grants: next.grants, Heartbeat: time.Minute})
	next.core.Rules(w.core.rules)
	return next
}

// restarted is another world with the credentials as they would be written.
func (w *world) restarted() *world {
	w.t.Helper()
	next := w.another()
	next.offset = w.offset
	w.core.Entries(func(e *Entry) {
		blob, err := e.Marshal()
		if err != nil {
			w.t.Fatal(err)
		}
		cred, err := lifecycle.Load(e.Key, blob)
		if err != nil {
			w.t.Fatal(err)
		}
		next.core.Load(cred)
	})
	return next
}

func TestARepeatedReportAddsToNoCount(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	events := about(vaultToken).issued(0).reported(1, time.Minute, "success").events
	for i := range 3 {
		w.offset++
		w.core.Apply(events[1], w.offset, i == 0)
	}
	if r := w.core.Entry(vaultToken).Reported(); r.Uses != 1 {
		t.Fatalf("%d reported", r.Uses)
	}
	if e := w.core.Entry(vaultToken); e.Uses != 0 || e.LastUsedAt != 0 {
		t.Fatalf("a report counts as use: %d", e.Uses)
	}
}

// No event comes any more; the clock alone makes it certain.
func TestWhatWasTooRecentIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.tell(about(jwt).reported(1, 0, "success").events)
	w.tell(neighbours(otherJWT))
	if got := w.said(jwt, w.settle(time.Minute)); got != "?used_but_unissued:too_recent" {
		t.Fatal(got)
	}
	due := lifecycle.Time(w.core.Next()).Sub(start)
	if due < recordDelay || due > recordDelay+2*bucket {
		t.Fatalf("looked at again after %s", due)
	}
	if got := w.said(jwt, w.settle(due)); got != "used_but_unissued:no_issuance policy unissued" {
		t.Fatal(got)
	}
}

func TestACredentialThatEndedMeanwhileIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.tell(about(vaultToken).issued(0).used(3, time.Minute).reported(50, time.Minute, "success").add(pb.Event_REVOKED, 3*time.Minute, nil).events)
	w.settle(4 * time.Minute)
	if got := w.said(vaultToken, nil); got != "?usage_contradiction:too_recent" {
		t.Fatal(got)
	}
	w.settle(lifecycle.Time(w.core.Next()).Sub(start))
	if got := w.said(vaultToken, nil); got != "usage_contradiction:more_reported_than_logged" {
		t.Fatal(got)
	}
}

// Two collectors of agents' logs, of which one never said that it lives: since when both are read is not known.
func TestOneUnknownLogOfAgentsLeavesAllUnknown(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.tell(about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Hour, "success").
		reported(1, time.Hour, "success", func(ev *pb.Event) { ev.Instance = "other" }).events)
	w.settle(judgedAt)
	if got := w.said(vaultToken, nil); got != "?usage_contradiction:agents_silent" {
		t.Fatal(got)
	}
}

func TestAnUnusedTokenIsFoundByTheClockAlone(t *testing.T) {
	w := newWorld(t, complexPolicy, "") // no policy names a time: the finding is for whoever looks
	w.core.Silence(read())
	w.tell(about(vaultToken).issued(0).events)
	w.settle(time.Minute)
	w.core.Dirty()
	w.core.Pack(start.Add(30 * time.Minute).UnixNano())
	w.settle(time.Hour + 3*time.Second)
	if got := w.said(vaultToken, nil); got != "issued_but_unused:never_used" {
		t.Fatal(got)
	}
	if len(w.core.Dirty()) != 1 {
		t.Fatal("the new judgement is not written")
	}
	w.core.Pack(start.Add(2 * time.Hour).UnixNano())
	w.core.Rules(newWorld(t, complexPolicy, "").core.rules)
	if w.settle(2 * time.Hour); w.core.Entry(vaultToken).Usage().Unused != usage.NeverUsed {
		t.Fatal("packing changed the judgement")
	}
	if len(w.core.Dirty()) != 0 {
		t.Error("written again, although nothing is new")
	}
}

// Most credentials are quiet, and no agent names them: they cost no more than they did.
func TestAQuietCredentialHoldsNoMoreForTheComparison(t *testing.T) {
	if size := unsafe.Sizeof(cold{}); size > 40 {
		t.Errorf("%d bytes", size)
	}
}

func TestSilenceTakesAJudgementBackAndItsEndBringsIt(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.tell(about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Minute, "success").events)
	const found = "usage_contradiction:fewer_reported_than_logged"
	if got := w.said(vaultToken, w.settle(judgedAt)); got != found+" policy contradiction" {
		t.Fatal(got)
	}
	w.core.Silence(read(silent("agentusage/default", time.Hour)))
	decisions := w.settle(judgedAt + time.Minute)
	if got := w.said(vaultToken, nil); got != "?usage_contradiction:agents_silent" {
		t.Fatal(got)
	}
	if len(decisions) != 1 || len(decisions[0].Violations) != 0 {
		t.Fatalf("the violation stands: %v", decisions)
	}
	w.core.Silence(read())
	if got := w.said(vaultToken, w.settle(judgedAt+2*time.Minute)); got != found+" policy contradiction" {
		t.Fatal(got)
	}
}

// After a restart the first heartbeats may be forgotten; what was read once was read.
func TestSinceWhenLogsAreReadSurvivesARestart(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.tell(about(jwt).reported(1, 0, "success").events)
	w.tell(neighbours(otherJWT))
	w.settle(judgedAt)
	w = w.restarted()
	w.core.Silence(read(from("jwtregistry/default", 7*time.Hour), from("agentusage/default", 7*time.Hour)))
	w.settle(judgedAt + time.Minute)
	if got := w.said(jwt, nil); got != "used_but_unissued:no_issuance" {
		t.Fatal(got)
	}
}

// A token of ninety days, agents' logs read for three: only what both know is compared.
func TestOnlyTheTimeThatBothWereReadIsCompared(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		lately int
		want   string
	}{"alike": {30, ""}, "fewer": {3, "usage_contradiction:fewer_reported_than_logged"}} {
		w := newWorld(t, usagePolicies, "")
		w.core.Silence(read(from("agentusage/default", -3*day)))
		w.tell(about(vaultToken).issued(-20*day).used(500, -10*day).used(30, 0).reported(c.lately, 0, "success").events)
		w.settle(judgedAt)
		if got := w.said(vaultToken, nil); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAnInferredCredentialIsNeverCalledIdle(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.core.Silence(read())
	w.grants.Put(&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:a@p.iam.gserviceaccount.com", AsOf: at(0),
		Attached: []*pb.Attachment{{Grant: "gcpaudit/default/policy/projects/p/roles/r", Resource: "//cloudresourcemanager.googleapis.com/projects/p"}}})
	w.grants.Put(&pb.Grant{Id: "gcpaudit/default/policy/projects/p/roles/r", AsOf: at(0), Rules: []*pb.Rule{{Actions: []string{"a.b.get", "a.b.list"}}}})
	w.tell(about(gcpToken).add(pb.Event_ISSUED, 0, func(ev *pb.Event) {
		inferred(ev)
		ev.Principal = "gcpaudit/default/principal/serviceAccount:a@p.iam.gserviceaccount.com"
	}).events)
	w.settle(judgedAt)
	_, values := w.core.Measure(gcpToken, start.Add(judgedAt).UnixNano())
	for _, m := range []rego.Metric{rego.IssuedButUnused, rego.UnusedPermissionRatio, rego.IdleTime} {
		if v, known := values.Get(m); known {
			t.Errorf("%s is %v", m, v)
		}
	}
	if v, known := values.Get(rego.ScopeComplexity); !known || v != 2 {
		t.Errorf("its scope is %v: the test tests nothing", v)
	}
	e := w.core.Entry(gcpToken)
	if _, known := e.UsedPermissions(); known {
		t.Error("its used permissions are a figure")
	}
	if _, why := w.core.proposal(e, start.Add(judgedAt).UnixNano()); !strings.Contains(why, "inferred") {
		t.Errorf("a narrower scope is proposed: %q", why)
	}
}

func TestACallOfSeveralPermissionsUsesEach(t *testing.T) {
	w := newWorld(t, usagePolicies, "")
	w.grants.Put(&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:a@p.iam.gserviceaccount.com", AsOf: at(0),
		Attached: []*pb.Attachment{{Grant: "gcpaudit/default/policy/projects/p/roles/r", Resource: "//cloudresourcemanager.googleapis.com/projects/p"}}})
	w.grants.Put(&pb.Grant{Id: "gcpaudit/default/policy/projects/p/roles/r", AsOf: at(0), Rules: []*pb.Rule{{Actions: []string{"a.b.get", "a.b.list", "a.b.use", "a.b.delete"}}}})
	const key = "gcpaudit/default/service_account_key/k"
	call := func(permissions ...string) func(*pb.Event) {
		return func(ev *pb.Event) {
			ev.Principal, ev.Permission, ev.Labels = "gcpaudit/default/principal/serviceAccount:a@p.iam.gserviceaccount.com", permissions[0], map[string]string{}
			for i, p := range permissions[1:] {
				ev.Labels[fmt.Sprintf("permission.%d", i+2)] = p
			}
		}
	}
	w.tell(about(key).add(pb.Event_USED, 0, call("a.b.get", "a.b.list", "a.b.use")).add(pb.Event_DENIED, 0, call("x.y.get", "x.y.list")).events)
	w.settle(judgedAt)
	e := w.core.Entry(key)
	if n, known := e.UsedPermissions(); n != 3 || !known || e.Uses != 1 || len(e.Used()) != 3 {
		t.Errorf("%d permissions used in %d calls: %v", n, e.Uses, e.Used())
	}
	if e.DeniedPermissions() != 2 || e.Denied != 1 {
		t.Errorf("%d permissions refused in %d calls", e.DeniedPermissions(), e.Denied)
	}
	_, values := w.core.Measure(key, start.Add(judgedAt).UnixNano())
	if v, _ := values.Get(rego.UnusedPermissionRatio); v != 0.25 {
		t.Errorf("unused %v", v)
	}
}
