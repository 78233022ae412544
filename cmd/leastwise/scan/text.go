package scan

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/terminal"
)

// Text prints the report for a person: what needs somebody's attention first, worst first, with what to do.
func (r *Report) Text(w io.Writer) error {
	p := &printer{w: w}
	p.line("Leastwise scan, as of %s", r.AsOf.Format(time.RFC3339))
	p.line("%s read: %s, %s dead-lettered, %s of unknown kind kept", plural(r.Records, "record"), plural(r.Events, "event"),
		count(r.DeadLetters), count(r.Unknown))
	for _, in := range r.Inputs {
		p.line("  %s (%s): %s", terminal.Safe(in.Path), in.Source, plural(in.Records, "record"))
	}
	if err := r.textFindings(p); err != nil {
		return err
	}
	r.textUsage(p)
	r.textConflicts(p)
	r.textAttempts(p)
	r.textCredentials(p)
	return p.err
}

func (r *Report) textFindings(p *printer) error {
	p.line("")
	if r.findings.n == 0 {
		if r.policies == 0 {
			p.line("FINDINGS: no policies were given to hold the credentials against: --policies DIR (examples/policies is a starter set).")
		} else {
			p.line("FINDINGS: none of the given policies (%d) is violated.", r.policies)
		}
		return nil
	}
	p.line("FINDINGS (%d), worst first", r.findings.n)
	for _, f := range r.Findings {
		p.line("")
		p.line("  %s  %s", strings.ToUpper(f.Severity), terminal.Safe(f.PolicyID))
		p.line("    credential  %s", terminal.Safe(f.Credential))
		p.line("    why         %s is %s, threshold %s", f.Metric, f.Value, f.Threshold)
		if f.Evidence != "" {
			p.line("    evidence    %s", terminal.Safe(f.Evidence))
		}
		owner := f.Owner
		if owner == "" {
			owner = "unknown: no catalog entry matches, so nobody can be told"
		}
		p.line("    owner       %s", terminal.Safe(owner))
		p.line("    used        %s, %s denied, last use %s", plural(int(f.Uses), "call"), count(int(f.Denied)), ago(f.LastUsedAt, r.AsOf))
		if f.Hint != "" {
			p.line("    what to do  %s", terminal.Safe(f.Hint))
		}
	}
	return r.findings.err
}

func (r *Report) textConflicts(p *printer) {
	if len(r.Conflicts) == 0 {
		return
	}
	p.line("")
	p.line("CONFLICTS (%d): what the logs and the catalog say of one thing does not fit together", len(r.Conflicts))
	for _, c := range r.Conflicts[:min(len(r.Conflicts), listed)] {
		p.line("  %s", terminal.Safe(c.Why))
	}
	if len(r.Conflicts) > listed {
		p.line("  … and %d more (--format json lists all)", len(r.Conflicts)-listed)
	}
}

func (r *Report) textAttempts(p *printer) {
	probing := &r.summary.probing
	if probing.n == 0 {
		return
	}
	p.line("")
	p.line("ATTEMPTS: credentials that were refused, by distinct permission")
	for _, c := range probing.first {
		p.line("  %s  %d permissions in %s", terminal.Safe(c.Key), c.DeniedPermissions, plural(int(c.Denied), "call"))
		for _, sample := range c.DeniedSamples[:min(len(c.DeniedSamples), 5)] {
			p.line("    %s", terminal.Safe(sample))
		}
	}
	if probing.n > listed {
		p.line("  … and %d more (--format json lists all)", probing.n-listed)
	}
}

func (r *Report) textCredentials(p *printer) {
	states := r.summary.states
	p.line("")
	p.line("CREDENTIALS: %d (%d active, %d expired, %d revoked, %d of unknown lifetime)", r.credentials.n,
		states["active"], states["expired"], states["revoked"], states["unknown"])
	active := &r.summary.active
	for _, c := range active.first {
		expires := "never expires"
		if c.ExpiresAt != nil {
			expires = "expires in " + span(c.ExpiresAt.Sub(r.AsOf))
		}
		p.line("  %s  %s, %s, last use %s", terminal.Safe(c.Key), expires, plural(int(c.Uses), "use"), ago(c.LastUsedAt, r.AsOf))
	}
	if active.n > listed {
		p.line("  … and %d more, with less time left (--format json lists all)", active.n-listed)
	}
	used := &r.summary.used
	if used.n > 0 {
		p.line("")
		p.line("USED, ENDED OR OF UNKNOWN LIFETIME: %d, most used first", used.n)
	}
	for _, c := range used.first {
		state := c.State
		if state == "unknown" {
			state = "lifetime unknown"
		}
		p.line("  %s  %s, %s, last use %s, held by %s", terminal.Safe(c.Key), state, plural(int(c.Uses), "use"), ago(c.LastUsedAt, r.AsOf),
			holder(c.Identity))
	}
	if used.n > listed {
		p.line("  … and %d more, used less (--format json lists all)", used.n-listed)
	}
}

func holder(identity *string) string {
	if identity == nil {
		return "unknown"
	}
	return terminal.Safe(*identity)
}

// printer keeps the first error of a row of prints.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

func count(n int) string { return fmt.Sprint(n) }

func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never seen"
	}
	return span(now.Sub(*t)) + " ago"
}

// span gives a duration in its two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return d.String()
	}
}
