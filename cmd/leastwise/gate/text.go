package gate

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the report for people.
func (r *Report) Text(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	refused, open := 0, 0
	for _, v := range r.Workloads {
		word := "allowed"
		switch {
		case !v.Allowed:
			word = "REFUSED"
			refused++
		case v.Open:
			word = "allowed, gate open"
			open++
		}
		line("%s  %s  %s", word, v.Workload, v.Where)
		for i := range v.Identities {
			s := &v.Identities[i]
			line("  %-11s %s%s", s.State, s.Identity, s.answer())
		}
		for _, p := range v.Problems {
			line("  - %s", p.Text)
			if p.Do != "" {
				line("    %s", p.Do)
			}
		}
		if v.Add != "" {
			line("  In the catalog:")
			line("%s", indent(v.Add, "    "))
		}
		for _, w := range v.Warnings {
			line("  note: %s", w)
		}
		line("")
	}
	held := 0
	for _, i := range r.Issuances {
		word := "allowed"
		if !i.Allowed {
			word = "REFUSED"
			held++
		}
		line("%s  %s  %s%s", word, i, i.Where, before("  owner ", i.Owner))
		for _, p := range i.Problems {
			line("  - %s", p.Text)
			if p.Do != "" {
				line("    %s", p.Do)
			}
		}
		for _, w := range i.Warnings {
			line("  note: %s", w)
		}
		line("")
	}
	for _, n := range r.Notes {
		line("note: %s", n)
	}
	if r.Catalog.Error != "" {
		line("The catalog can not be read: %s", r.Catalog.Error)
	}
	line("%d workloads judged, %d refused, %d let pass because the gate fails open; %d documents hold no identity. Catalog %s%s. The gate fails %s.",
		len(r.Workloads), refused, open, r.Others, r.Catalog.Path, before(" at revision ", r.Catalog.Revision), r.Fail)
	if len(r.Issuances) > 0 {
		line("%d resources that let credentials be issued judged, %d refused.", len(r.Issuances), held)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// answer says to whom an identity belongs.
func (s *Standing) answer() string {
	switch s.State {
	case Owned:
		return fmt.Sprintf(": owner %s, system of record %s (%s)", s.Owner, s.System, evidence(s.Claims))
	case NoSystem:
		return fmt.Sprintf(": owner %s (%s)", s.Owner, evidence(s.Claims))
	}
	return ""
}

func evidence(claims []Claim) string {
	return strings.Join(distinct(claims, func(c Claim) string { return c.Evidence }), ", ")
}

func before(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}
