package rego

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Explain prints how a set judges one credential: every policy that applies, each metric with its value, threshold and
// whether it holds, which policies do not apply, and what would be done.
func Explain(ctx context.Context, set *Set, sub *Subject, v *Values, w io.Writer) error {
	result, err := set.Evaluate(ctx, sub, v)
	if err != nil {
		return err
	}
	violated := map[string]bool{}
	for _, violation := range result.Violations {
		violated[violation.PolicyId] = true
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "credential %s (%s of %s)\npolicies   revision %s, %d loaded\n", sub.Credential, or(sub.Type, "unknown type"),
		or(sub.Source, "unknown source"), set.Revision(), len(set.Policies()))
	ix := set.Index(sub)
	applies := map[string]bool{}
	for i := range ix.candidates {
		c := &ix.candidates[i]
		applies[c.policy.ID] = true
		verdict := "within"
		if violated[c.policy.ID] {
			verdict = "VIOLATED"
		}
		need := "any of"
		if c.policy.MatchAll {
			need = "all of"
		}
		fmt.Fprintf(&b, "\n%s  %s  (%s, mode %s, %s:%d)\n", c.policy.ID, verdict, need, c.policy.Enforcement.Mode,
			c.policy.File, c.policy.Line)
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, limit := range c.thresholds {
			shown, truth := "unknown", "unknown"
			if value, known := v.Get(limit.Metric); known {
				shown, truth = Format(limit.Metric, value), fmt.Sprint(limit.Condition.holds(value, limit.Value))
			}
			fmt.Fprintf(t, "  %s\t%s\t%s %s\t%s\n", limit.Metric, shown, strings.ReplaceAll(limit.Condition.String(), "_", " "),
				limit.Text, truth)
		}
		if err := t.Flush(); err != nil {
			return fmt.Errorf("explain: %w", err)
		}
	}
	for _, violation := range result.Violations {
		if violation.Reason == "rego" {
			fmt.Fprintf(&b, "\n%s  VIOLATED  (free-form Rego) %s %s\n", violation.PolicyId, violation.Metric, violation.Value)
		}
	}
	var silent []string
	for i := range set.policies {
		if !applies[set.policies[i].ID] {
			silent = append(silent, set.policies[i].ID)
		}
	}
	if len(silent) > 0 {
		fmt.Fprintf(&b, "\ndo not apply: %s\n", strings.Join(silent, ", "))
	}
	fmt.Fprintf(&b, "\n%s\n", consequence(&result))
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// consequence says in words what the ladder would do.
func consequence(r *Result) string {
	l := r.Ladder
	switch {
	case len(r.Violations) == 0:
		return "no policy is violated: nothing would be done"
	case l.Mode == leastwisev1.Ladder_OBSERVE:
		return "would be reported as a finding; nobody is told (mode observe)"
	case l.Mode == leastwisev1.Ladder_NOTIFY:
		return "the owner would be told; nothing is taken away (mode notify)"
	case !l.Revoke:
		return "the owner would be told; no violated policy revokes"
	}
	ms := func(n int64) string { return formatSeconds((time.Duration(n) * time.Millisecond).Seconds()) }
	var b strings.Builder
	fmt.Fprintf(&b, "the owner would be told, and %s later the credential revoked", ms(l.GraceMs))
	for _, before := range l.RemindMs {
		fmt.Fprintf(&b, "; a reminder %s before", ms(before))
	}
	if l.RequiresApproval {
		b.WriteString("; only after a person approved")
	}
	if l.RevokeUntold {
		b.WriteString("; even if the owner can not be told")
	}
	if l.Reissue {
		b.WriteString("; then one with the scope that was used is issued")
	}
	return b.String()
}
