package compromise

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"github.com/leastwise/leastwise/internal/terminal"
	"github.com/leastwise/leastwise/processor/reach"
)

// listed is how many principals are listed unless all are asked for.
const listed = 10

// Write prints the report for a reader.
func (r *Report) Write(to io.Writer, all bool) error {
	w := bufio.NewWriter(to)
	for i := range r.Leaks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		r.leak(w, &r.Leaks[i], all)
	}
	if r.More {
		fmt.Fprintf(w, "\nAnd more: %s holds others that live; these %d are those that work longest.\n", terminal.Safe(r.Name), len(r.Leaks))
	}
	fmt.Fprintf(w, "\nLooked at: %s, %s to get further, %s of the catalog.\n", counted(r.Known.Principals, "principal"), counted(r.Known.Rules, "way"), counted(r.Known.Sensitive, "sensitive thing"))
	if r.Known.Sensitive == 0 {
		fmt.Fprintln(w, "The catalog names no sensitive things, so none could be found: add them under `sensitive`.")
	}
	return w.Flush()
}

func (r *Report) leak(w io.Writer, l *Leak, all bool) {
	fmt.Fprintf(w, "If %s leaked %s\n\n", terminal.Safe(l.Title()), r.when())
	fmt.Fprintf(w, "  works      %s\n", l.lifetime())
	if l.Granted != nil {
		fmt.Fprintf(w, "  may        %s\n", counted(*l.Granted, "permission"))
	} else {
		fmt.Fprintln(w, "  may        unknown")
	}
	if partly := l.Before.Start.Partly; partly != "" {
		fmt.Fprintf(w, "  perhaps    more than is told here: %s\n", terminal.Safe(partly))
	}
	answer(w, l.Before, all)
	switch {
	case l.Refused != "":
		fmt.Fprintf(w, "\nAfter: %s\n", terminal.Safe(l.Refused))
	case l.After != nil:
		fmt.Fprintf(w, "\nThe same, %s\n\n", l.AfterWhat)
		fmt.Fprintf(w, "  %-28s %10s %10s\n", "", "now", "after")
		fmt.Fprintf(w, "  %-28s %10s %10s\n", "permissions", number(l.Granted), number(l.Left))
		fmt.Fprintf(w, "  %-28s %10s %10s\n", "hours it works", hours(l.Hours, l.Never), hours(l.AfterHours, l.Never && l.AfterHours == nil))
		before, after := l.Before.Count(), l.After.Count()
		for _, kind := range []string{"sensitive", "everything", "secrets", "principals"} {
			fmt.Fprintf(w, "  %-28s %10d %10d\n", map[string]string{"sensitive": "sensitive things reached", "everything": "issuers taken over",
				"secrets": "issuers whose secrets show", "principals": "other principals reached"}[kind], before[kind], after[kind])
		}
		if len(l.After.Paths) > 0 {
			answer(w, l.After, all)
		}
	}
}

func (r *Report) when() string {
	if time.Since(r.At) < time.Minute {
		return "now"
	}
	return "at " + r.At.UTC().Format(time.RFC3339)
}

func (l *Leak) lifetime() string {
	switch {
	case l.State == "revoked" || l.State == "expired":
		return "no more: it is " + l.State
	case l.Never:
		return "without end: it never expires"
	case l.Until == nil:
		return "until nobody knows when: no record tells its end"
	default:
		return fmt.Sprintf("until %s, %.1f hours", l.Until.Format("2006-01-02 15:04 UTC"), *l.Hours)
	}
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func number(n *int) string {
	if n == nil {
		return "unknown"
	}
	return fmt.Sprint(*n)
}

func hours(h *float64, never bool) string {
	switch {
	case h != nil:
		return fmt.Sprintf("%.1f", *h)
	case never:
		return "no end"
	default:
		return "unknown"
	}
}

func answer(w io.Writer, a *reach.Answer, all bool) {
	if len(a.Paths) == 0 {
		fmt.Fprintln(w, "\n  It leads nowhere beyond what it may do itself, as far as is known.")
		return
	}
	shown := map[string]int{}
	for _, p := range a.Paths {
		kind := p.Group()
		if shown[kind]++; kind == "principals" && shown[kind] > listed && !all {
			continue
		}
		stays := ""
		if p.Stays {
			stays = ", outlives the credential"
		}
		fmt.Fprintf(w, "\n  %s (%s%s)\n", terminal.Safe(p.To.Name), p.Certainty, stays)
		for i, s := range p.Steps {
			fmt.Fprintf(w, "    %d. it can %s  [%s%s]\n", i+1, terminal.Safe(s.Does), s.Certainty, suffix(s))
		}
	}
	if more := shown["principals"] - listed; more > 0 && !all {
		fmt.Fprintf(w, "\n  and %s (--all lists them)\n", counted(more, "more principal"))
	}
}

func suffix(s reach.Step) string {
	var out string
	if s.Rule != "" {
		out += ", " + s.Rule
	}
	if s.Evidence != "" {
		out += "; " + terminal.Safe(s.Evidence)
	}
	return out
}
