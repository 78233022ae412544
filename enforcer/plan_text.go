package enforcer

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Write prints the plan for a reader.
func (p Plan) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan of %s. Mode %s, budget %s.", p.At.Format(time.RFC3339), p.Mode, p.Budget)
	if p.Killed != "" {
		fmt.Fprintf(&b, " The kill switch is on (%s): nothing is taken away.", p.Killed)
	}
	if p.Frozen != "" {
		fmt.Fprintf(&b, " Everything is %s.", p.Frozen)
	}
	fmt.Fprintf(&b, " Nothing was changed.\n")
	if len(p.Ladders) == 0 {
		b.WriteString("\nNo ladder is under way.\n")
	}
	table := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, l := range p.Ladders {
		when := "no time is set"
		if l.At != nil {
			when = l.At.Format(time.RFC3339)
			if left := l.At.Sub(p.At); left > 0 {
				when += " (in " + relative(left) + ")"
			}
		}
		fmt.Fprintf(table, "\n%s\n", l.Credential)
		line := func(name, format string, args ...any) {
			if text := fmt.Sprintf(format, args...); text != "" {
				fmt.Fprintf(table, "  %s\t%s\n", name, text)
			}
		}
		line("act", "%s, %s", l.Act, when)
		line("moved", "%s", l.Moved)
		line("owner", "%s", strings.TrimSpace(l.Owner+" "+l.Agent))
		line("ladder", "%s, %s", l.Ladder, l.State)
		line("target", "%s: %s", l.Target, l.Sighting)
		if c := l.Collateral; c != nil {
			if c.Unknown != "" {
				line("also hits", "unknown: %s", c.Unknown)
			} else {
				line("also hits", "%d others, %d children", c.Others, c.Children)
			}
			for _, hit := range c.First {
				line("", "%s", hit)
			}
		}
		line("gives back", "%s", l.GivenBack)
		if l.ExposedUntil != nil {
			line("exposed until", "%s", l.ExposedUntil.UTC().Format(time.RFC3339))
		}
		line("budget left", "%d this hour", l.BudgetLeft)
		for _, r := range l.Refused {
			line("refused by", "%s: %s", r.Guard, r.Reason)
		}
	}
	_ = table.Flush() // to memory
	_, err := io.WriteString(w, b.String())
	return err
}
