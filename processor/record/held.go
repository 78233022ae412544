package record

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/schemas"
)

// Holder is an identity with all its names, and the agents of the catalog that it is.
type Holder struct {
	Names  []string
	Agents []string // ids
}

// HolderOf gives the identity that Who found.
func HolderOf(g *identity.Graph, s identity.Subject) Holder {
	h := Holder{Names: []string{s.Principal}}
	r := g.Resolve(s.Query)
	if r.Holder != "" {
		h.Names = append(h.Names, g.Names(r.Holder, 0)...)
	}
	for _, node := range append(slices.Clone(h.Names), r.Agents...) {
		if id, ok := strings.CutPrefix(node, identity.AgentNode("")); ok {
			h.Agents = append(h.Agents, id)
		}
	}
	slices.Sort(h.Names)
	slices.Sort(h.Agents)
	h.Names, h.Agents = slices.Compact(h.Names), slices.Compact(h.Agents)
	return h
}

// ids under which issuers may name the holder: a node has another system than the key that it was made of, and the same id.
func (h Holder) ids() []string {
	out := make([]string, 0, len(h.Names))
	for _, name := range h.Names {
		if key, err := schemas.ParseKey(name); err == nil {
			out = append(out, key.ID)
		} else {
			out = append(out, name)
		}
	}
	return out
}

// LiveCredentials gives the keys of the credentials that an identity holds and that have not ended, at most limit.
func LiveCredentials(ctx context.Context, conn *store.DB, h Holder, limit int) ([]string, error) {
	return held(ctx, conn, h, `state IN ('active', 'unknown') ORDER BY expires_at DESC NULLS FIRST, credential`, limit)
}

// HeldSince gives the keys of the credentials that an identity held at any time since, the newest first, at most limit.
func HeldSince(ctx context.Context, conn *store.DB, h Holder, since time.Time, limit int) ([]string, error) {
	return held(ctx, conn, h, `last_seen_at >= ? ORDER BY coalesce(issued_at, first_seen_at) DESC, credential`, limit, since)
}

// held reads the credentials that may be the identity's and keeps those that are: whose issuer names it, or that the
// catalog gives to its agent.
func held(ctx context.Context, conn *store.DB, h Holder, where string, limit int, args ...any) (keys []string, err error) {
	args = append([]any{h.Agents, h.Names, h.ids()}, args...)
	rows, err := conn.Query(ctx, `SELECT credential, principal, agent, labels FROM v_credentials
		WHERE (agent IN (?) OR principal IN (?) OR extract(principal, '^[^/]*/[^/]*/[^/]*/(.*)$') IN (?)) AND `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("find the identity's credentials: %w", err)
	}
	defer rows.Close()
	for rows.Next() && len(keys) < limit {
		var key, principal, agent string
		var labels map[string]string
		if err := rows.Scan(&key, &principal, &agent, &labels); err != nil {
			return nil, fmt.Errorf("find the identity's credentials: %w", err)
		}
		if h.has(key, principal, agent, labels) {
			keys = append(keys, key)
		}
	}
	return keys, rows.Err()
}

func (h Holder) has(key, principal, agent string, labels map[string]string) bool {
	if agent != "" && slices.Contains(h.Agents, agent) {
		return true
	}
	for _, name := range []string{principal, identity.Holder(key, principal, labels)} {
		if _, found := slices.BinarySearch(h.Names, name); found && name != "" {
			return true
		}
	}
	return false
}

// ScopesOf gives what credentials were granted through, by name, each once: of tokens of OAuth their scopes.
func ScopesOf(ctx context.Context, conn *store.DB, credentials []string) (names []string, err error) {
	row := conn.QueryRow(ctx, `SELECT arraySort(groupUniqArrayArray(policies)) FROM credentials FINAL WHERE credential IN (?)`, credentials)
	if err := row.Scan(&names); err != nil {
		return nil, fmt.Errorf("read the scopes of credentials: %w", err)
	}
	return names, nil
}
