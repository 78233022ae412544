package record

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/identity"
)

// identityRows is how many rows one INSERT holds.
const identityRows = 50_000

// Identities writes names of identities and conflicts about them as they are now. Written again, the newest replaces.
func Identities(ctx context.Context, conn *store.DB, rows []identity.Row, findings []identity.FindingRow, now time.Time) error {
	for begin := 0; begin < len(rows); begin += identityRows {
		if err := insertIdentities(ctx, conn, rows[begin:min(begin+identityRows, len(rows))], now); err != nil {
			return err
		}
	}
	return insertFindings(ctx, conn, findings, now)
}

func insertIdentities(ctx context.Context, conn *store.DB, rows []identity.Row, now time.Time) error {
	n := len(rows)
	node, component, status := texts(n), texts(n), texts(n)
	agents, owners, systems := make([][]string, n), make([][]string, n), make([][]string, n)
	for i, r := range rows {
		node[i], component[i], status[i] = r.Node, r.Component, r.Status
		agents[i], owners[i], systems[i] = r.Agents, r.Owners, r.Systems
	}
	return insert(ctx, conn, "identities", n, []column{{"node", node}, {"component", component},
		{"agents", agents}, {"owners", owners}, {"systems", systems}, {"status", status}, {"changed_at", repeat(now, n)}})
}

func insertFindings(ctx context.Context, conn *store.DB, findings []identity.FindingRow, now time.Time) error {
	n := len(findings)
	kind, subject, detail := texts(n), texts(n), texts(n)
	claims, evidence := make([][]string, n), make([][]string, n)
	standing := make([]bool, n)
	for i, f := range findings {
		kind[i], subject[i], standing[i] = f.Kind, f.Subject, f.Standing
		if f.Standing {
			detail[i] = f.String()
		}
		for _, side := range f.Sides {
			claims[i] = append(claims[i], side.Claim)
			for _, step := range side.Chain {
				evidence[i] = append(evidence[i], step.String())
			}
		}
	}
	return insert(ctx, conn, "identity_findings", n, []column{{"kind", kind}, {"subject", subject}, {"detail", detail},
		{"claims", claims}, {"evidence", evidence}, {"standing", standing}, {"changed_at", repeat(now, n)}})
}

// StandingFindings lists the conflicts that the tables hold as standing, by identity.Finding.Key.
func StandingFindings(ctx context.Context, conn *store.DB) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT kind, subject FROM identity_findings FINAL WHERE standing`)
	if err != nil {
		return nil, fmt.Errorf("read findings of identities: %w", err)
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var f identity.Finding
		if err := rows.Scan(&f.Kind, &f.Subject); err != nil {
			return nil, fmt.Errorf("read findings of identities: %w", err)
		}
		keys = append(keys, f.Key())
	}
	return keys, rows.Err()
}
