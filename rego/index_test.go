package rego

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// truths is the naive way: every condition of every policy that applies, as a text of t, f and ?.
func truths(ix *Index, v *Values) string {
	var b strings.Builder
	for _, c := range ix.candidates {
		for _, t := range c.thresholds {
			value, known := v.Get(t.Metric)
			switch {
			case !known:
				b.WriteByte('?')
			case t.Condition.holds(value, t.Value):
				b.WriteByte('t')
			default:
				b.WriteByte('f')
			}
		}
	}
	return b.String()
}

func TestSignatureChangesExactlyWhenSomeTruthChanges(t *testing.T) {
	seeds(t, 20, func(t *testing.T, r *rand.Rand) {
		set := randomSet(t, r, 40)
		for range 30 {
			ix := set.Index(randomSubject(r))
			before := randomValues(r)
			for range 60 {
				now := *before
				m := Metric(r.IntN(int(NumMetrics)))
				if r.IntN(8) == 0 {
					now.Unset(m)
				} else {
					now.Set(m, randomValue(r, m))
				}
				sameTruth := truths(ix, before) == truths(ix, &now)
				sameSignature := ix.Signature(before) == ix.Signature(&now)
				if sameTruth != sameSignature {
					t.Fatalf("%s\n%s\nsame truth %v, same signature %v", before, &now, sameTruth, sameSignature)
				}
				before = &now
			}
		}
	})
}

func TestSignaturesOfDifferentIndexesDiffer(t *testing.T) {
	set := randomSet(t, rand.New(rand.NewPCG(1, 1)), 20)
	var v Values
	signatures := map[Signature]*Index{}
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		ix := set.Index(randomSubject(r))
		if other, ok := signatures[ix.Signature(&v)]; ok && other != ix {
			t.Fatal("two indexes share a signature, so a change of what applies would go unseen")
		}
		signatures[ix.Signature(&v)] = ix
	}
	if len(signatures) < 5 {
		t.Fatalf("only %d different indexes", len(signatures))
	}
}

func TestNextCrossingMissesNoneAndProgresses(t *testing.T) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	crossings := 0
	seeds(t, 10, func(t *testing.T, r *rand.Rand) {
		set := randomSet(t, r, 30)
		for range 20 {
			ix := set.Index(randomSubject(r))
			v := randomValues(r)
			at := time.Duration(0)
			for steps := 0; ; steps++ {
				next := ix.NextCrossing(v.after(at), start.Add(at))
				end := 40 * time.Second
				if !next.IsZero() {
					end = min(end, next.Sub(start)-3*time.Millisecond)
				}
				for probe := at; probe <= end; probe += 50 * time.Millisecond {
					if truths(ix, v.after(probe)) != truths(ix, v.after(at)) {
						t.Fatalf("after %v from %s a truth changed; the next crossing was said to be at %v", probe, v, next.Sub(start))
					}
				}
				if truths(ix, v.after(end)) != truths(ix, v.after(at)) && end > at {
					t.Fatalf("a truth changed more than 3 ms before the crossing at %v", next.Sub(start))
				}
				if next.IsZero() || next.Sub(start) > 40*time.Second {
					break
				}
				crossings++
				if next.Sub(start) <= at {
					t.Fatalf("no progress: at %v told %v", at, next.Sub(start))
				}
				if truths(ix, v.after(next.Sub(start))) == truths(ix, v.after(at)) {
					t.Fatalf("nothing has changed at the crossing told, %v", next.Sub(start))
				}
				at = next.Sub(start)
				if steps > 2000 {
					t.Fatal("does not end")
				}
			}
		}
	})
	if crossings < 100 {
		t.Fatalf("only %d crossings were seen", crossings)
	}
}

func TestNextCrossingHoldsAtGreatAges(t *testing.T) {
	policies, err := ParsePolicies("p.yaml", []byte("policy_id: p\nmetrics: [{name: credential_age, source: any, threshold: 10950d, condition: greater_than}]\naction: [{severity: low}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	ix := newIndex([]candidate{{policy: &policies[0], thresholds: policies[0].thresholds()}}, 0, 0)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var v Values
	v.Set(CredentialAge, 10949*86400+0.123456)
	next := ix.NextCrossing(&v, now)
	if then := v.after(next.Sub(now)); ix.Signature(then) == ix.Signature(&v) {
		t.Errorf("at %v, %s: the threshold is not passed yet", next, then)
	}
}

func TestNeverEndingCredentialHasNoCrossingByRemainingValidity(t *testing.T) {
	policies, err := ParsePolicies("p.yaml", []byte("policy_id: p\nmetrics: [{name: remaining_validity, source: any, threshold: 1d, condition: less_than}]\naction: [{severity: low}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	ix := newIndex([]candidate{{policy: &policies[0], thresholds: policies[0].thresholds()}}, 0, 0)
	var v Values
	v.Set(RemainingValidity, math.Inf(1))
	if next := ix.NextCrossing(&v, time.Unix(0, 0)); !next.IsZero() {
		t.Errorf("crosses at %v", next)
	}
	v.Set(RemainingValidity, 86400+10)
	if next := ix.NextCrossing(&v, time.Unix(0, 0)); next.Sub(time.Unix(0, 0)).Round(10*time.Millisecond) != 10*time.Second {
		t.Errorf("crosses at %v; expected ten seconds", next)
	}
}

func TestSubjectsAlikeShareOneIndex(t *testing.T) {
	set := randomSet(t, rand.New(rand.NewPCG(3, 3)), 50)
	r := rand.New(rand.NewPCG(4, 4))
	distinct := map[*Index]bool{}
	for range 5000 {
		sub := randomSubject(r)
		distinct[set.Index(sub)] = true
		again := *sub
		again.Credential = "vault/default/token/other"
		if set.Index(sub) != set.Index(&again) {
			t.Fatal("two credentials that differ only by name have two indexes")
		}
	}
	if len(distinct) > 1000 {
		t.Errorf("%d indexes for %d subjects", len(distinct), 5000)
	}
}

// The index in Go and the rules in Rego have to agree on what applies: one serves the processor, the other whoever asks OPA.
func TestIndexAndRegoAgreeOnWhatApplies(t *testing.T) {
	seeds(t, 5, func(t *testing.T, r *rand.Rand) {
		set := randomSet(t, r, 30)
		for range 100 {
			sub, v := randomSubject(r), randomValues(r)
			ours, err := set.Evaluate(context.Background(), sub, v)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := set.query(context.Background(), &set.decide, ast.NewObject(pair("subject", sub.term()), pair("values", v.term())))
			if err != nil {
				t.Fatal(err)
			}
			theirs := []string{}
			set := answer.get("violations").Value.(ast.Set)
			_ = set.Iter(func(t *ast.Term) error {
				d, err := documentOf(t)
				theirs = append(theirs, d.text("policy_id"))
				return err
			})
			slices.Sort(theirs)
			if got := violated(&ours); !slices.Equal(got, theirs) {
				t.Fatalf("%+v\n%s\nindex %v\nRego  %v", sub, v, got, theirs)
			}
		}
	})
}

func violated(r *Result) []string {
	out := []string{}
	for _, v := range r.Violations {
		out = append(out, v.PolicyId)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
