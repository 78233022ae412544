package admit

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/terminal"
)

// Text writes an answer for people; with explain also every policy that was asked.
func Text(out io.Writer, a *contract.Admission, reason string, explain bool) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	who := "nobody known"
	switch {
	case a.Agent != nil:
		who = fmt.Sprintf("agent %s, owner %s", *a.Agent, or(a.Owner, "nobody known"))
	case a.Owner != nil:
		who = "owner " + *a.Owner
	}
	if a.Evidence != nil {
		who += " (" + *a.Evidence + ")"
	}
	line("%s: %s of %s for %s", strings.ToUpper(a.Verdict), a.Type, a.Source, who)
	if a.Conflict != nil {
		line("  nobody answers for it: %s", *a.Conflict)
	}
	if a.Permissions != nil && a.Weight != nil {
		line("  lives for %s; %d permissions, weight %g", a.Lifetime, *a.Permissions, *a.Weight)
	} else {
		line("  lives for %s; its scope is unknown: %s", a.Lifetime, or(a.ScopeWhy, ""))
	}
	line("  reason: %s", reason)
	for _, list := range []struct {
		title string
		found []contract.AdmissionFinding
	}{{"must be justified", a.Justify}, {"advice; nothing has to be done", a.Advise}} {
		if len(list.found) > 0 {
			line("\n%s:", list.title)
		}
		for _, f := range list.found {
			line("  %-8s %s  %s", f.Severity, f.Policy, f.Where)
			line("           %s", Words(f))
			if f.Hint != "" {
				line("           %s", f.Hint)
			}
			if f.Exception != nil {
				line("           exception %s lets it pass until %s", *f.Exception, f.Until.UTC().Format(time.RFC3339))
			}
		}
	}
	if explain {
		line("\nevery policy that applies:")
		for _, p := range a.Asked {
			line("  %-13s %s (mode %s, %s)", p.Verdict, p.Policy, p.Mode, p.Where)
			for _, m := range p.Metrics {
				line("                %s", m)
			}
		}
		if len(a.Silent) > 0 {
			line("  do not apply: %s", strings.Join(a.Silent, ", "))
		}
	}
	line("")
	for _, note := range a.Notes {
		line("note: %s", note)
	}
	if !a.ExceptionsAsked {
		line("note: exceptions were not looked up: %s", or(a.ExceptionsWhy, ""))
	}
	if !a.Allowed {
		line("%s", next(a))
	}
	line("Policies at revision %s, catalog %s.", a.PoliciesRevision, orText(a.CatalogRevision, "none"))
	_, err := io.WriteString(out, lines(b.String()))
	return err
}

// Words says a finding in a sentence.
func Words(f contract.AdmissionFinding) string {
	metric := strings.ReplaceAll(f.Metric, "_", " ")
	if f.Reason == "value_unknown" {
		return fmt.Sprintf("%s is not known, and the policy asks for it (past it: %s %s)", metric, f.Condition, f.Threshold)
	}
	return fmt.Sprintf("%s is %s; past the policy: %s %s", metric, f.Value, f.Condition, f.Threshold)
}

// next is what who asked may do.
func next(a *contract.Admission) string {
	for _, f := range a.Justify {
		if f.Exception == nil && a.Principal != nil {
			return fmt.Sprintf("Ask for less, or justify it: leastwise exception request --identity '%s' --policy %s --reason '…' --until …; somebody else approves it.", *a.Principal, f.Policy)
		}
	}
	return "Ask for less, or name the principal that will hold it and request an exception for it: somebody else approves it."
}

// lines makes each harmless for a terminal.
func lines(text string) string {
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = terminal.Safe(all[i])
	}
	return strings.Join(all, "\n")
}

func or(text *string, otherwise string) string {
	if text == nil {
		return otherwise
	}
	return *text
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
