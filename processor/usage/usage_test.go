package usage

import (
	"strings"
	"testing"
	"time"
)

var zero = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// hour is a time, that many hours after the first of May.
func hour(n float64) int64 { return zero + int64(n*float64(time.Hour)) }

// audit is an issuer whose log tells of everything and has been read for long.
func audit() Issuer {
	return Issuer{Source: Source{Name: "vault/prod", Since: hour(-1000)}, Kind: Kind{LogsIssuance: true, LogsUse: true, Longest: 24 * time.Hour}, IssuedAt: hour(1)}
}

// registry is an issuer whose log tells of issuance alone.
func registry() Issuer {
	i := audit()
	i.Name, i.LogsUse = "jwtregistry/prod", false
	return i
}

func told() Agents { return Agents{Source: Source{Name: "agentusage/prod", Since: hour(-1000)}} }

func TestCompare(t *testing.T) {
	day := Span{hour(0), hour(24)}
	for name, c := range map[string]struct {
		issuer func(*Issuer)
		base   func() Issuer
		agents func(*Agents)
		delay  bool   // records may be on their way for a quarter of an hour
		want   string // verdict:about:reason, space between
	}{
		"both agree":             {issuer: func(i *Issuer) { i.Uses = 100 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 95, hour(2), hour(3) }},
		"nothing is known of it": {issuer: func(i *Issuer) { i.IssuedAt = 0 }},

		// Issued and unused.
		"unused":                                    {want: "issued_but_unused::never_used"},
		"unused, and no agent's log is read":        {agents: func(a *Agents) { *a = Agents{} }, want: "issued_but_unused::never_used"},
		"unused, while agents were silent":          {agents: func(a *Agents) { a.Gaps = []Span{{hour(2), 0}} }, want: "issued_but_unused::never_used"},
		"unused, while the issuer was silent":       {issuer: func(i *Issuer) { i.Gaps = []Span{{hour(5), hour(6)}} }, want: "unknown:issued_but_unused:issuer_silent"},
		"unused, and the issuer is silent still":    {issuer: func(i *Issuer) { i.Gaps = []Span{{hour(23), 0}} }, want: "unknown:issued_but_unused:issuer_silent"},
		"a gap before it was issued is no gap":      {issuer: func(i *Issuer) { i.Gaps = []Span{{hour(-5), hour(1)}} }, want: "issued_but_unused::never_used"},
		"a gap after it had ended is no gap":        {issuer: func(i *Issuer) { i.EndedAt, i.Gaps = hour(10), []Span{{hour(10), 0}} }, want: "issued_but_unused::never_used"},
		"the issuer was not read from the start":    {issuer: func(i *Issuer) { i.Since = hour(3) }, want: "unknown:issued_but_unused:issuer_silent"},
		"too young to be called unused":             {issuer: func(i *Issuer) { i.IssuedAt = hour(23.5) }},
		"ended too soon to be called unused":        {issuer: func(i *Issuer) { i.EndedAt = hour(1.5) }},
		"issued after the window":                   {issuer: func(i *Issuer) { i.IssuedAt = hour(30) }},
		"a refused call is no idleness":             {issuer: func(i *Issuer) { i.Denied = 1 }, agents: func(a *Agents) { *a = Agents{} }},
		"only agents can tell, and tell of nothing": {base: registry, want: "issued_but_unused::never_used"},
		"only agents can tell, and were silent":     {base: registry, agents: func(a *Agents) { a.Gaps = []Span{{hour(2), hour(3)}} }, want: "unknown:issued_but_unused:agents_silent"},
		"nobody can tell":                           {base: registry, agents: func(a *Agents) { *a = Agents{} }, want: "unknown:issued_but_unused:no_source_tells_of_use"},
		"only agents can tell, and used it":         {base: registry, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }},

		// Used and not issued.
		"used and never issued": {base: registry, issuer: func(i *Issuer) { i.IssuedAt = 0 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) },
			want: "used_but_unissued::no_issuance"},
		"tried and never issued": {base: registry, issuer: func(i *Issuer) { i.IssuedAt = 0 }, agents: func(a *Agents) { a.Denied, a.FirstAt = 1, hour(2) },
			want: "used_but_unissued::no_issuance"},
		"in the issuer's own log, and never issued": {issuer: func(i *Issuer) { i.IssuedAt, i.Uses, i.FirstUseAt = 0, 2, hour(2) }, agents: func(a *Agents) { *a = Agents{} },
			want: "used_but_unissued::no_issuance"},
		"issued perhaps while the issuer was silent": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Gaps = 0, []Span{{hour(-3), hour(-2)}} },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:used_but_unissued:issuer_silent"},
		"a gap longer ago than any life matters not": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Gaps = 0, []Span{{hour(-40), hour(-30)}} },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "used_but_unissued::no_issuance"},
		"issued perhaps before the log begins": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Since = 0, hour(-2) },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:used_but_unissued:history_too_short"},
		"of unbounded life": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Longest = 0, 0 },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:used_but_unissued:history_too_short"},
		"its issuance is never logged": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.LogsIssuance = 0, false },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:used_but_unissued:issuance_not_logged"},
		"its issuer is not read": {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Since = 0, 0 },
			agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:used_but_unissued:issuer_silent"},

		// Each tells another story.
		"reported, and not in the issuer's log": {agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) },
			want: "usage_contradiction::reported_but_not_in_issuers_log"},
		"reported, while the issuer was silent": {issuer: func(i *Issuer) { i.Gaps = []Span{{hour(2), hour(3)}} }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) },
			want: "unknown:usage_contradiction:issuer_silent"},
		"in the issuer's log, and not reported":  {issuer: func(i *Issuer) { i.Uses = 1 }, want: "usage_contradiction::in_issuers_log_but_not_reported"},
		"not reported, while agents were silent": {issuer: func(i *Issuer) { i.Uses = 1 }, agents: func(a *Agents) { a.Gaps = []Span{{hour(9), hour(10)}} }, want: "unknown:usage_contradiction:agents_silent"},
		"not reported, and nobody was to":        {issuer: func(i *Issuer) { i.Uses = 1 }, agents: func(a *Agents) { *a = Agents{} }},
		"not reported, and the log is a sample":  {issuer: func(i *Issuer) { i.Uses = 1 }, agents: func(a *Agents) { a.Sampled = true }},
		"many more reported":                     {issuer: func(i *Issuer) { i.Uses = 10 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 15, hour(2), hour(2) }, want: "usage_contradiction::more_reported_than_logged"},
		"some more reported":                     {issuer: func(i *Issuer) { i.Uses = 10 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 14, hour(2), hour(2) }},
		"many more reported, the issuer silent":  {issuer: func(i *Issuer) { i.Uses, i.Gaps = 10, []Span{{hour(2), hour(3)}} }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 100, hour(2), hour(2) }, want: "unknown:usage_contradiction:issuer_silent"},
		"many more in the issuer's log":          {issuer: func(i *Issuer) { i.Uses = 100 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 10, hour(2), hour(2) }, want: "usage_contradiction::fewer_reported_than_logged"},
		"many more in the issuer's log, agents silent": {issuer: func(i *Issuer) { i.Uses = 100 }, agents: func(a *Agents) {
			a.Uses, a.FirstAt, a.LastSuccessAt, a.Gaps = 10, hour(2), hour(2), []Span{{hour(5), 0}}
		}, want: "unknown:usage_contradiction:agents_silent"},
		"many more in the issuer's log than a sample": {issuer: func(i *Issuer) { i.Uses = 100 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt, a.Sampled = 10, hour(2), hour(2), true }},
		"refusals count as calls":                     {issuer: func(i *Issuer) { i.Uses, i.Denied = 5, 5 }, agents: func(a *Agents) { a.Uses, a.Denied, a.FirstAt, a.LastSuccessAt = 5, 5, hour(2), hour(2) }},
		"said to be allowed, and all refused":         {issuer: func(i *Issuer) { i.Denied = 5 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(2) }, want: "usage_contradiction::reported_outcome_differs"},
		"said to be allowed, the issuer silent":       {issuer: func(i *Issuer) { i.Denied, i.Gaps = 5, []Span{{hour(2), hour(3)}} }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(2) }},
		"used before it was issued":                   {issuer: func(i *Issuer) { i.Uses, i.IssuedAt = 5, hour(5) }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(6) }, want: "usage_contradiction::reported_before_issue"},
		"clocks differ a little":                      {issuer: func(i *Issuer) { i.Uses, i.IssuedAt = 5, hour(5) }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(4.95), hour(6) }},
		"used after it had ended":                     {issuer: func(i *Issuer) { i.Uses, i.EndedAt = 5, hour(5) }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(6) }, want: "usage_contradiction::reported_after_end"},
		"refused after it had ended":                  {issuer: func(i *Issuer) { i.Denied, i.EndedAt = 5, hour(5) }, agents: func(a *Agents) { a.Denied, a.FirstAt = 5, hour(2) }},
		"used after it had ended, whoever was silent": {base: registry, issuer: func(i *Issuer) { i.EndedAt, i.Gaps = hour(5), []Span{{hour(0), 0}} }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(6) }, want: "usage_contradiction::reported_after_end"},
		"unissued and contradicted": {issuer: func(i *Issuer) { i.IssuedAt = 0 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) },
			want: "used_but_unissued::no_issuance usage_contradiction::reported_but_not_in_issuers_log"},
		"denied after its end, allowed before":    {base: registry, issuer: func(i *Issuer) { i.EndedAt = hour(5) }, agents: func(a *Agents) { a.Uses, a.Denied, a.FirstAt, a.LastSuccessAt = 5, 1, hour(2), hour(4) }},
		"told before the window":                  {issuer: func(i *Issuer) { i.Gaps = []Span{{hour(1), hour(3)}} }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(8), hour(8) }, want: "usage_contradiction::reported_but_not_in_issuers_log"},
		"used before the window, never in it":     {issuer: func(i *Issuer) { i.FirstUseAt = hour(-9) }},
		"reported before the window, never in it": {agents: func(a *Agents) { a.FirstAt = hour(-9) }},
		"ids of another form": {issuer: func(i *Issuer) { i.IssuedAt, i.OtherIDs = 0, true }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) },
			want: "unknown:used_but_unissued:ids_not_comparable unknown:usage_contradiction:ids_not_comparable"},
		"its id is made up":                        {issuer: func(i *Issuer) { i.Inferred = true }, want: "unknown:issued_but_unused:id_in_no_log"},
		"calls left out, unused":                   {issuer: func(i *Issuer) { i.LeavesOut = true }, agents: func(a *Agents) { *a = Agents{} }, want: "unknown:issued_but_unused:log_leaves_out_calls"},
		"calls left out, agents hear all":          {issuer: func(i *Issuer) { i.LeavesOut = true }, want: "issued_but_unused::never_used"},
		"calls left out, reported alone":           {issuer: func(i *Issuer) { i.LeavesOut = true }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }, want: "unknown:usage_contradiction:log_leaves_out_calls"},
		"calls left out, more reported":            {issuer: func(i *Issuer) { i.LeavesOut, i.Uses = true, 5 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 50, hour(2), hour(2) }, want: "unknown:usage_contradiction:log_leaves_out_calls"},
		"calls left out, and still fewer reported": {issuer: func(i *Issuer) { i.LeavesOut, i.Uses = true, 50 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 5, hour(2), hour(2) }, want: "usage_contradiction::fewer_reported_than_logged"},
		"an inventory lists it":                    {base: registry, issuer: func(i *Issuer) { i.IssuedAt, i.Vouched = 0, true }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(2), hour(2) }},
		"first used a moment ago":                  {base: registry, issuer: func(i *Issuer) { i.IssuedAt = 0 }, agents: func(a *Agents) { a.Uses, a.FirstAt, a.LastSuccessAt = 1, hour(23.9), hour(23.9) }, delay: true, want: "unknown:used_but_unissued:too_recent"},
		"all reported a moment ago":                {agents: func(a *Agents) { a.Uses, a.Recent, a.FirstAt, a.LastSuccessAt = 2, 2, hour(23.9), hour(23.9) }, delay: true, want: "unknown:usage_contradiction:too_recent"},
		"some reported a moment ago":               {agents: func(a *Agents) { a.Uses, a.Recent, a.FirstAt, a.LastSuccessAt = 2, 1, hour(2), hour(23.9) }, delay: true, want: "usage_contradiction::reported_but_not_in_issuers_log"},
		"all logged a moment ago":                  {issuer: func(i *Issuer) { i.Uses, i.Recent = 2, 2 }, delay: true, want: "unknown:usage_contradiction:too_recent"},
		"more reported, most of it a moment ago":   {issuer: func(i *Issuer) { i.Uses = 5 }, agents: func(a *Agents) { a.Uses, a.Recent, a.FirstAt = 50, 45, hour(2) }, delay: true, want: "unknown:usage_contradiction:too_recent"},
		"fewer reported, most logged a moment ago": {issuer: func(i *Issuer) { i.Uses, i.Recent = 50, 45 }, agents: func(a *Agents) { a.Uses, a.FirstAt = 5, hour(2) }, delay: true, want: "unknown:usage_contradiction:too_recent"},
		"twice as many, from two logs":             {issuer: func(i *Issuer) { i.Uses = 50 }, agents: func(a *Agents) { a.Uses, a.Copies, a.FirstAt = 100, 2, hour(2) }},
		"far more than two logs could tell":        {issuer: func(i *Issuer) { i.Uses = 50 }, agents: func(a *Agents) { a.Uses, a.Copies, a.FirstAt = 200, 2, hour(2) }, want: "usage_contradiction::more_reported_than_logged"},
		"of unclear outcome, and all refused":      {issuer: func(i *Issuer) { i.Denied = 5 }, agents: func(a *Agents) { a.Uses, a.FirstAt = 5, hour(2) }},
	} {
		t.Run(name, func(t *testing.T) {
			base := c.base
			if base == nil {
				base = audit
			}
			issuer, agents := base(), told()
			if c.issuer != nil {
				c.issuer(&issuer)
			}
			if c.agents != nil {
				c.agents(&agents)
			}
			var opts Options
			if c.delay {
				opts.Delay = 15 * time.Minute
			}
			var got []string
			for _, f := range Compare(day, &issuer, &agents, opts) {
				about := ""
				if f.Verdict == Unknown {
					about = string(f.About)
				}
				got = append(got, string(f.Verdict)+":"+about+":"+f.Reason.String())
				if f.Why == "" || strings.Contains(f.Why, "%!") {
					t.Errorf("why: %q", f.Why)
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

// No verdict but Unknown may rest on time that a source was not read, wherever the gap lies.
func TestAGapNeverMakesAVerdict(t *testing.T) {
	day := Span{hour(0), hour(24)}
	for from := 1.0; from < 24; from += 0.5 {
		for _, to := range []int64{hour(from + 0.25), 0} {
			issuer, agents := audit(), told()
			issuer.Gaps = []Span{{hour(from), to}}
			for _, f := range Compare(day, &issuer, &agents, Options{}) {
				if f.Verdict != Unknown {
					t.Fatalf("a gap from hour %v: %+v", from, f)
				}
			}
			issuer, agents = registry(), told()
			agents.Gaps = []Span{{hour(30), 0}, {hour(from), to}}
			for _, f := range Compare(day, &issuer, &agents, Options{}) {
				if f.Verdict != Unknown {
					t.Fatalf("agents' gap from hour %v: %+v", from, f)
				}
			}
		}
	}
}

// Every event of a busy partition is judged; words are for whoever reads a finding.
func TestJudgingAllocatesNothing(t *testing.T) {
	issuer, agents := audit(), told()
	issuer.Uses, agents.Uses, agents.FirstAt = 50, 5, hour(2)
	window := Span{hour(0), hour(24)}
	if n := testing.AllocsPerRun(100, func() { Judge(window, &issuer, &agents, Options{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
