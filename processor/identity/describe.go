package identity

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/terminal"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Subject is whom Describe tells of: a credential, or an identity if Credential is empty.
type Subject struct {
	Query
	// Issued is the record that names the holder.
	Issued string
	// What the catalog's entries for the single credential say; empty if none matches it.
	Owner, OwnerEvidence, Agent, System string
	// Noticed is what sources found about the credential or the identity and stands now.
	Noticed []*pb.Finding
}

// Describe tells a person who it is: one identity with all its names, who answers for it and where it is recorded, and
// for each word the evidence and its confidence.
func (g *Graph) Describe(w io.Writer, s Subject) error {
	p := &page{w: w}
	r := g.Resolve(s.Query)
	if s.Credential != "" {
		p.line("credential        %s", s.Credential)
		p.line("issued to         %s", or(r.Holder, "unknown: no record names who holds it"))
		if s.Issued != "" {
			p.line("                  by %s", s.Issued)
		}
	}
	p.line("identity          %s", or(r.Component, "unknown"))
	if s.AsOf != 0 {
		p.line("as of             %s", time.Unix(0, s.AsOf).UTC().Format(time.RFC3339))
	}
	p.line("owner             %s", s.answer(r.Owners, s.Owner, "nobody: no link leads to an owner; add an agent with a matching entry to the catalog"))
	p.line("system of record  %s", s.answer(r.Systems, s.System, "none named"))
	p.line("agent             %s", s.answer(r.Agents, s.Agent, "none of the catalog"))
	if r.Holder != "" {
		g.printNames(p, &r, s.AsOf)
	}
	for _, owner := range slices.Concat(r.Owners, r.Systems) {
		p.line("")
		p.line("EVIDENCE for %s", short(owner))
		for i, step := range g.Chain(r.Holder, owner, s.AsOf) {
			p.step(fmt.Sprintf("%2d.", i+1), step)
		}
	}
	if s.Owner != "" {
		p.line("")
		p.line("EVIDENCE for owner %s of this credential: catalog %s", s.Owner, s.OwnerEvidence)
	}
	g.unheld(p, &r, s)
	p.line("")
	if n := len(r.Findings) + len(s.Noticed); n == 0 {
		p.line("FINDINGS: none")
	} else {
		p.line("FINDINGS (%d)", n)
	}
	for _, f := range r.Findings {
		p.line("  %s", f)
		for _, side := range f.Sides {
			p.line("    %s:", short(side.Claim))
			for _, step := range side.Chain {
				p.step("     ", step)
			}
		}
	}
	for _, f := range s.Noticed {
		p.line("  %s, by %s %s, since %s: %s", f.Kind, f.Source, f.Instance, f.Since.AsTime().Format(time.RFC3339), f.Detail)
		for _, evidence := range f.Evidence {
			p.line("      %s", evidence)
		}
	}
	return p.err
}

// answer gives what links say, then what the catalog's entry for the credential says.
func (s *Subject) answer(nodes []string, own, nobody string) string {
	var ids []string
	for _, node := range nodes {
		ids = append(ids, short(node))
	}
	if own != "" && !slices.Contains(ids, own) {
		ids = append(ids, own)
	}
	switch len(ids) {
	case 0:
		return nobody
	case 1:
		return ids[0]
	}
	return strings.Join(ids, " AND ") + " (a conflict, see the findings)"
}

// short gives the id of a node of the catalog, and other nodes whole.
func short(node string) string {
	if strings.HasPrefix(node, systemCatalog+"/") {
		_, _, kind, id, ok := split(node)
		if ok && (kind == typeOwner || kind == typeSystem || kind == typeAgent) {
			return id
		}
	}
	return node
}

func (g *Graph) printNames(p *page, r *Resolution, asOf int64) {
	names := g.Names(r.Holder, asOf)
	p.line("")
	p.line("NAMES (%d)", len(names))
	for _, name := range names {
		p.line("  %s", name)
		for _, step := range g.Links(name, asOf) {
			if step.Kind == pb.Link_SAME_AS && step.Confidence > pb.Link_INFERRED && step.To > name { // each once
				p.step("   ", Step{From: "", To: step.To, Kind: step.Kind, Confidence: step.Confidence, Evidence: step.Evidence, Since: step.Since})
			}
		}
	}
}

// unheld are links of the identity's names, and of the credential, that are shown and merge nothing.
func (g *Graph) unheld(p *page, r *Resolution, s Subject) {
	names := g.Names(r.Holder, s.AsOf)
	from := names
	if s.Credential != "" {
		from = append(slices.Clone(names), Node(s.Credential))
	}
	var steps []Step
	for _, name := range from {
		for _, step := range g.Links(name, s.AsOf) {
			shown := step.Confidence == pb.Link_INFERRED || step.Kind == pb.Link_DERIVED_FROM || step.Kind == pb.Link_ISSUED_TO
			if shown && !slices.Contains(names, step.To) && step.To != Node(s.Credential) {
				steps = append(steps, step)
			}
		}
	}
	if len(steps) == 0 {
		return
	}
	p.line("")
	p.line("ALSO SAID (shown; not held to be the same)")
	for _, step := range steps[:min(len(steps), maxShown)] {
		p.step(" ", step)
	}
	if len(steps) > maxShown {
		p.line("  and %d more, in v_link_history", len(steps)-maxShown)
	}
}

const maxShown = 50

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// page keeps the first error of a row of prints, and makes text from logs harmless for a terminal.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	text := terminal.Safe(fmt.Sprintf(format, args...))
	_, p.err = io.WriteString(p.w, strings.TrimRight(text, " ")+"\n")
}

func (p *page) step(indent string, s Step) {
	since := ""
	if s.Since > 1 {
		since = ", since " + time.Unix(0, s.Since).UTC().Format(time.RFC3339)
	}
	from := s.From
	if from != "" {
		from += " "
	}
	p.line("  %s %s%s %s  [%s%s]", indent, from, s.verb(), s.To, strings.ToLower(s.Confidence.String()), since)
	p.line("  %s     %s", strings.Repeat(" ", len(indent)), s.Evidence)
}
