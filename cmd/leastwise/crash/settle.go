package crash

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/patience"
	"github.com/leastwise/leastwise/internal/store"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// catchUp bounds how long a run may take for what is left once nothing is killed any more, and stuck how long of that
	// nothing at all may change: a loaded machine is slow, and only a product that stands still is wrong.
	catchUp = 15 * time.Minute
	stuck   = 3 * time.Minute
	// quiet is how long nothing may change before it counts as done: several flushes and checkpoints.
	quiet = 4 * time.Second
)

// settle waits until everything has been read and every ladder has come to its end, and then until nothing changes any
// more, and takes a snapshot. What is not there in time is a difference, and the snapshot shows what it is.
func settle(ctx context.Context, s *site, h *history, d *differences, run string) (*snapshot, error) {
	engines, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer engines.Close()
	var missing, print string
	var since time.Time
	for left := patience.New(stuck, catchUp); ; {
		seen, err := fingerprint(ctx, engines.Store)
		if err != nil { // tables that are not there yet, an engine that starts
			missing = err.Error()
		} else {
			if seen != print {
				print, since = seen, time.Now()
			}
			if missing, err = h.missing(ctx, engines.Store); err != nil {
				missing = err.Error()
			}
		}
		if missing == "" && time.Since(since) >= quiet {
			break
		}
		if why := left.Over(print + missing); why != "" {
			d.add("%s: left alone, %s: %s", run, why, missing)
			break
		}
		if !wait(ctx, 300*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
	return take(ctx, engines)
}

// fingerprint changes whenever a pipeline that has work writes something. Heartbeats of decisions are left out.
func fingerprint(ctx context.Context, db *store.DB) (string, error) {
	var print string
	err := db.QueryRow(ctx, `SELECT concat(toString((SELECT count() FROM events)), ' ', toString((SELECT count() FROM dead_letters)), ' ',
		toString((SELECT sum(applied_offset) FROM credentials FINAL)), ' ', toString((SELECT count() FROM enforcement FINAL)))`).Scan(&print)
	if err != nil {
		return "", fmt.Errorf("look at the tables: %w", err)
	}
	return print, nil
}

// missing says what has not been done yet.
func (h *history) missing(ctx context.Context, db *store.DB) (string, error) {
	var events, letters uint64
	if err := db.QueryRow(ctx, "SELECT uniqExact(id) FROM events WHERE position != 'derived'").Scan(&events); err != nil {
		return "", fmt.Errorf("count events: %w", err)
	}
	if err := db.QueryRow(ctx, "SELECT uniqExact(id) FROM dead_letters").Scan(&letters); err != nil {
		return "", fmt.Errorf("count dead letters: %w", err)
	}
	var parts []string
	if int(events) < len(h.events) {
		parts = append(parts, fmt.Sprintf("%d of %d events", events, len(h.events)))
	}
	if int(letters) < h.truth.Malformed {
		parts = append(parts, fmt.Sprintf("%d of %d dead letters", letters, h.truth.Malformed))
	}
	rows, err := db.Query(ctx, "SELECT credential, state FROM v_ladder")
	if err != nil {
		return "", fmt.Errorf("read the ladders: %w", err)
	}
	defer rows.Close()
	todo, under := h.revokable(), 0
	for rows.Next() {
		var key, state string
		if err := rows.Scan(&key, &state); err != nil {
			return "", fmt.Errorf("read the ladders: %w", err)
		}
		switch state {
		case pb.LadderState_CLOSED.String():
			delete(todo, key)
		case pb.LadderState_RESOLVED.String():
		default:
			under++
		}
	}
	if len(todo)+under > 0 {
		parts = append(parts, fmt.Sprintf("%d credentials to be revoked are not at the end of a ladder, and %d ladders are under way", len(todo), under))
	}
	return strings.Join(parts, "; "), rows.Err()
}
