package rego

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// fiftyPolicies writes fifty policies of the kinds that sites have: two thresholds each, most of them not passed.
func fiftyPolicies(tb testing.TB) *Set {
	tb.Helper()
	dir := tb.TempDir()
	for i := range 50 {
		metric, threshold := "credential_age", fmt.Sprintf("%dh", i+1)
		if i%2 == 1 {
			metric, threshold = "permission_scope_complexity", fmt.Sprint(i+1)
		}
		text := fmt.Sprintf(`policy_id: "p%02d"
metrics:
  - {name: %s, source: vault, threshold: "%s", condition: greater_than}
  - {name: idle_time, source: vault, threshold: "%dd", condition: greater_than}
action:
  - {severity: high, channel: team, remediation_hint: "Rotate."}
enforcement: {mode: enforce, grace: "%dh", remind: ["10m"], revoke: true, reissue: true}
`, i, metric, threshold, i+1, i+1)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("p%02d.yaml", i)), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	engine, err := New(context.Background(), Options{PolicyDir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	return engine.Current()
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// BenchmarkDecision50Policies is one decision with 50 policies loaded, all of which apply; the credential stands past 1, 3,
// 10 or all of them. The budget is a median of 150 µs for a credential that stands past a few.
func BenchmarkDecision50Policies(b *testing.B) {
	set := fiftyPolicies(b)
	sub := &Subject{Credential: "vault/default/token/a", Type: "token", Source: "vault", Owner: "team",
		Labels: map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}, Policies: []string{"default", "ingest"}}
	for _, c := range []struct {
		passed int
		age    time.Duration
		scope  float64
	}{{1, 90 * time.Minute, 1}, {3, 4 * time.Hour, 3}, {10, 10 * time.Hour, 11}, {50, 100 * time.Hour, 100}} {
		b.Run(fmt.Sprintf("past=%d", c.passed), func(b *testing.B) {
			var v Values
			v.Set(CredentialAge, c.age.Seconds())
			v.Set(ScopeComplexity, c.scope)
			v.Set(IdleTime, 5)
			v.Set(Lifetime, 720*3600)
			v.Set(UnresolvedIdentity, 0)
			b.ReportAllocs()
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				r, err := set.Evaluate(context.Background(), sub, &v)
				times = append(times, time.Since(start))
				if err != nil || len(r.Violations) != c.passed {
					b.Fatal(len(r.Violations), err)
				}
			}
			b.ReportMetric(float64(median(times).Nanoseconds())/1000, "µs/median")
		})
	}
}

// BenchmarkSignature50Policies is what every event costs where nothing crosses a threshold.
func BenchmarkSignature50Policies(b *testing.B) {
	ix := fiftyPolicies(b).Index(&Subject{Type: "token", Source: "vault"})
	var v Values
	v.Set(CredentialAge, 7*3600)
	v.Set(ScopeComplexity, 30)
	v.Set(IdleTime, 5)
	before := ix.Signature(&v)
	b.ReportAllocs()
	for b.Loop() {
		if ix.Signature(&v) != before {
			b.Fatal("signature changed")
		}
	}
}

// BenchmarkNextCrossing50Policies is what arming a credential's timer costs.
func BenchmarkNextCrossing50Policies(b *testing.B) {
	ix := fiftyPolicies(b).Index(&Subject{Type: "token", Source: "vault"})
	var v Values
	v.Set(CredentialAge, 7*3600)
	v.Set(IdleTime, 5)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		if ix.NextCrossing(&v, now).IsZero() {
			b.Fatal("no crossing")
		}
	}
}

// BenchmarkIndex50Policies is what a new credential costs.
func BenchmarkIndex50Policies(b *testing.B) {
	set := fiftyPolicies(b)
	sub := &Subject{Type: "token", Source: "vault"}
	b.ReportAllocs()
	for b.Loop() {
		set.Index(sub)
	}
}
