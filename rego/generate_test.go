package rego

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Generators of random policies, subjects and values, all from a small world, so that things meet.

var (
	someTypes    = []string{"token", "lease", "certificate"}
	someSources  = []string{"vault", "cloudtrail", "gcpaudit", "spire"}
	someOwners   = []string{"", "payments", "platform"}
	someAgents   = []string{"", "ingest", "diagnostic"}
	someRoles    = []string{"", "ingest", "reader"}
	someGrants   = []string{"default", "root", "storage-write"}
	yamlSources  = []string{"vault", "iam", "any", "spire", "aws", "vault", "any"}
	somePatterns = []string{"*", "in*", "payments", "p*", "*-write", "{root,default}", "vault/*/entity/?"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func randomThreshold(r *rand.Rand, m Metric) string {
	switch m.unit() {
	case duration:
		return fmt.Sprintf("%ds", 1+r.IntN(20))
	case share:
		return fmt.Sprintf("0.%d", 1+r.IntN(8))
	case ratio:
		return fmt.Sprintf("%d%%", 10*(1+r.IntN(20)))
	case flag:
		return pick(r, []string{"true", "false"})
	}
	return fmt.Sprint(1 + r.IntN(10))
}

func randomPolicy(r *rand.Rand, id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy_id: %s\naction: [{severity: %s, channel: c}]\n", id, pick(r, severities))
	source := pick(r, yamlSources)
	all := r.IntN(3) == 0
	if all {
		b.WriteString("match: all\n")
	}
	b.WriteString("metrics:\n")
	for range 1 + r.IntN(3) {
		if !all {
			source = pick(r, yamlSources)
		}
		m := Metric(r.IntN(int(NumMetrics)))
		c := Condition(r.IntN(int(numConditions)))
		switch {
		case m.unit() == flag:
			c = pick(r, []Condition{Equals, NotEquals})
		case m.rate() != 0:
			c = Condition(r.IntN(4))
		}
		fmt.Fprintf(&b, "  - {name: %s, source: %s, threshold: %q, condition: %s}\n", m, source, randomThreshold(r, m), c)
	}
	if r.IntN(2) == 0 {
		b.WriteString("applies_to:\n")
		n := r.IntN(7)
		if n == 0 || r.IntN(4) == 0 {
			fmt.Fprintf(&b, "  types: [%s]\n", pick(r, someTypes))
		}
		if n == 1 {
			fmt.Fprintf(&b, "  identities: [%q]\n", pick(r, somePatterns))
		}
		if n == 2 {
			fmt.Fprintf(&b, "  owners: [%q]\n", pick(r, somePatterns))
		}
		if n == 3 || r.IntN(4) == 0 {
			fmt.Fprintf(&b, "  policies: [%q]\n", pick(r, somePatterns))
		}
		if n == 4 {
			fmt.Fprintf(&b, "  labels: {role_name: %q}\n", pick(r, somePatterns))
		}
		if n >= 5 {
			fmt.Fprintf(&b, "  sources: [%s]\n", pick(r, []string{"vault", "iam", "spire"}))
		}
		if strings.HasSuffix(b.String(), "applies_to:\n") {
			b.WriteString("  types: [token]\n")
		}
	}
	if r.IntN(3) > 0 {
		fmt.Fprintf(&b, "enforcement:\n  mode: %s\n  grace: %dm\n", pick(r, modeNames), 10+r.IntN(5)*10)
		for _, key := range []string{"revoke", "approval"} {
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "  %s: true\n", key)
			}
		}
		if r.IntN(3) == 0 {
			b.WriteString("  reissue: true\n")
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "  remind: [%dm, 5m]\n", 1+r.IntN(9))
		}
		if r.IntN(2) == 0 {
			b.WriteString("  revoke_untold: \"in these exact words\"\n")
		}
	}
	return b.String()
}

func randomSet(t testing.TB, r *rand.Rand, n int) *Set {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{}
	for i := range n {
		id := fmt.Sprintf("p%03d", i)
		files[id+".yaml"] = randomPolicy(r, id)
	}
	write(t, dir, files)
	engine, err := New(context.Background(), Options{PolicyDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Current()
}

func randomSubject(r *rand.Rand) *Subject {
	sub := &Subject{Credential: "vault/default/token/a", Type: pick(r, someTypes), Source: pick(r, someSources),
		Owner: pick(r, someOwners), Agent: pick(r, someAgents), Labels: map[string]string{}}
	if r.IntN(2) == 0 {
		sub.Principal = fmt.Sprintf("vault/default/entity/%d", r.IntN(3))
	}
	if role := pick(r, someRoles); role != "" {
		sub.Labels["role_name"] = role
	}
	for range r.IntN(3) {
		sub.Policies = append(sub.Policies, pick(r, someGrants))
	}
	return sub
}

// randomValue is often exactly a threshold, since that is where mistakes are.
func randomValue(r *rand.Rand, m Metric) float64 {
	if r.IntN(12) == 0 {
		return math.Inf(1)
	}
	near := []float64{0, 0, 0.001, -0.001, 0.5}
	switch m.unit() {
	case duration:
		return max(0, float64(r.IntN(22))+pick(r, near))
	case share:
		return min(1, float64(r.IntN(11))/10)
	case ratio:
		return float64(r.IntN(22)) / 10
	case flag:
		return float64(r.IntN(2))
	}
	return float64(r.IntN(12))
}

func randomValues(r *rand.Rand) *Values {
	var v Values
	for m := range NumMetrics {
		if r.IntN(4) > 0 || m == UnresolvedIdentity {
			value := randomValue(r, m)
			if math.IsInf(value, 1) && m.unit() != duration {
				value = 3
			}
			v.Set(m, value)
		}
	}
	return &v
}

// after gives the values that the passing of time makes of v.
func (v *Values) after(d time.Duration) *Values {
	out := *v
	for m := range NumMetrics {
		if value, known := v.Get(m); known {
			out.Set(m, value+m.rate()*d.Seconds())
		}
	}
	return &out
}

func seeds(t *testing.T, n int, test func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for seed := range n {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { test(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
	}
}
