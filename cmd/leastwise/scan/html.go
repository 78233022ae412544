package scan

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/terminal"
)

// Bounds of the page: it is to be opened on a phone and sent by mail.
const (
	ownersShown   = 40
	findingsShown = 20 // of an owner
	inputsShown   = 20
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// HTML prints the report as one page that needs nothing else: no script, no picture or style from elsewhere. All that
// stands in logs is text to it. It shows the first of what is many; JSON holds all. It wants a scan with Options.Places.
func (r *Report) HTML(w io.Writer) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(w, page); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

type page struct {
	AsOf       string
	Figures    []figure
	Verdict    string
	Severities []figure
	Lanes      []lane
	MoreLanes  int
	Axis       []mark
	Now        string
	Owners     []ownerPart
	MoreOwners int
	Conflicts  []string
	MoreConf   int
	Attempts   []attempts
	MoreTries  int
	Usage      []usagePart
	Inputs     []Input
	MoreInputs int
	NoPolicies bool
}

type figure struct{ Value, Name, Class string }

type ownerPart struct {
	Name     string
	Known    bool
	Total    int
	Findings []findingPart
	More     int
}

type findingPart struct {
	Severity, Policy, Credential, Why, Evidence, Used, Hint string
	Places                                                  []placePart
}

type placePart struct{ What, At, File, Where string }

type attempts struct {
	Credential, Told string
	Samples          []string
}

type usagePart struct{ Verdict, Credential, Owner, Why, Hint string }

func (r *Report) page() (*page, error) {
	p := &page{AsOf: r.AsOf.UTC().Format("2 January 2006, 15:04 UTC"), NoPolicies: r.policies == 0}
	states := r.summary.states
	p.Figures = []figure{{count(states["active"]), "active credentials", ""}, {count(r.credentials.n), "credentials seen", ""},
		{count(r.Records), "records read", ""}}
	if r.DeadLetters > 0 {
		p.Figures = append(p.Figures, figure{count(r.DeadLetters), "records that could not be read", ""})
	}
	switch {
	case p.NoPolicies:
		p.Verdict = "No policies were given, so nothing was judged. Give them with --policies DIR."
	case r.findings.n == 0:
		p.Verdict = fmt.Sprintf("None of the given policies (%d) is violated.", r.policies)
	}
	for _, severity := range Severities {
		if n := r.severities[severity]; n > 0 {
			p.Severities = append(p.Severities, figure{count(n), severity, severityClass(severity)})
		}
	}
	p.lanes(&r.summary.lanes, r.AsOf)
	if err := r.pageOwners(p); err != nil {
		return nil, err
	}
	for _, c := range r.Conflicts[:min(len(r.Conflicts), listed)] {
		p.Conflicts = append(p.Conflicts, terminal.Safe(c.Why))
	}
	p.MoreConf = max(0, len(r.Conflicts)-listed)
	r.pageAttempts(p)
	r.pageUsage(p)
	for _, in := range r.Inputs[:min(len(r.Inputs), inputsShown)] {
		in.Path = terminal.Safe(in.Path)
		p.Inputs = append(p.Inputs, in)
	}
	p.MoreInputs = max(0, len(r.Inputs)-inputsShown)
	return p, nil
}

// pageOwners sorts findings by who answers for them: who has the worst comes first, nobody's come before all.
func (r *Report) pageOwners(p *page) error {
	at := map[string]int{}
	for _, f := range r.Findings { // worst first
		i, ok := at[f.Owner]
		if !ok {
			i = len(p.Owners)
			at[f.Owner] = i
			p.Owners = append(p.Owners, ownerPart{Name: terminal.Safe(f.Owner), Known: f.Owner != ""})
		}
		o := &p.Owners[i]
		if o.Total++; len(o.Findings) == findingsShown {
			o.More++
			continue
		}
		if i >= ownersShown {
			continue // counted, for who is shown may change when nobody's come first
		}
		o.Findings = append(o.Findings, findingOf(&f, r.AsOf))
	}
	slices.SortStableFunc(p.Owners, func(a, b ownerPart) int { return cmp.Compare(known(a), known(b)) })
	p.Owners = slices.DeleteFunc(p.Owners, func(o ownerPart) bool {
		if len(o.Findings) == 0 {
			p.MoreOwners++
		}
		return len(o.Findings) == 0
	})
	return r.findings.err
}

func known(o ownerPart) int {
	if o.Known {
		return 1
	}
	return 0
}

func findingOf(f *Finding, now time.Time) findingPart {
	part := findingPart{Severity: terminal.Safe(f.Severity), Policy: terminal.Safe(f.PolicyID), Credential: terminal.Safe(f.Credential),
		Why: terminal.Safe(fmt.Sprintf("%s is %s, threshold %s", f.Metric, f.Value, f.Threshold)), Evidence: terminal.Safe(f.Evidence), Hint: terminal.Safe(f.Hint),
		Used: fmt.Sprintf("%s, %s refused, last use %s", plural(int(f.Uses), "call"), count(int(f.Denied)), ago(f.LastUsedAt, now))}
	for _, place := range f.Places {
		where := fmt.Sprintf(":%d", place.Line)
		if place.Line == 1 && place.Byte > 0 {
			where += fmt.Sprintf(" (byte %d)", place.Byte)
		}
		part.Places = append(part.Places, placePart{place.What, place.At.UTC().Format("2006-01-02 15:04:05Z"), terminal.Safe(place.File), where})
	}
	return part
}

func (r *Report) pageAttempts(p *page) {
	probing := &r.summary.probing
	for _, c := range probing.first {
		a := attempts{Credential: terminal.Safe(c.Key),
			Told: fmt.Sprintf("%s in %s", plural(int(c.DeniedPermissions), "permission"), plural(int(c.Denied), "call"))}
		for _, sample := range c.DeniedSamples[:min(len(c.DeniedSamples), 5)] {
			a.Samples = append(a.Samples, terminal.Safe(sample))
		}
		p.Attempts = append(p.Attempts, a)
	}
	p.MoreTries = max(0, probing.n-listed)
}

func (r *Report) pageUsage(p *page) {
	for _, verdict := range verdicts {
		l := r.summary.usage.found[verdict]
		if l == nil {
			continue
		}
		for i := range l.first {
			c := &l.first[i]
			f := c.Usage.finding(verdict)
			part := usagePart{Verdict: strings.ReplaceAll(verdict, "_", " "), Credential: terminal.Safe(c.Key), Why: terminal.Safe(f.Why), Hint: f.Hint}
			if c.Owner != nil {
				part.Owner = terminal.Safe(*c.Owner)
			}
			p.Usage = append(p.Usage, part)
		}
		if l.n > listed {
			p.Usage = append(p.Usage, usagePart{Verdict: fmt.Sprintf("and %d more: %s", l.n-listed, strings.ReplaceAll(verdict, "_", " "))})
		}
	}
}

// severityClass is one of a closed set, whatever a policy calls its severities.
func severityClass(severity string) string {
	if slices.Contains(Severities, severity) {
		return severity
	}
	return "info"
}

// Class of the finding's mark.
func (f findingPart) Class() string { return severityClass(f.Severity) }
