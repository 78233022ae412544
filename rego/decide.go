package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	oparego "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrEvaluation says that OPA could not decide. No violation may be concluded from it, and no absence of one.
var ErrEvaluation = errors.New("policy evaluation failed")

// customTimeout bounds free-form Rego, which can be made arbitrarily slow. The embedded bundle needs no bound.
const customTimeout = time.Second

// Unknown is a condition that could not be judged, because its value is not known.
type Unknown struct {
	Policy string
	Metric Metric
}

// Result is what the policies say of one credential.
type Result struct {
	// Violations: one for each violated policy and channel that it names, worst first; the metric is the one that stands
	// furthest past its threshold.
	Violations []*leastwisev1.Violation
	// Ladder is what is to happen; mode observe and nothing else if there is no violation.
	Ladder *leastwisev1.Ladder
	// Unknowns never violate; they are here to be shown.
	Unknowns []Unknown
	// Asked: OPA was asked; otherwise no condition held.
	Asked bool
}

// Evaluate decides. It asks OPA only with the policies of which a condition holds (with an overriding bundle: holds or is
// unknown), and not at all where there is none and no free-form Rego. It is safe for concurrent use, never blocks on
// anything outside, and fails with ErrEvaluation.
func (s *Set) Evaluate(ctx context.Context, sub *Subject, v *Values) (Result, error) {
	ix := s.Index(sub)
	var result Result
	asking := make([]*ast.Term, 0, 8)
	for i := range ix.candidates {
		c := &ix.candidates[i]
		ask := false
		for _, t := range c.thresholds {
			value, known := v.Get(t.Metric)
			switch {
			case !known:
				result.Unknowns = append(result.Unknowns, Unknown{c.policy.ID, t.Metric})
				ask = ask || s.overridden
			case t.Condition.holds(value, t.Value):
				ask = true
			}
		}
		if ask {
			asking = append(asking, c.term)
		}
	}
	if len(asking) == 0 && len(s.custom) == 0 {
		result.Ladder = &leastwisev1.Ladder{}
		return result, nil
	}
	result.Asked = true
	input := ast.NewObject(
		pair("subject", sub.term()),
		pair("values", v.term()),
		pair("policies", ast.ArrayTerm(asking...)),
	)
	answer, err := s.query(ctx, &s.decide, input)
	if err != nil {
		return Result{}, err
	}
	if err := s.readViolations(answer.get("violations"), v, &result); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrEvaluation, err)
	}
	if result.Ladder, err = readLadder(answer.get("ladder")); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrEvaluation, err)
	}
	addCare(&result)
	return result, nil
}

// addCare gives the whole ladder the care that the violated policies of its
// mode ask for, all of it.
func addCare(r *Result) {
	var speaking []*leastwisev1.Ladder
	for _, v := range r.Violations {
		if v.Ladder != nil && v.Ladder.Mode == r.Ladder.Mode {
			schemas.Careful(r.Ladder, v.Ladder)
			speaking = append(speaking, v.Ladder)
		}
	}
	r.Ladder.MaxCollateral = schemas.LeastCollateral(speaking...)
}

// query evaluates a prepared query to an object.
func (s *Set) query(ctx context.Context, q *oparego.PreparedEvalQuery, input ast.Value) (document, error) {
	options := []oparego.EvalOption{
		oparego.EvalParsedInput(input), oparego.EvalTransaction(s.txn), oparego.EvalMetrics(metrics.NoOp()),
		oparego.EvalGenerateJSON(func(t *ast.Term, _ *oparego.EvalContext) (any, error) { return t, nil }),
	}
	if len(s.custom) == 0 && !s.overridden {
		options = append(options, oparego.EvalExternalCancel(topdown.NewCancel())) // saves a goroutine a query
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, customTimeout)
		defer cancel()
	}
	rows, err := q.Eval(ctx, options...)
	if err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrEvaluation, err)
	}
	if len(rows) != 1 || len(rows[0].Expressions) != 1 {
		return document{}, fmt.Errorf("%w: the bundle gives no answer", ErrEvaluation)
	}
	term, _ := rows[0].Expressions[0].Value.(*ast.Term)
	return documentOf(term)
}

func (s *Set) readViolations(term *ast.Term, v *Values, result *Result) error {
	if term == nil {
		return errors.New("the bundle's decision has no violations")
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return fmt.Errorf("violations: %s; expected a set", ast.ValueName(term.Value))
	}
	err := set.Iter(func(t *ast.Term) error {
		d, err := documentOf(t)
		if err != nil {
			return err
		}
		if d.text("reason") == "rego" {
			violation, err := customViolation(d)
			if err == nil {
				violation.Ladder, err = readStance(d)
			}
			result.Violations = append(result.Violations, violation)
			return err
		}
		list, err := s.policyViolations(d, v)
		if err != nil {
			return err
		}
		ladder, err := readStance(d)
		if p, _ := s.Policy(d.text("policy_id")); p != nil && p.Enforcement.Care != nil && ladder != nil {
			schemas.Careful(ladder, p.Enforcement.Care)
			ladder.MaxCollateral = p.Enforcement.Care.MaxCollateral
		}
		for _, violation := range list {
			violation.Ladder = ladder
		}
		result.Violations = append(result.Violations, list...)
		return err
	})
	slices.SortFunc(result.Violations, func(a, b *leastwisev1.Violation) int {
		return cmp.Or(
			slices.Index(severities, b.Severity)-slices.Index(severities, a.Severity),
			cmp.Compare(a.PolicyId, b.PolicyId), cmp.Compare(a.Channel, b.Channel),
			cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Hint, b.Hint))
	})
	return err
}

// policyViolations fills what the YAML knows into what the bundle found. Of several metrics the one that stands furthest
// past its threshold is told.
func (s *Set) policyViolations(d document, v *Values) ([]*leastwisev1.Violation, error) {
	p, ok := s.Policy(d.text("policy_id"))
	if !ok {
		return nil, fmt.Errorf("violation of %q, which is no policy of the set", d.text("policy_id"))
	}
	named, ok := termArray(d.get("metrics"))
	if !ok || named.Len() == 0 {
		return nil, fmt.Errorf("violation of %q by no metric", p.ID)
	}
	var worst *Threshold
	furthest := math.Inf(-1)
	for i := range p.Metrics {
		t := &p.Metrics[i]
		if !contains(named, t.Metric.String()) {
			continue
		}
		if far := t.deviation(v); far > furthest {
			worst, furthest = t, far
		}
	}
	if worst == nil {
		return nil, fmt.Errorf("violation of %q by %v, which it does not name", p.ID, named)
	}
	shown := "unknown"
	if value, known := v.Get(worst.Metric); known {
		shown = Format(worst.Metric, value)
	}
	out := make([]*leastwisev1.Violation, 0, len(p.Actions))
	for _, a := range p.Actions {
		out = append(out, &leastwisev1.Violation{
			PolicyId: p.ID, Metric: worst.Metric.String(), Reason: d.text("reason"), Value: shown, Threshold: worst.Text,
			Condition: worst.Condition.String(), Severity: a.Severity, Channel: a.Channel, Hint: a.Hint, Deviation: max(0, furthest),
		})
	}
	return out, nil
}

// deviation is how far a value stands past the threshold, as a share of it; the bare distance where the threshold is 0;
// negative where the condition does not hold or the value is unknown. It is bounded, since JSON can not write infinity.
// What violates is never 0 past its threshold: "at least 5" is passed by the fifth as "more than 4" is, what must not equal
// the threshold stands there wholly, and what is measured finely and stands right at it is past by the least there is.
func (t *Threshold) deviation(v *Values) float64 {
	value, known := v.Get(t.Metric)
	if !known || !t.Condition.holds(value, t.Value) {
		return -1
	}
	if t.Condition == Equals {
		return 1
	}
	far := math.Abs(value - t.Value)
	if (t.Condition == GreaterOrEqual || t.Condition == LessOrEqual) && t.Metric.whole() {
		far++
	}
	if t.Value != 0 {
		far /= math.Abs(t.Value)
	}
	return min(max(far, least), unbounded)
}

// least is the smallest deviation of what violates.
const least = 0.001

func customViolation(d document) (*leastwisev1.Violation, error) {
	out := &leastwisev1.Violation{
		PolicyId: d.text("policy_id"), Metric: d.shown("metric"), Reason: "rego", Value: d.shown("value"),
		Threshold: d.shown("threshold"), Condition: d.shown("condition"), Severity: cmp.Or(d.text("severity"), "medium"),
		Channel: d.text("channel"), Hint: d.text("hint"), Deviation: d.number("deviation"),
	}
	if !slices.Contains(severities, out.Severity) {
		return nil, fmt.Errorf("policy %q: severity %q; expected one of %v", out.PolicyId, out.Severity, severities)
	}
	if enforcement := d.get("enforcement"); enforcement != nil {
		e, err := documentOf(enforcement)
		if err != nil {
			return nil, fmt.Errorf("policy %q: enforcement: %w", out.PolicyId, err)
		}
		if e.get("mode") != nil && !slices.Contains(modeNames, e.text("mode")) {
			return nil, fmt.Errorf("policy %q: enforcement.mode %q; expected one of %v", out.PolicyId, e.text("mode"), modeNames)
		}
	}
	return out, nil
}

// readStance is what one violated policy asks for by itself; nil if a bundle of the site's own does not say.
func readStance(violation document) (*leastwisev1.Ladder, error) {
	term := violation.get("stance")
	if term == nil {
		return nil, nil
	}
	return readLadder(term)
}

func readLadder(term *ast.Term) (*leastwisev1.Ladder, error) {
	d, err := documentOf(term)
	if err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	mode := slices.Index(modeNames, d.text("mode"))
	if mode < 0 {
		return nil, fmt.Errorf("ladder: mode %q; expected one of %v", d.text("mode"), modeNames)
	}
	asks, err := documentOf(d.get("asks"))
	if err != nil {
		return nil, fmt.Errorf("ladder: asks: %w", err)
	}
	out := &leastwisev1.Ladder{
		Mode: leastwisev1.Ladder_Mode(mode), GraceMs: int64(d.number("grace_ms")),
		Revoke: asks.truth("revoke"), Reissue: asks.truth("reissue"), RequiresApproval: asks.truth("requires_approval"),
		RevokeUntold: asks.truth("revoke") && !asks.truth("tell_first"),
	}
	if reminders := d.get("remind_ms"); reminders != nil {
		if list, ok := termArray(reminders); ok {
			list.Foreach(func(t *ast.Term) { out.RemindMs = append(out.RemindMs, int64(numberOf(t))) })
		}
	}
	return out, nil
}
