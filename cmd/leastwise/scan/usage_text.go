package scan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/terminal"
)

// verdicts of findings, worst first.
var verdicts = []string{"used_but_unissued", "usage_contradiction", "issued_but_unused"}

// usageSummary is what the text report says of use: the first few credentials of each verdict, and of each reason why it
// is not known.
type usageSummary struct {
	found   map[string]*leaders // by verdict
	unknown map[string]*leaders // by what it would be about, and why it is not known
}

func (s *usageSummary) add(c Credential) {
	if c.Usage == nil {
		return
	}
	if s.found == nil {
		s.found, s.unknown = map[string]*leaders{}, map[string]*leaders{}
	}
	for _, f := range c.Usage.Findings {
		list, kind := s.found, f.Verdict
		if f.Verdict != f.About {
			list, kind = s.unknown, f.About+", "+f.Reason
		}
		if list[kind] == nil {
			list[kind] = &leaders{}
		}
		list[kind].add(c, func(a, b *Credential) int {
			return cmp.Compare(b.Uses+b.Denied+b.reported(), a.Uses+a.Denied+a.reported())
		})
	}
}

// reported counts the calls that agents tell of.
func (c *Credential) reported() uint64 {
	if c.Usage == nil || c.Usage.Reported == nil {
		return 0
	}
	return c.Usage.Reported.Uses + c.Usage.Reported.Denied + c.Usage.Reported.Failed
}

// finding about something.
func (u *Usage) finding(about string) *UsageFinding {
	i := slices.IndexFunc(u.Findings, func(f UsageFinding) bool { return f.About == about })
	return &u.Findings[i]
}

func (r *Report) textUsage(p *printer) {
	s := &r.summary.usage
	total := 0
	for _, l := range s.found {
		total += l.n
	}
	if total > 0 {
		p.line("")
		p.line("USAGE (%d): what was issued against what issuers and agents say was used, worst first", total)
	}
	for _, verdict := range verdicts {
		l := s.found[verdict]
		if l == nil {
			continue
		}
		for i := range l.first {
			textUsageFinding(p, &l.first[i], verdict)
		}
		if l.n > listed {
			p.line("")
			p.line("  … and %d more %s (--format json lists all)", l.n-listed, verdict)
		}
	}
	s.textUnknown(p)
	r.textUnnamed(p)
}

func textUsageFinding(p *printer, c *Credential, verdict string) {
	f := c.Usage.finding(verdict)
	owner := "unknown: no catalog entry matches, so nobody can be told"
	if c.Owner != nil {
		owner = *c.Owner
	}
	p.line("")
	p.line("  %s", verdict)
	p.line("    credential  %s", terminal.Safe(c.Key))
	p.line("    why         %s", terminal.Safe(f.Why))
	p.line("    owner       %s", terminal.Safe(owner))
	p.line("    what to do  %s", f.Hint)
}

// textUnknown tells what could not be judged, by reason: there may be one for each credential.
func (s *usageSummary) textUnknown(p *printer) {
	if len(s.unknown) == 0 {
		return
	}
	kinds := slices.SortedFunc(maps.Keys(s.unknown), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.unknown[b].n, s.unknown[a].n), strings.Compare(a, b))
	})
	p.line("")
	p.line("USAGE NOT KNOWN: unknown is neither used nor unused")
	for _, kind := range kinds {
		l := s.unknown[kind]
		about, _, _ := strings.Cut(kind, ",")
		first := &l.first[0]
		f := first.Usage.finding(about)
		p.line("  %s: %s, such as %s", kind, plural(l.n, "credential"), terminal.Safe(first.Key))
		p.line("    why         %s", terminal.Safe(f.Why))
		p.line("    what to do  %s", f.Hint)
	}
}

func (r *Report) textUnnamed(p *printer) {
	if len(r.UnnamedUse) == 0 {
		return
	}
	shown := slices.Clone(r.UnnamedUse)
	slices.SortStableFunc(shown, func(a, b UnnamedUse) int {
		return cmp.Or(b.Secrets-a.Secrets, len(b.Elsewhere)-len(a.Elsewhere), b.Calls-a.Calls)
	})
	p.line("")
	p.line("AGENTS' CALLS THAT NAME NO CREDENTIAL: tied to a role or an agent, and compared with nothing")
	for _, u := range shown[:min(len(shown), listed)] {
		p.line("  %s  %s, %s denied", terminal.Safe(u.Holder), plural(u.Calls, "call"), count(u.Denied))
		if len(u.Sessions) > 0 {
			p.line("    sessions    %s: names that the callers chose", terminal.Safe(strings.Join(u.Sessions, ", ")))
		}
		if len(u.Elsewhere) > 0 {
			p.line("    answered in %s: not where the calls were made", terminal.Safe(strings.Join(u.Elsewhere, ", ")))
		}
		if u.Secrets > 0 {
			p.line("    secrets     %s held the credential itself in place of its id", plural(u.Secrets, "record"))
		}
		p.line("    what to do  %s", u.hint())
	}
	if more := len(shown) - listed; more > 0 {
		p.line("  … and %d more (--format json lists all)", more)
	}
}

func (u *UnnamedUse) hint() string {
	switch {
	case u.Secrets > 0:
		return "Rotate what stands in that log, and let the agent log the id."
	case len(u.Elsewhere) > 0:
		return "Ask who answers for it whether other regions are meant; let agents log the access key id, or give requestMetadata.agent_id."
	}
	return "Let the agent log the id of the credential: accessor, access key id, serial, jti."
}
