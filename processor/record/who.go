package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrNobody says that neither a credential nor an identity has such a name.
var ErrNobody = errors.New("no credential and no identity has this name, or one that ends so")

// maxNames bounds how many names of one identity are read.
const maxNames = 20_000

// Who finds the credential or identity that text names, by its key or the end of it, and reads its identity's links with
// their history into a graph. It fails with ErrNobody, or naming candidates if there is more than one.
func Who(ctx context.Context, conn *store.DB, text string) (*identity.Graph, identity.Subject, error) {
	g := identity.New()
	subject, err := findSubject(ctx, conn, text)
	if err != nil {
		return nil, subject, err
	}
	names := []string{identity.Holder(subject.Credential, subject.Principal, subject.Labels), identity.Node(subject.Principal)}
	if subject.Credential != "" {
		names = append(names, identity.Node(subject.Credential))
	}
	if err := loadIdentity(ctx, conn, g, names); err != nil {
		return g, subject, err
	}
	names = append(names, subject.Credential, subject.Principal)
	if holder := g.Resolve(subject.Query).Holder; holder != "" {
		names = append(names, g.Names(holder, 0)...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	subject.Noticed, err = FindingsAbout(ctx, conn, names)
	return g, subject, err
}

func findSubject(ctx context.Context, conn *store.DB, text string) (identity.Subject, error) {
	var s identity.Subject
	rows, err := conn.Query(ctx, `SELECT credential, principal, labels, owner, owner_evidence, agent, system_of_record
		FROM credentials FINAL WHERE credential = ? OR endsWith(credential, ?) ORDER BY credential = ? DESC, credential LIMIT 2`, text, text, text)
	if err != nil {
		return s, fmt.Errorf("find credential: %w", err)
	}
	defer rows.Close()
	var second string
	for n := 0; rows.Next(); n++ {
		var c identity.Subject
		if err := rows.Scan(&c.Credential, &c.Principal, &c.Labels, &c.Owner, &c.OwnerEvidence, &c.Agent, &c.System); err != nil {
			return s, fmt.Errorf("find credential: %w", err)
		}
		if n == 0 {
			s = c
		} else {
			second = c.Credential
		}
	}
	switch {
	case rows.Err() != nil:
		return s, fmt.Errorf("find credential: %w", rows.Err())
	case second != "" && s.Credential != text:
		return s, fmt.Errorf("more than one credential's key ends with %q: %s, %s, ...; give more of it", text, s.Credential, second)
	case s.Credential == "":
		s.Principal, err = findIdentity(ctx, conn, text)
		return s, err
	}
	s.Issued, err = issuedBy(ctx, conn, s.Credential)
	return s, err
}

// issuedBy names the record that tells whom a credential was issued to: the issuance if it was seen, else the first
// record that names the holder.
func issuedBy(ctx context.Context, conn *store.DB, credential string) (string, error) {
	rows, err := conn.Query(ctx, `SELECT kind, source, instance, record_id, toUnixTimestamp64Nano(occurred_at) FROM events
		WHERE credential = ? AND principal != '' ORDER BY kind = 'ISSUED' DESC, occurred_at LIMIT 1`, credential)
	if err != nil {
		return "", fmt.Errorf("find the issuance: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return "", rows.Err()
	}
	var kind, source, instance, record string
	var at int64
	if err := rows.Scan(&kind, &source, &instance, &record, &at); err != nil {
		return "", fmt.Errorf("find the issuance: %w", err)
	}
	return fmt.Sprintf("%s %s record %s of %s (%s)", source, instance, record, time.Unix(0, at).UTC().Format(time.RFC3339), kind), nil
}

func findIdentity(ctx context.Context, conn *store.DB, text string) (string, error) {
	node := identity.Node(text)
	rows, err := conn.Query(ctx, `SELECT node, component FROM identities FINAL
		WHERE node = ? OR endsWith(node, ?) ORDER BY node = ? DESC, node LIMIT 50`, node, "/"+text, node)
	if err != nil {
		return "", fmt.Errorf("find identity: %w", err)
	}
	defer rows.Close()
	var nodes, components []string
	for rows.Next() {
		var name, component string
		if err := rows.Scan(&name, &component); err != nil {
			return "", fmt.Errorf("find identity: %w", err)
		}
		nodes, components = append(nodes, name), append(components, component)
	}
	if rows.Err() != nil {
		return "", fmt.Errorf("find identity: %w", rows.Err())
	}
	if len(nodes) == 0 {
		return findPrincipal(ctx, conn, text)
	}
	for i := range nodes {
		if nodes[0] != node && components[i] != components[0] {
			return "", fmt.Errorf("more than one identity has a name that ends with %q: %s, %s, ...; give more of it", text, nodes[0], nodes[i])
		}
	}
	return nodes[0], nil
}

// findPrincipal finds an identity of which nothing is known but that it holds credentials.
func findPrincipal(ctx context.Context, conn *store.DB, text string) (string, error) {
	rows, err := conn.Query(ctx, `SELECT DISTINCT principal FROM credentials FINAL
		WHERE principal = ? OR endsWith(principal, ?) ORDER BY principal = ? DESC, principal LIMIT 2`, text, "/"+text, text)
	if err != nil {
		return "", fmt.Errorf("find identity: %w", err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var principal string
		if err := rows.Scan(&principal); err != nil {
			return "", fmt.Errorf("find identity: %w", err)
		}
		found = append(found, principal)
	}
	switch {
	case rows.Err() != nil:
		return "", fmt.Errorf("find identity: %w", rows.Err())
	case len(found) == 0:
		return "", fmt.Errorf("%q: %w", text, ErrNobody)
	case len(found) > 1 && found[0] != text:
		return "", fmt.Errorf("more than one identity's key ends with %q: %s, %s, ...; give more of it", text, found[0], found[1])
	}
	return found[0], nil
}

// loadIdentity reads the links of the nodes, and of all that were ever one identity with them.
func loadIdentity(ctx context.Context, conn *store.DB, g *identity.Graph, names []string) error {
	seen := map[string]bool{}
	for len(names) > 0 {
		var fresh []string
		for _, name := range names {
			if name != "" && !seen[name] {
				seen[name] = true
				fresh = append(fresh, name)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		if len(seen) > maxNames {
			return fmt.Errorf("the identity has more than %d names; read v_identities and v_link_history instead", maxNames)
		}
		var err error
		if names, err = loadLinks(ctx, conn, g, fresh); err != nil {
			return err
		}
	}
	return nil
}

// loadLinks reads the links of nodes, and gives the nodes that those are, or once were, one identity with. The nodes on
// the other side of a credential's links and of an agent's claim are among them: whether they are another identity is
// what is asked.
func loadLinks(ctx context.Context, conn *store.DB, g *identity.Graph, names []string) (next []string, err error) {
	asked := make(map[string]bool, len(names))
	for _, name := range names {
		asked[name] = true
	}
	rows, err := conn.Query(ctx, `SELECT from_node, to_node, kind, confidence, toUnixTimestamp64Nano(at), retracted, evidence
		FROM link_statements FINAL WHERE from_node IN (?) OR to_node IN (?)`, names, names)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		l := &pb.Link{}
		var kind, confidence string
		var at int64
		if err := rows.Scan(&l.From, &l.To, &kind, &confidence, &at, &l.Retracted, &l.Evidence); err != nil {
			return nil, fmt.Errorf("read links: %w", err)
		}
		l.Kind, l.Confidence = pb.Link_Kind(pb.Link_Kind_value[kind]), pb.Link_Confidence(pb.Link_Confidence_value[confidence])
		l.At = timestamppb.New(time.Unix(0, at))
		g.Put(l)
		switch {
		case l.Kind == pb.Link_SAME_AS && l.Confidence > pb.Link_INFERRED:
			next = append(next, l.From, l.To)
		case l.Kind == pb.Link_ISSUED_TO && asked[l.From]: // not the other credentials of a holder
			next = append(next, l.To)
		}
	}
	return next, rows.Err()
}
