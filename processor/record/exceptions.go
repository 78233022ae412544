package record

import (
	"context"
	"fmt"

	"github.com/leastwise/leastwise/internal/store"
)

// Excepted is an exception that is in force for an identity.
type Excepted struct{ Identity, Policy, ID string }

// ExceptionsOf lists the exceptions in force now for identities whose keys begin with prefix.
func ExceptionsOf(ctx context.Context, conn *store.DB, prefix string) ([]Excepted, error) {
	rows, err := conn.Query(ctx, `SELECT identity, policy, id FROM v_exceptions WHERE state = 'in force' AND startsWith(identity, ?) ORDER BY id`, prefix)
	if err != nil {
		return nil, fmt.Errorf("read exceptions: %w", err)
	}
	defer rows.Close()
	var out []Excepted
	for rows.Next() {
		var e Excepted
		if err := rows.Scan(&e.Identity, &e.Policy, &e.ID); err != nil {
			return nil, fmt.Errorf("read exceptions: %w", err)
		}
		out = append(out, e)
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("read exceptions: %w", rows.Err())
	}
	return out, nil
}
