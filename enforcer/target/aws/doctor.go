package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing the doctor looked at.
type Finding struct {
	Name string
	OK   bool
	// Text is what was seen; Fix what to do, empty if nothing has to be done.
	Text string
	Fix  string
}

// Report of the doctor.
type Report struct {
	Findings []Finding
	// Policy is the IAM policy that the enforcer needs.
	Policy string
}

// OK tells whether every finding is.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.OK })
}

func (r *Report) add(name string, ok bool, fix, format string, args ...any) {
	if ok {
		fix = ""
	}
	r.Findings = append(r.Findings, Finding{Name: name, OK: ok, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// String is the report as a person reads it.
func (r *Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", mark, f.Name, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      %s\n", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\nThe IAM policy the enforcer needs:\n\n%s", r.Policy)
	return b.String()
}

// Doctor looks at everything the enforcer depends on at AWS and changes
// nothing. It fails only where AWS can not be asked at all.
func (t *Target) Doctor(ctx context.Context) (*Report, error) {
	r := &Report{Policy: t.cfg.PolicyJSON()}
	me, err := t.whoami(ctx)
	if err != nil {
		return nil, err
	}
	r.add("own credentials", me.kind == "role" || me.kind == "user", "give the enforcer a role with the policy below: nothing of Leastwise runs as the root user", "%s", me.arn)
	missing, whole, err := t.capabilities(ctx)
	if err != nil {
		r.add("capabilities", false, "attach the policy below to the enforcer's role", "%v", err)
	}
	for _, m := range missing {
		r.add("capabilities", false, "attach the policy below to the enforcer's role", "%s", m)
	}
	switch {
	case err != nil || len(missing) > 0:
	case whole:
		r.add("capabilities", true, "", "its policies allow everything it needs; policies of the organization were not asked")
	default:
		r.add("capabilities", true, "", "it may read what it needs; whether it may change is not known: this endpoint does not simulate policies")
	}
	n, err := t.Live(ctx)
	if err != nil {
		r.add("live credentials", false, "set enforcer.live_credentials if there are too many users to count", "%v", err)
	} else {
		r.add("live credentials", true, "", "%d active access keys", n)
	}
	switch {
	case !t.cfg.Narrow:
		r.add("narrowing", true, "", "off (enforcer.aws.narrow)")
	case t.history.Used == nil:
		r.add("narrowing", true, "", "on for users with one key alone: what others used is not told to the enforcer")
	default:
		r.add("narrowing", true, "", "on")
	}
	return r, nil
}
