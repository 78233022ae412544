package rego

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func load(t testing.TB, files map[string]string) *Set {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	engine, err := New(context.Background(), Options{PolicyDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Current()
}

func evaluate(t testing.TB, set *Set, sub *Subject, v *Values) Result {
	t.Helper()
	result, err := set.Evaluate(context.Background(), sub, v)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestViolationSaysWhatWasMeasuredAgainstWhat(t *testing.T) {
	set := load(t, map[string]string{"example.yaml": example})
	var v Values
	v.Set(CredentialAge, 7384)
	r := evaluate(t, set, &Subject{Type: "token", Source: "vault"}, &v)
	want := &leastwisev1.Violation{PolicyId: "ephemeral-agent-token", Metric: "credential_age", Reason: "threshold_passed",
		Value: "2h3m", Threshold: "1h", Condition: "greater_than", Severity: "high", Channel: "security_team",
		Hint:      "Rotate token; review agent task definition for necessary scope reduction.",
		Deviation: float64(7384-3600) / 3600, Ladder: &leastwisev1.Ladder{GraceMs: 86_400_000}}
	if len(r.Violations) != 1 || !proto.Equal(r.Violations[0], want) {
		t.Errorf("%v\nexpected %v", r.Violations, want)
	}
	if !r.Asked || r.Ladder.Mode != leastwisev1.Ladder_OBSERVE || r.Ladder.Revoke {
		t.Errorf("%+v", r)
	}
}

func TestMetricOfAnotherSourceDoesNotApply(t *testing.T) {
	set := load(t, map[string]string{"example.yaml": example})
	var v Values
	v.Set(CredentialAge, 7384)
	v.Set(ScopeComplexity, 9)
	for source, metrics := range map[string]string{
		"vault": "credential_age", "cloudtrail": "permission_scope_complexity", "gcpaudit": "permission_scope_complexity", "spire": "",
	} {
		r := evaluate(t, set, &Subject{Source: source}, &v)
		got := ""
		for _, violation := range r.Violations {
			got += violation.Metric
		}
		if got != metrics {
			t.Errorf("%s: violated by %q; expected %q", source, got, metrics)
		}
	}
}

func TestPolicyThatNeedsAMetricOfAnotherSourceDoesNotApply(t *testing.T) {
	set := load(t, map[string]string{"p.yaml": `policy_id: p
match: all
metrics:
  - {name: credential_age, source: any, threshold: 1h, condition: greater_than}
  - {name: novelty, source: vault, threshold: 2, condition: greater_than}
action: [{severity: low}]
`})
	if got := set.Index(&Subject{Source: "vault"}).Policies(); len(got) != 1 {
		t.Errorf("vault: %v", got)
	}
	if got := set.Index(&Subject{Source: "spire"}).Policies(); len(got) != 0 {
		t.Errorf("spire: %v; expected none", got)
	}
	var v Values
	v.Set(CredentialAge, 7200)
	if r := evaluate(t, set, &Subject{Source: "spire"}, &v); r.Asked || len(r.Unknowns) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestFurthestMetricIsTold(t *testing.T) {
	set := load(t, map[string]string{"p.yaml": `policy_id: p
metrics:
  - {name: credential_age, source: any, threshold: 1h, condition: greater_than}
  - {name: credential_age, source: any, threshold: 2h, condition: greater_than}
  - {name: novelty, source: any, threshold: 2, condition: greater_than}
action: [{severity: low, channel: a}, {severity: critical, channel: b}]
`})
	var v Values
	v.Set(CredentialAge, 3*3600)
	v.Set(Novelty, 20)
	r := evaluate(t, set, &Subject{}, &v)
	if len(r.Violations) != 2 || r.Violations[0].Severity != "critical" || r.Violations[1].Channel != "a" {
		t.Fatalf("%v; expected one violation a channel, the worst first", r.Violations)
	}
	if v := r.Violations[0]; v.Metric != "novelty" || v.Value != "20" || v.Deviation != 9 {
		t.Errorf("%v", v)
	}
	v.Unset(Novelty)
	if v := evaluate(t, set, &Subject{}, &v).Violations[0]; v.Threshold != "1h" || v.Deviation != 2 {
		t.Errorf("%v; expected the threshold it stands furthest past", v)
	}
}

func TestWhatViolatesStandsPastItsThreshold(t *testing.T) {
	for _, c := range []struct {
		metric    Metric
		condition string
		threshold string
		value     float64
		want      float64
	}{
		{ElevationAttempts, "greater_or_equal", "5", 5, 0.2}, // as "more than 4" is
		{ElevationAttempts, "greater_or_equal", "5", 9, 1},
		{ElevationAttempts, "greater_than", "4", 5, 0.25},
		{ElevationAttempts, "greater_than", "0", 3, 3},
		{ElevationAttempts, "equals", "0", 0, 1},
		{ElevationAttempts, "not_equals", "0", 2, 2},
		{ScopeComplexity, "less_or_equal", "4", 4, 0.25},
		{ScopeWeight, "greater_or_equal", "10", 10, least},
		{CredentialAge, "greater_or_equal", "1h", 3600, least},
		{UtilizationRatio, "less_or_equal", "10%", 0.1, least},
		{UtilizationRatio, "less_than", "10%", 0, 1},
		{UnresolvedIdentity, "equals", "true", 1, 1},
		{UnresolvedIdentity, "equals", "false", 0, 1},
		{UnresolvedIdentity, "not_equals", "false", 1, 1},
	} {
		name := c.metric.String() + " " + c.condition + " " + c.threshold
		set := load(t, map[string]string{"p.yaml": `policy_id: p
metrics: [{name: ` + c.metric.String() + `, source: any, threshold: "` + c.threshold + `", condition: ` + c.condition + `}]
action: [{severity: low}]
`})
		var v Values
		v.Set(c.metric, c.value)
		r := evaluate(t, set, &Subject{}, &v)
		if len(r.Violations) != 1 {
			t.Errorf("%s: %v violates nothing", name, c.value)
			continue
		}
		if got := r.Violations[0].Deviation; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v stands %v past; expected %v", name, c.value, got, c.want)
		}
	}
}

func TestUnknownNeverViolatesAndIsTold(t *testing.T) {
	set := load(t, map[string]string{"p.yaml": `policy_id: p
metrics:
  - {name: utilization_ratio, source: any, threshold: 10%, condition: less_than}
  - {name: idle_time, source: any, threshold: 1d, condition: greater_than}
action: [{severity: low}]
`})
	var v Values
	v.Set(IdleTime, math.NaN())
	r := evaluate(t, set, &Subject{}, &v)
	if len(r.Violations) != 0 || r.Asked || r.Ladder == nil {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.Unknowns, []Unknown{{"p", UtilizationRatio}, {"p", IdleTime}}) {
		t.Errorf("unknowns %v", r.Unknowns)
	}
}

func TestNeverEndingIsLongerThanAnyThreshold(t *testing.T) {
	set := load(t, map[string]string{"p.yaml": `policy_id: p
metrics: [{name: lifetime, source: any, threshold: 36500d, condition: greater_than}]
action: [{severity: low}]
`})
	var v Values
	v.Set(Lifetime, math.Inf(1))
	r := evaluate(t, set, &Subject{}, &v)
	if len(r.Violations) != 1 || r.Violations[0].Value != "never ends" || math.IsInf(r.Violations[0].Deviation, 0) {
		t.Errorf("%v", r.Violations)
	}
}

// model is what the documentation says of violation and ladder, written a second time, without OPA.
func model(set *Set, sub *Subject, v *Values) ([]string, *leastwisev1.Ladder) {
	ids, hit := []string{}, []*Policy{}
	top := Observe
	for _, c := range set.Index(sub).candidates {
		holding := 0
		for _, t := range c.thresholds {
			if value, known := v.Get(t.Metric); known && t.Condition.holds(value, t.Value) {
				holding++
			}
		}
		if holding == len(c.thresholds) || holding > 0 && !c.policy.MatchAll {
			ids, hit = append(ids, c.policy.ID), append(hit, c.policy)
			top = max(top, c.policy.Enforcement.Mode)
		}
	}
	ladder := &leastwisev1.Ladder{Mode: leastwisev1.Ladder_Mode(top)}
	untold := true
	reminders := map[time.Duration]bool{}
	for _, p := range hit {
		e := p.Enforcement
		if e.Mode != top {
			continue
		}
		if ms := e.Grace.Milliseconds(); ladder.GraceMs == 0 || ms < ladder.GraceMs {
			ladder.GraceMs = ms
		}
		for _, d := range e.Remind {
			reminders[d] = true
		}
		if top == Enforce {
			ladder.Revoke = ladder.Revoke || e.Revoke
			ladder.Reissue = ladder.Reissue || e.Revoke && e.Reissue
			ladder.RequiresApproval = ladder.RequiresApproval || e.Approval
			untold = untold && (!e.Revoke || e.RevokeUntold != "")
		}
	}
	ladder.RevokeUntold = ladder.Revoke && untold
	for d := range reminders {
		if d.Milliseconds() < ladder.GraceMs {
			ladder.RemindMs = append(ladder.RemindMs, d.Milliseconds())
		}
	}
	slices.SortFunc(ladder.RemindMs, func(a, b int64) int { return int(b - a) })
	return ids, ladder
}

func TestDecisionsAreThoseOfTheModel(t *testing.T) {
	modes := map[leastwisev1.Ladder_Mode]int{}
	flags := map[string]int{}
	seeds(t, 10, func(t *testing.T, r *rand.Rand) {
		set := randomSet(t, r, 1+r.IntN(12))
		for range 150 {
			sub, v := randomSubject(r), randomValues(r)
			got := evaluate(t, set, sub, v)
			ids, ladder := model(set, sub, v)
			if !slices.Equal(violated(&got), ids) || !proto.Equal(got.Ladder, ladder) {
				t.Fatalf("%+v\n%s\n%v %v\nexpected\n%v %v", sub, v, violated(&got), got.Ladder, ids, ladder)
			}
			modes[ladder.Mode]++
			for name, is := range map[string]bool{"revoke": ladder.Revoke, "reissue": ladder.Reissue, "untold": ladder.RevokeUntold,
				"approval": ladder.RequiresApproval, "remind": len(ladder.RemindMs) > 1} {
				if is {
					flags[name]++
				}
			}
		}
	})
	if len(modes) != 3 || len(flags) != 5 {
		t.Errorf("not all was seen: modes %v, %v", modes, flags)
	}
}

func TestSetServesManyAtOnce(t *testing.T) {
	set := randomSet(t, rand.New(rand.NewPCG(5, 5)), 20)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 9))
			for range 100 {
				sub, v := randomSubject(r), randomValues(r)
				got, err := set.Evaluate(context.Background(), sub, v)
				if err != nil {
					t.Error(err)
					return
				}
				if ids, _ := model(set, sub, v); !slices.Equal(violated(&got), ids) {
					t.Errorf("%v; expected %v", violated(&got), ids)
				}
			}
		})
	}
	wg.Wait()
}

func TestOverridingBundleJudgesUnknownValuesItself(t *testing.T) {
	dir, policies := t.TempDir(), t.TempDir()
	if err := WriteBundle(dir); err != nil {
		t.Fatal(err)
	}
	write(t, policies, map[string]string{"example.yaml": example})
	write(t, dir, map[string]string{"decision.rego": `package leastwise.decision

decision := {
	"violations": {{"policy_id": p.policy_id, "reason": "value_unknown", "metrics": [p.conditions[0][0]]} |
		some p in input.policies
		not input.values[p.conditions[0][0]]
	},
	"ladder": {"mode": "notify", "grace_ms": 0, "remind_ms": [], "asks": {}},
}

holds(_, _, _)
`, "decision_test.rego": "package leastwise.decision_test\n"})
	engine, err := New(context.Background(), Options{PolicyDir: policies, BundleDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r := evaluate(t, engine.Current(), &Subject{Source: "vault"}, &Values{})
	if len(r.Violations) != 1 || r.Violations[0].Value != "unknown" || r.Violations[0].Reason != "value_unknown" ||
		r.Ladder.Mode != leastwisev1.Ladder_NOTIFY {
		t.Errorf("%+v", r)
	}
}

func TestRevisionFollowsMeaningNotLayout(t *testing.T) {
	base := load(t, map[string]string{"a.yaml": example}).Revision()
	if len(base) != 12 {
		t.Errorf("revision %q", base)
	}
	for name, c := range map[string]struct {
		files map[string]string
		same  bool
	}{
		"comment":     {map[string]string{"a.yaml": "# more\n" + example}, true},
		"other file":  {map[string]string{"b.yml": example}, true},
		"threshold":   {map[string]string{"a.yaml": strings.Replace(example, "1h", "2h", 1)}, false},
		"hint":        {map[string]string{"a.yaml": strings.Replace(example, "Rotate", "Keep", 1)}, false},
		"source":      {map[string]string{"a.yaml": strings.Replace(example, `"iam"`, `"aws"`, 1)}, false},
		"match":       {map[string]string{"a.yaml": strings.Replace(example, `"iam"`, `"vault"`, 1) + "match: all\n"}, false},
		"applies_to":  {map[string]string{"a.yaml": example + "applies_to: {types: [token]}\n"}, false},
		"enforcement": {map[string]string{"a.yaml": example + "enforcement: {mode: notify}\n"}, false},
		"exception":   {map[string]string{"a.yaml": example + "exception: {max_duration: 1d}\n"}, false},
		"Rego":        {map[string]string{"a.yaml": example, "n.rego": nightly}, false},
	} {
		if got := load(t, c.files).Revision(); (got == base) != c.same {
			t.Errorf("%s: revision %s, before %s", name, got, base)
		}
	}
}

func TestAdmissionAsksTheSamePolicies(t *testing.T) {
	set := load(t, map[string]string{"a.yaml": example + "enforcement: {mode: enforce}\n"})
	vault := Subject{Type: "token", Source: "vault", Owner: "payments"}
	hour, longer := time.Hour, time.Hour+time.Second
	nine := 9.0
	for name, c := range map[string]struct {
		request Request
		allow   bool
		says    string
	}{
		"short":             {Request{Subject: vault, Lifetime: &hour}, true, ""},
		"long":              {Request{Subject: vault, Lifetime: &longer}, false, "threshold_passed credential_age 1h 1h high"},
		"for ever":          {Request{Subject: vault, NeverExpires: true}, false, "threshold_passed credential_age never ends 1h high"},
		"nothing said":      {Request{Subject: vault}, false, "value_unknown credential_age unknown 1h high"},
		"of another source": {Request{Subject: Subject{Source: "spire"}}, true, ""},
		"broad":             {Request{Subject: Subject{Source: "cloudtrail"}, Complexity: &nine}, false, "threshold_passed permission_scope_complexity 9 5 high"},
	} {
		got, err := set.Admit(context.Background(), &c.request)
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, f := range got.Justify {
			said += strings.Join([]string{f.Reason, f.Metric.String(), f.Value, f.Threshold, f.Severity}, " ")
		}
		if got.Allow != c.allow || said != c.says {
			t.Errorf("%s: allowed %v, justify %q; expected %v, %q", name, got.Allow, said, c.allow, c.says)
		}
	}
}
