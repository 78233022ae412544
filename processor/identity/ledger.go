package identity

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// Status of an identity.
const (
	Owned    = "owned"
	Unowned  = "unowned"
	Conflict = "conflict"
)

// Row is one name of an identity, with what is known of the identity.
type Row struct {
	Node, Component         string
	Agents, Owners, Systems []string
	// Status is Owned, Unowned or Conflict; empty for nodes that are no identity, such as owners.
	Status string
}

// FindingRow is a conflict that stands, or that stands no more.
type FindingRow struct {
	Finding
	Standing bool
}

// Ledger remembers what was told of a graph, to tell only what has changed since. It is not safe for concurrent use. The
// zero value has told nothing.
type Ledger struct {
	seed      maphash.Seed
	seeded    bool
	rows      []uint64 // by node: hash of the row that was told; 0 none
	findings  map[string]uint64
	status    map[string]int
	conflicts map[string]int
}

// Stood says which findings (see Finding.Key) stood when the ledger's predecessor ended: those that do not stand any more
// are then told as such.
func (l *Ledger) Stood(keys []string) {
	l.findings = map[string]uint64{}
	for _, key := range keys {
		l.findings[key] = 0
	}
}

// Key names a finding.
func (f Finding) Key() string { return f.Kind + " " + f.Subject }

// Totals counts identities by status and standing conflicts by kind, as of the last Changes.
func (l *Ledger) Totals() (status, conflicts map[string]int) { return l.status, l.conflicts }

// chunk is how many nodes are looked at under one lock.
const chunk = 2000

// Changes gives the rows and the conflicts that are others than were told before, and takes them for told. That nobody
// answers is told by the rows.
func (l *Ledger) Changes(g *Graph) (rows []Row, findings []FindingRow) {
	if !l.seeded {
		l.seed, l.seeded = maphash.MakeSeed(), true
	}
	if l.findings == nil {
		l.findings = map[string]uint64{}
	}
	l.status = map[string]int{Owned: 0, Unowned: 0, Conflict: 0}
	l.conflicts = map[string]int{TwoOwners: 0, TwoSystems: 0, TwoAgents: 0, SharedCredential: 0, SharedLabel: 0}
	standing := map[string]bool{}
	tell := func(f Finding) {
		if f.Kind == NoOwner || standing[f.Key()] {
			return
		}
		standing[f.Key()] = true
		l.conflicts[f.Kind]++
		sum := maphash.String(l.seed, f.String()) | 1
		if l.findings[f.Key()] != sum {
			l.findings[f.Key()] = sum
			findings = append(findings, FindingRow{f, true})
		}
	}
	for begin := uint32(0); ; begin += chunk {
		more := l.span(g, begin, &rows, tell)
		if !more {
			break
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.findings)) {
		if !standing[key] {
			kind, subject, _ := strings.Cut(key, " ")
			findings = append(findings, FindingRow{Finding{Kind: kind, Subject: subject}, false})
			delete(l.findings, key)
		}
	}
	return rows, findings
}

// span looks at the components whose roots lie in a chunk of nodes, and at those nodes themselves.
func (l *Ledger) span(g *Graph, begin uint32, rows *[]Row, tell func(Finding)) (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := view{g, 0}
	end := min(begin+chunk, uint32(len(g.names)))
	if grown := len(g.names) - len(l.rows); grown > 0 {
		l.rows = append(l.rows, make([]uint64, grown)...)
	}
	for id := begin; id < end; id++ {
		for _, f := range v.ofNode(id, g.names[id]) {
			tell(f)
		}
		if g.nodes[id].parent != id || strings.HasPrefix(g.names[id], anyCluster) { // a label there is never anybody's
			continue
		}
		s := v.summary(id, nil)
		row := Row{Component: g.names[s.low], Agents: v.name(s.agents), Owners: v.name(s.owners), Systems: v.name(s.systems)}
		if row.Status = s.status(); row.Status != "" {
			l.status[row.Status]++
		}
		if len(s.owners) > 1 || len(s.systems) > 1 || len(s.agents) > 1 {
			for _, f := range v.findings(s.low, s) {
				tell(f)
			}
		}
		sum := l.hash(&row)
		for _, m := range g.members(id) {
			if l.rows[m] != sum {
				l.rows[m] = sum
				told := row
				told.Node = g.names[m]
				*rows = append(*rows, told)
			}
		}
	}
	return end < uint32(len(g.names))
}

func (s *summary) status() string {
	switch {
	case s.nobody:
		return ""
	case len(s.owners) > 1 || len(s.systems) > 1:
		return Conflict
	case len(s.owners) == 0:
		return Unowned
	}
	return Owned
}

func (l *Ledger) hash(row *Row) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, list := range [...][]string{{row.Component, row.Status}, row.Agents, row.Owners, row.Systems} {
		for _, text := range list {
			h.WriteString(text)
			h.WriteByte(0)
		}
		h.WriteByte(1)
	}
	return h.Sum64() | 1
}
