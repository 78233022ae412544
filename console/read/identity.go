package read

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/store"
)

// ErrNobody says that no identity has such a name.
var ErrNobody = errors.New("no identity has this name")

// Identities are a page of those that were found, by name. held counts the credentials that live by node.
func (r *Reader) Identities(ctx context.Context, q, status, cursor string, limit int, held func(nodes []string) uint64) (contract.Page[contract.IdentitySummary], error) {
	page := contract.Page[contract.IdentitySummary]{Items: []contract.IdentitySummary{}}
	after, err := ParseCursor(cursor, "identities", 1)
	if err != nil {
		return page, err
	}
	from := ""
	if after != nil {
		from = after[0]
	}
	q = strings.ToLower(q)
	err = r.each(ctx, "identities", `SELECT component, arraySort(groupArray(node)) AS all, any(agents), any(owners), any(systems), any(status) AS standing
		FROM identities FINAL WHERE status != '' AND component > ?
		GROUP BY component
		HAVING (? = '' OR standing = ?) AND (? = '' OR arrayExists(n -> position(lower(n), ?) > 0, arrayConcat(all, any(agents), any(owners))))
		ORDER BY component LIMIT ?`, []any{from, status, status, q, q, limit + 1}, func(rows store.Rows) error {
		var s contract.IdentitySummary
		if err := rows.Scan(&s.Name, &s.Names, &s.Agents, &s.Owners, &s.Systems, &s.Status); err != nil {
			return err
		}
		if n := len(page.Items); n == limit {
			page.Next = next("identities", page.Items[n-1].Name)
			return nil
		}
		s.Credentials = held(s.Names)
		page.Items = append(page.Items, whole(s))
		return nil
	})
	return page, err
}

func whole(s contract.IdentitySummary) contract.IdentitySummary {
	for _, list := range []*[]string{&s.Names, &s.Agents, &s.Owners, &s.Systems} {
		if *list == nil {
			*list = []string{}
		}
	}
	// The catalog's own names are told as people write them there.
	for _, list := range [][]string{s.Agents, s.Owners, s.Systems} {
		for i, name := range list {
			if strings.HasPrefix(name, "catalog/default/") {
				list[i] = nodeOf(name).Label
			}
		}
	}
	return s
}

// manyNames bounds how many names of one identity are followed.
const manyNames = 2000

// Identity finds who has a name, as it was known at a time; the zero time is now. Held credentials are the caller's to fill.
func (r *Reader) Identity(ctx context.Context, name string, asOf time.Time) (contract.Identity, error) {
	out := contract.Identity{AsOf: asOf.UTC(), Nodes: []contract.Node{}, Links: []contract.Link{}, Conflicts: []contract.Conflict{}, Held: []contract.Credential{}}
	past := !asOf.IsZero()
	if !past {
		out.AsOf = r.now().UTC()
	}
	node := r.names.Node(name)
	statements, err := r.statements(ctx, node, out.AsOf)
	if err != nil {
		return out, err
	}
	links := standing(statements)
	members := component(links, node)
	known := len(statements) > 0
	if !past {
		current, err := r.current(ctx, node)
		if err != nil {
			return out, err
		}
		if current != nil {
			out.IdentitySummary, known = *current, true
		}
	}
	if out.Name == "" {
		out.IdentitySummary = summary(members, links)
	}
	if !known {
		return out, ErrNobody
	}
	out.IdentitySummary = whole(out.IdentitySummary)
	of := map[string]bool{node: true}
	for _, m := range append(members, out.Names...) {
		of[m] = true
	}
	shown := map[string]bool{}
	for _, l := range links {
		if !of[l.From] && !of[l.To] {
			continue
		}
		out.Links = append(out.Links, l)
		shown[l.From], shown[l.To] = true, true
	}
	for m := range of {
		shown[m] = true
	}
	for n := range shown {
		out.Nodes = append(out.Nodes, nodeOf(n))
	}
	slices.SortFunc(out.Nodes, func(a, b contract.Node) int { return strings.Compare(a.Name, b.Name) })
	if !past {
		out.Conflicts, err = r.conflicts(ctx, of)
	}
	return out, err
}

// nodeOf says what a node is, and how a person calls it.
func nodeOf(name string) contract.Node {
	parts := strings.SplitN(name, "/", 4)
	if len(parts) != 4 {
		return contract.Node{Name: name, Kind: "name", Label: name}
	}
	return contract.Node{Name: name, Kind: parts[2], Label: parts[3]}
}

// current is the identity as the processor found it last; nil if it found none.
func (r *Reader) current(ctx context.Context, node string) (*contract.IdentitySummary, error) {
	var found *contract.IdentitySummary
	err := r.each(ctx, "identity", `SELECT component, arraySort(groupArray(node)), any(agents), any(owners), any(systems), any(status)
		FROM identities FINAL WHERE status != '' AND component IN (SELECT component FROM identities FINAL WHERE node = ?)
		GROUP BY component`, []any{node}, func(rows store.Rows) error {
		var s contract.IdentitySummary
		if err := rows.Scan(&s.Name, &s.Names, &s.Agents, &s.Owners, &s.Systems, &s.Status); err != nil {
			return err
		}
		found = &s
		return nil
	})
	return found, err
}

// statements reads what was said, until a time, of links of the node and of all that were ever one identity with it.
func (r *Reader) statements(ctx context.Context, node string, until time.Time) (out []contract.Link, err error) {
	seen := map[string]bool{}
	fresh := []string{node}
	told := map[contract.Link]bool{}
	for len(fresh) > 0 && len(seen) < manyNames {
		for _, n := range fresh {
			seen[n] = true
		}
		asked := fresh
		fresh = nil
		// What is written twice is left out below; FINAL would keep ClickHouse from finding the nodes by their indexes.
		err := r.each(ctx, "links", `SELECT from_node, to_node, kind, confidence, toUnixTimestamp64Nano(at), retracted, evidence FROM
			(SELECT * FROM link_statements WHERE from_node IN (?) UNION ALL SELECT * FROM link_statements WHERE to_node IN (?))
			WHERE at <= ? LIMIT 20000`, []any{asked, asked, until}, func(rows store.Rows) error {
			var l contract.Link
			var at int64
			if err := rows.Scan(&l.From, &l.To, &l.Kind, &l.Confidence, &at, &l.Retracted, &l.Evidence); err != nil {
				return err
			}
			l.At, l.Kind, l.Confidence = nanos(at), strings.ToLower(l.Kind), strings.ToLower(l.Confidence)
			if told[l] {
				return nil
			}
			told[l] = true
			out = append(out, l)
			if l.Kind == "same_as" && l.Confidence != "inferred" {
				for _, n := range []string{l.From, l.To} {
					if !seen[n] && !slices.Contains(fresh, n) {
						fresh = append(fresh, n)
					}
				}
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// standing is the newest statement of each link: retracted ones too, since they tell what was believed.
func standing(statements []contract.Link) []contract.Link {
	type link struct{ from, to, kind, confidence string }
	at := map[link]int{}
	var out []contract.Link
	for _, l := range statements {
		k := link{l.From, l.To, l.Kind, l.Confidence}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, l)
		} else if out[i].At.Before(l.At) || out[i].At.Equal(l.At) && l.Retracted {
			out[i] = l
		}
	}
	slices.SortFunc(out, func(a, b contract.Link) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.From, b.From), strings.Compare(a.To, b.To), strings.Compare(a.Confidence, b.Confidence))
	})
	return out
}

// component are the names that links hold together: proven and asserted ones that stand.
func component(links []contract.Link, node string) []string {
	names := []string{node}
	for i := 0; i < len(names); i++ {
		for _, l := range links {
			if l.Kind != "same_as" || l.Confidence == "inferred" || l.Retracted {
				continue
			}
			for _, pair := range [][2]string{{l.From, l.To}, {l.To, l.From}} {
				if pair[0] == names[i] && !slices.Contains(names, pair[1]) {
					names = append(names, pair[1])
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// summary of an identity from its links alone.
func summary(names []string, links []contract.Link) contract.IdentitySummary {
	s := whole(contract.IdentitySummary{Name: names[0], Names: names})
	add := func(list *[]string, name string) {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for _, n := range names {
		if kind := nodeOf(n); kind.Kind == "agent" && strings.HasPrefix(n, "catalog/") {
			add(&s.Agents, kind.Label)
		}
		for _, l := range links {
			if l.From != n || l.Retracted {
				continue
			}
			switch l.Kind {
			case "owned_by":
				add(&s.Owners, nodeOf(l.To).Label)
			case "recorded_in":
				add(&s.Systems, nodeOf(l.To).Label)
			}
		}
	}
	switch {
	case len(s.Owners) > 1 || len(s.Systems) > 1 || len(s.Agents) > 1:
		s.Status = "conflict"
	case len(s.Owners) == 1:
		s.Status = "owned"
	default:
		s.Status = "unowned"
	}
	return s
}

// conflicts about any of the names.
func (r *Reader) conflicts(ctx context.Context, names map[string]bool) ([]contract.Conflict, error) {
	subjects := []string{}
	for n := range names {
		subjects = append(subjects, n)
	}
	out := []contract.Conflict{}
	err := r.each(ctx, "conflicts", `SELECT kind, detail, claims, evidence FROM v_identity_conflicts
		WHERE subject IN (?) OR hasAny(claims, ?) ORDER BY kind, subject LIMIT 200`, []any{subjects, subjects}, func(rows store.Rows) error {
		var c contract.Conflict
		var claims, evidence []string
		if err := rows.Scan(&c.Kind, &c.Detail, &claims, &evidence); err != nil {
			return err
		}
		c.Sides = []contract.Side{}
		for _, claim := range claims {
			c.Sides = append(c.Sides, contract.Side{Claim: claim, Evidence: []string{}})
		}
		for _, e := range evidence { // written in one list; each names the claim that it leads to
			placed := false
			for i := range c.Sides {
				if strings.Contains(e, nodeOf(c.Sides[i].Claim).Label) {
					c.Sides[i].Evidence, placed = append(c.Sides[i].Evidence, e), true
					break
				}
			}
			if !placed && len(c.Sides) > 0 {
				c.Sides[0].Evidence = append(c.Sides[0].Evidence, e)
			}
		}
		out = append(out, c)
		return nil
	})
	return out, err
}
