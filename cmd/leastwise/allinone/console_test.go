package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	reading "github.com/leastwise/leastwise/console/read"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

const consolePolicies = `# Why it is there.
policy_id: "lives-long"
description: "Lives too long."
metrics:
  - {name: lifetime, source: iam, threshold: 1h, condition: greater_than}
action:
  - {severity: high, channel: owners, remediation_hint: Renew it.}
enforcement: {mode: enforce, grace: 2h}
exception: {max_duration: 2d, approvers: [sec]}
---
policy_id: "probes"
description: "Probes."
metrics:
  - {name: elevation_attempts, source: any, threshold: 3, condition: greater_than}
action:
  - {severity: low, channel: owners, remediation_hint: Look.}
`

func consoleRules(t *testing.T) (*processor.InForce, *stream.Client) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(consolePolicies), 0o600); err != nil {
		t.Fatal(err)
	}
	env := daemon.NewEnv("test", slog.New(slog.DiscardHandler))
	inForce, err := processor.NewInForce(t.Context(), env, processor.PoliciesConfig{Dir: dir}, processor.CatalogConfig{Path: filepath.Join(top, "examples", "catalog.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	client := kafkatest.New(t)
	if err := client.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicExceptions, Partitions: 1}, {Name: schemas.TopicControl, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	return inForce, client
}

func TestTheConsoleIsToldThePoliciesInForce(t *testing.T) {
	inForce, _ := consoleRules(t)
	p := &policiesOf{inForce: inForce}
	all, revision := p.All()
	if len(all) != 2 || revision == "" {
		t.Fatalf("%d policies, revision %q", len(all), revision)
	}
	for _, one := range all {
		switch one.ID {
		case "lives-long":
			m := one.Metrics[0]
			if one.Mode != "enforce" || one.Severity != "high" || *one.Grace != 2*time.Hour || m.Value != 3600 || m.Unit != "seconds" || len(m.Sources) != 2 ||
				!strings.Contains(one.YAML, "# Why it is there.") || strings.Contains(one.YAML, "probes") {
				t.Errorf("got %+v", one)
			}
		case "probes":
			if one.Grace != nil || one.Metrics[0].Sources != nil || !strings.HasPrefix(one.YAML, `policy_id: "probes"`) || strings.Contains(one.YAML, "lives-long") {
				t.Errorf("got %+v", one)
			}
		}
	}
	if probes := all[slices.IndexFunc(all, func(p rules.Policy) bool { return p.ID == "probes" })]; probes.Line < 10 {
		t.Errorf("the second policy begins at line %d", probes.Line)
	}
	if !slices.ContainsFunc(p.Rego(), func(text rules.Text) bool {
		return text.File == "decision.rego" && strings.Contains(text.Source, "package leastwise")
	}) {
		t.Error("what decides is not told")
	}
	if got := p.Applying(rules.Subject{Credential: "vault/d/token/x", Source: "vault", Type: "token"}); fmt.Sprint(got) != "[probes]" {
		t.Errorf("to Vault's applies %v", got)
	}
	for text, want := range map[string]float64{"lifetime 30d": 30 * 86400, "elevation_attempts 5": 5, "unused_permission_ratio 80%": 0.8, "unresolved_identity true": 1} {
		metric, value, _ := strings.Cut(text, " ")
		if got, err := p.Parse(metric, value); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"lifetime soon", "elevation_attempts NaN", "elevation_attempts -1", "elevation_attempts 1e999", "unresolved_identity 1", "nonesuch 1"} {
		metric, value, _ := strings.Cut(text, " ")
		if got, err := p.Parse(metric, value); err == nil {
			t.Errorf("%s is read as %v", text, got)
		}
	}
}

func TestTheConsoleKeepsTheEnforcersRulesOfExceptions(t *testing.T) {
	inForce, client := consoleRules(t)
	now := time.Now()
	x := exceptionsOf{client, inForce, func() time.Time { return now }}
	ask := func(policy string, lasts time.Duration) (*pb.Exception, error) {
		return x.Request(t.Context(), &pb.Exception{Credential: "vault/d/token/x", PolicyId: policy, Reason: "why", RequestedBy: "somebody else",
			Until: timestamppb.New(now.Add(lasts))}, rules.Who{Name: "Ann"})
	}
	for what, err := range map[string]error{"longer than the policy lets": second(ask("lives-long", 72*time.Hour)), "from no policy": second(ask("nonesuch", time.Hour))} {
		if !errors.Is(err, rules.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	e, err := ask("lives-long", time.Hour)
	if err != nil || e.RequestedBy != "ann" {
		t.Fatalf("%v, asked by %q", err, e.GetRequestedBy())
	}
	for who, may := range map[string]bool{"ann": false, "bob": false, "sec": true} {
		if why := x.MayApprove(e, rules.Who{Name: who}); (why == "") != may {
			t.Errorf("%s may approve: %q", who, why)
		}
	}
	if why := x.MayApprove(e, rules.Who{Name: "ANN ", Groups: []string{"sec"}}); why == "" {
		t.Error("in the right group one may approve one's own")
	}
	if err := second(x.Approve(t.Context(), e.Id, rules.Who{Name: "ann", Groups: []string{"sec"}})); !errors.Is(err, rules.ErrForbidden) {
		t.Errorf("one's own: %v", err)
	}
	if err := second(x.Approve(t.Context(), e.Id, rules.Who{Name: "bob"})); !errors.Is(err, rules.ErrRefused) {
		t.Errorf("no approver of the policy: %v", err)
	}
	if err := second(x.Approve(t.Context(), "ex-none", rules.Who{Name: "bob"})); !errors.Is(err, rules.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	approved, err := x.Approve(t.Context(), e.Id, rules.Who{Name: "bob", Groups: []string{"sec"}})
	if err != nil || approved.ApprovedBy != "bob" || !x.Valid(approved, now) {
		t.Errorf("%v, %v", approved, err)
	}
}

func TestTheConsoleDecidesOnWhatAgentsAskForByTheSameRules(t *testing.T) {
	inForce, client := consoleRules(t)
	now := time.Now()
	x := exceptionsOf{client, inForce, func() time.Time { return now }}
	for _, policy := range []string{"lives-long", "probes"} {
		if _, err := x.Request(t.Context(), &pb.Exception{Identity: "spire/d/spiffe_id/spiffe://x/a", PolicyId: policy, Reason: "why", Issuance: &pb.Issuance{Request: "iss-1"},
			Until: timestamppb.New(now.Add(time.Hour))}, rules.Who{Name: "spiffe://x/a"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		request, why string
		who          rules.Who
		want         error
	}{
		"who asked":                    {"iss-1", "x", rules.Who{Name: "spiffe://x/a", Groups: []string{"sec"}}, rules.ErrForbidden},
		"no approver of one policy":    {"iss-1", "x", rules.Who{Name: "bob"}, rules.ErrRefused},
		"without a reason":             {"iss-1", " ", rules.Who{Name: "bob", Groups: []string{"sec"}}, rules.ErrRefused},
		"of what nobody has asked for": {"iss-2", "x", rules.Who{Name: "bob", Groups: []string{"sec"}}, rules.ErrNotFound},
	} {
		if _, err := x.ApproveIssuance(t.Context(), c.request, c.why, c.who); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := x.ApproveIssuance(t.Context(), "iss-1", "CHG-7", rules.Who{Name: "bob", Groups: []string{"sec"}})
	if err != nil || len(all) != 2 || !x.Valid(all[0], now) || !x.Valid(all[1], now) || all[0].ApprovedBy != "bob" {
		t.Fatalf("%v, %v", all, err)
	}
	if all, err = x.RefuseIssuance(t.Context(), "iss-1", "it leaked", rules.Who{Name: "carl"}); err != nil || x.Valid(all[0], now) || x.Valid(all[1], now) || all[1].RevokedWhy != "it leaked" {
		t.Errorf("%v, %v", all, err)
	}
}

func second(_ *pb.Exception, err error) error { return err }

func TestTheConsolesSettingsHoldAtOnceAndForTheEnforcerToo(t *testing.T) {
	_, client := consoleRules(t)
	s := newSettings(client, enforcer.Config{}, time.Now)
	if got := s.Now(); got.Mode != "observe" || got.Killed || got.Limit != 20 {
		t.Errorf("at the start %+v", got)
	}
	who := rules.Who{Name: "sid"}
	if err := errors.Join(s.Kill(t.Context(), true, who, "incident"), s.SetMode(t.Context(), "notify", who, "try")); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMode(t.Context(), "everything", who, ""); !errors.Is(err, rules.ErrRefused) {
		t.Errorf("a mode that is none: %v", err)
	}
	by := func(s *settings, ladder, act string) (names []string) {
		for _, a := range s.Approvals(ladder, act) {
			names = append(names, a.By)
		}
		return names
	}
	for _, name := range []string{"sid", "SID ", "ann"} {
		if err := s.ApproveAct(t.Context(), "ld-1", rules.Revoke, rules.Who{Name: name}, "looked at it"); err != nil {
			t.Fatal(err)
		}
	}
	if got := by(s, "ld-1", rules.Revoke); len(got) != 2 || by(s, "ld-1", rules.Finish) != nil || by(s, "ld-2", rules.Revoke) != nil {
		t.Errorf("approved by %q", got)
	}
	for what, err := range map[string]error{"a ladder without an id": s.ApproveAct(t.Context(), "", rules.Revoke, who, "x"), "an act that is none": s.ApproveAct(t.Context(), "ld-1", "destroy", who, "x"),
		"a restoration without a reason": s.Restore(t.Context(), "ld-1", who, " ")} {
		if !errors.Is(err, rules.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(s.Restore(t.Context(), "ld-1", who, "production stands"), s.RollBack(t.Context(), "ld-3", who, "too narrow"), s.Resume(t.Context(), who, "looked")); err != nil {
		t.Fatal(err)
	}
	other := newSettings(client, enforcer.Config{}, time.Now)
	if _, err := client.ReadPartition(t.Context(), schemas.TopicControl, 0, stream.Earliest, other.Apply); err != nil {
		t.Fatal(err)
	}
	if w := other.Restoring("ld-1"); len(by(other, "ld-1", rules.Revoke)) != 2 || w == nil || w.By != "sid" || w.Reason != "production stands" || !other.RollingBack("ld-3") ||
		other.RollingBack("ld-1") || other.Now().Resumed.IsZero() {
		t.Errorf("whoever follows knows of %v, %+v", by(other, "ld-1", rules.Revoke), w)
	}
	for what, got := range map[string]rules.Settings{"here": s.Now(), "whoever follows": other.Now()} {
		if got.Mode != "notify" || !got.Killed || got.By != "sid" || got.Why != "incident" || got.At.IsZero() {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// The recorder writes the chain, the console proves it: both have to mean the same.
func TestTheConsoleProvesWhatTheRecorderWrites(t *testing.T) {
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	reader := reading.New(db, namesOf{}, time.Now)
	var chain record.Chain
	write := func(from, to int64) {
		t.Helper()
		h := &record.History{Topic: schemas.TopicControl}
		for offset := from; offset < to; offset++ {
			raw, err := (&pb.Control{Setting: pb.Control_MODE, Value: "notify", SetBy: "ann"}).MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Add(offset, []byte("mode"), raw, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Write(t.Context(), db, &chain, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	verified := func() (entries uint64, unbroken bool) {
		t.Helper()
		if err := reader.Verify(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, v := range reader.Verified() {
			entries, unbroken = v.Entries, v.Unbroken
		}
		return entries, unbroken
	}
	write(0, 5)
	if n, ok := verified(); n != 5 || !ok {
		t.Errorf("%d proven, unbroken %v", n, ok)
	}
	write(5, 8)
	if n, ok := verified(); n != 8 || !ok {
		t.Errorf("then %d proven, unbroken %v", n, ok)
	}
	if err := db.Exec(t.Context(), "ALTER TABLE audit_log DELETE WHERE kafka_offset = 3 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	reader = reading.New(db, namesOf{}, time.Now)
	if n, ok := verified(); n != 3 || ok {
		t.Errorf("with a row removed %d proven, unbroken %v", n, ok)
	}
}
