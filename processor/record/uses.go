package record

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/rightsize"
	"github.com/leastwise/leastwise/processor/scope"
)

// maxUses are read: beyond that a scope is too varied to be looked at call by call.
const maxUses = 200_000

// Uses gives what credentials of one source were seen to use since a time, each permission and resource once, and whether
// those are all.
func Uses(ctx context.Context, conn *store.DB, source string, credentials []string, since time.Time) (uses []rightsize.Use, all bool, err error) {
	rows, err := conn.Query(ctx, `SELECT permission, resource, count(), max(occurred_at) FROM events
		WHERE credential IN (?) AND kind = 'USED' AND permission != '' AND occurred_at >= ?
		GROUP BY permission, resource ORDER BY permission, resource LIMIT ?`, credentials, since, maxUses+1)
	if err != nil {
		return nil, false, fmt.Errorf("read uses: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var permission, resource string
		var use rightsize.Use
		if err := rows.Scan(&permission, &resource, &use.Count, &use.LastAt); err != nil {
			return nil, false, fmt.Errorf("read uses: %w", err)
		}
		if use.Permission, use.Resource = scope.Permission(source, permission, resource); use.Permission != "" {
			uses = append(uses, use)
		}
	}
	return uses, len(uses) <= maxUses, rows.Err()
}

// quietFor is how long ago the last heartbeat of a source may be before its uses are said to be missing.
const quietFor = 3 * time.Minute

// Gaps says in sentences why uses of a source's credentials may be missing since a time.
func Gaps(ctx context.Context, conn *store.DB, source, instance string, since, now time.Time) (gaps []string, err error) {
	rows, err := conn.Query(ctx, `SELECT max(at), argMax(trouble, at) FROM source_health FINAL WHERE source = ? AND instance = ? HAVING count() > 0`, source, instance)
	if err != nil {
		return nil, fmt.Errorf("read the source's health: %w", err)
	}
	defer rows.Close()
	name := source + "/" + instance
	known := false
	for rows.Next() {
		var at time.Time
		var trouble string
		if err := rows.Scan(&at, &trouble); err != nil {
			return nil, fmt.Errorf("read the source's health: %w", err)
		}
		known = true
		if now.Sub(at) > quietFor {
			gaps = append(gaps, fmt.Sprintf("the source %s is silent since %s", name, at.UTC().Format("2006-01-02 15:04 UTC")))
		}
		if trouble != "" {
			gaps = append(gaps, fmt.Sprintf("the source %s has trouble: %s", name, trouble))
		}
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("read the source's health: %w", rows.Err())
	}
	if !known {
		gaps = append(gaps, fmt.Sprintf("the source %s never said that it reads", name))
	}
	first, err := conn.Query(ctx, `SELECT min(occurred_at) FROM events WHERE source = ? AND instance = ? HAVING count() > 0`, source, instance)
	if err != nil {
		return nil, fmt.Errorf("read since when the source is known: %w", err)
	}
	defer first.Close()
	for first.Next() {
		var at time.Time
		if err := first.Scan(&at); err != nil {
			return nil, fmt.Errorf("read since when the source is known: %w", err)
		}
		if at.After(since) {
			gaps = append(gaps, fmt.Sprintf("the log of %s is known only since %s", name, at.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	return gaps, first.Err()
}

// PrincipalKey gives the key under which a source names a principal, such as an ARN; empty if no credential of it was seen.
func PrincipalKey(ctx context.Context, conn *store.DB, source, name string) (key string, err error) {
	rows, err := conn.Query(ctx, `SELECT principal FROM credentials FINAL WHERE source = ? AND endsWith(principal, concat('/', ?))
		GROUP BY principal ORDER BY max(last_seen_at) DESC LIMIT 1`, source, name)
	if err != nil {
		return "", fmt.Errorf("find the principal %s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&key); err != nil {
			return "", fmt.Errorf("find the principal %s: %w", name, err)
		}
	}
	return key, rows.Err()
}
