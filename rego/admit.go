package rego

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Request is a credential that somebody wants issued.
type Request struct {
	Subject Subject
	// Lifetime is the requested time to live; nil if it is not known. It is ignored if NeverExpires is set.
	Lifetime     *time.Duration
	NeverExpires bool
	// Complexity and Weight of the requested scope; nil if they are not known.
	Complexity, Weight *float64
}

// Finding is one policy that a requested credential would stand past, or could.
type Finding struct {
	PolicyID string
	// Reason: threshold_passed, or value_unknown where the request does not say.
	Reason           string
	Metric           Metric
	Value, Threshold string // as a person reads them; Value is "unknown" if it is not known
	Severity, Hint   string
}

// Admission says whether a credential may be issued as requested.
type Admission struct {
	// Allow: nothing has to be justified.
	Allow bool
	// Justify are findings under enforced policies: each needs an approved exception first. What the request does not say
	// counts as a finding, since silence must not be the way around a policy.
	Justify []Finding
	// Advise are findings under policies that only observe or notify.
	Advise []Finding
}

// Admit asks the same policies at issuance. It fails with ErrEvaluation; nothing may be allowed then.
func (s *Set) Admit(ctx context.Context, r *Request) (Admission, error) {
	var request [][2]*ast.Term
	switch {
	case r.NeverExpires:
		request = append(request, pair("lifetime_seconds", ast.FloatNumberTerm(unbounded)))
	case r.Lifetime != nil:
		request = append(request, pair("lifetime_seconds", ast.FloatNumberTerm(r.Lifetime.Seconds())))
	}
	for _, f := range []struct {
		metric Metric
		value  *float64
	}{{ScopeComplexity, r.Complexity}, {ScopeWeight, r.Weight}} {
		if f.value != nil {
			request = append(request, pair(f.metric.String(), number(*f.value)))
		}
	}
	answer, err := s.query(ctx, &s.admit, ast.NewObject(
		pair("subject", r.Subject.term()), pair("request", ast.ObjectTerm(request...))))
	if err != nil {
		return Admission{}, err
	}
	out := Admission{Allow: answer.truth("allow")}
	for _, list := range []struct {
		key  string
		into *[]Finding
	}{{"justify", &out.Justify}, {"advise", &out.Advise}} {
		if *list.into, err = s.readFindings(answer.get(list.key)); err != nil {
			return Admission{}, fmt.Errorf("%w: %s: %w", ErrEvaluation, list.key, err)
		}
	}
	return out, nil
}

func (s *Set) readFindings(term *ast.Term) ([]Finding, error) {
	if term == nil {
		return nil, fmt.Errorf("missing; expected a set")
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("%s; expected a set", ast.ValueName(term.Value))
	}
	var out []Finding
	err := set.Iter(func(t *ast.Term) error {
		d, err := documentOf(t)
		if err != nil {
			return err
		}
		p, ok := s.Policy(d.text("policy_id"))
		metric, known := ParseMetric(d.text("metric"))
		if !ok || !known {
			return fmt.Errorf("finding of %q by %q, which the set does not have", d.text("policy_id"), d.text("metric"))
		}
		f := Finding{PolicyID: p.ID, Reason: d.text("reason"), Metric: metric, Value: "unknown",
			Threshold: Format(metric, d.number("threshold"))}
		if d.get("value") != nil {
			f.Value = Format(metric, inf(d.number("value")))
		}
		for _, a := range p.Actions {
			if slices.Index(severities, a.Severity) > slices.Index(severities, f.Severity) {
				f.Severity, f.Hint = a.Severity, a.Hint
			}
		}
		out = append(out, f)
		return nil
	})
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(slices.Index(severities, b.Severity)-slices.Index(severities, a.Severity),
			cmp.Compare(a.PolicyID, b.PolicyID), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Threshold, b.Threshold))
	})
	return out, err
}
