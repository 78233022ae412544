// Package deadletter reads records again that a collector could not read.
//
// A dead letter holds no record, for records may hold secrets: it holds where the record stood, its hash and its outline.
// To replay one, its record is looked for in the log it came from (or in files that are given), known by its hash, decoded
// by today's decoder of its source with today's configuration, and its events are published as a collector publishes them.
// They have the ids that they would have had the first time, so that nothing counts twice, however often it is replayed.
//
// What was read again is marked in the dead letters themselves, with reason "replayed". A crash between the events and the
// mark leaves a letter that may be replayed once more, which changes nothing.
package deadletter

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/store"
)

// ReasonReplayed marks a letter whose record was read after all.
const ReasonReplayed = "replayed"

// ErrNone says that no dead letter is meant.
var ErrNone = errors.New("no such dead letter")

// Letter is one dead letter.
type Letter struct {
	ID                         string
	Source, Instance, Position string
	Reason, Detail             string
	SHA256                     []byte
	Length                     uint64
	Excerpt                    string // the outline, every value blanked
	ObservedAt                 time.Time
}

// Filter says which are meant. Without Reason those that were replayed are left out.
type Filter struct {
	IDs            []string // hex, or how it begins
	Source, Reason string
	Limit          int
}

// List gives letters, newest first, and how many there are in all. With IDs each has to name one.
func List(ctx context.Context, db *store.DB, f Filter) (letters []Letter, all uint64, err error) {
	if len(f.IDs) == 0 {
		return list(ctx, db, "(? = '' OR source = ?) AND if(? = '', reason != 'replayed', reason = ?)",
			[]any{f.Source, f.Source, f.Reason, f.Reason}, f.Limit)
	}
	for _, id := range f.IDs {
		if strings.Trim(strings.ToLower(id), "0123456789abcdef") != "" || len(id) < 4 || len(id) > 32 {
			return nil, 0, fmt.Errorf("%w: %q is not an id: four to 32 hexadecimal digits, as `leastwise deadletter list` shows them", ErrNone, id)
		}
		found, n, err := list(ctx, db, "startsWith(hex(id), ?)", []any{strings.ToUpper(id)}, 2)
		switch {
		case err != nil:
			return nil, 0, err
		case n == 0:
			return nil, 0, fmt.Errorf("%w: %s", ErrNone, id)
		case n > 1:
			return nil, 0, fmt.Errorf("%w: %s begins the ids of %d; give more of it", ErrNone, id, n)
		}
		letters = append(letters, found...)
	}
	return letters, uint64(len(letters)), nil
}

func list(ctx context.Context, db *store.DB, where string, args []any, limit int) (letters []Letter, all uint64, err error) {
	if err := db.QueryRow(ctx, "SELECT count() FROM dead_letters FINAL WHERE "+where, args...).Scan(&all); err != nil {
		return nil, 0, fmt.Errorf("read the dead letters: %w", err)
	}
	rows, err := db.Query(ctx, `SELECT lower(hex(id)), source, instance, position, reason, detail, hex(sha256), length, excerpt,
			toUnixTimestamp64Nano(observed_at) AS at
		FROM dead_letters FINAL WHERE `+where+` ORDER BY at DESC, id LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read the dead letters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l Letter
		var sum string
		var at int64
		if err := rows.Scan(&l.ID, &l.Source, &l.Instance, &l.Position, &l.Reason, &l.Detail, &sum, &l.Length, &l.Excerpt, &at); err != nil {
			return nil, 0, fmt.Errorf("read the dead letters: %w", err)
		}
		if l.SHA256, err = hex.DecodeString(sum); err != nil {
			return nil, 0, fmt.Errorf("read the dead letters: %w", err)
		}
		l.ObservedAt = time.Unix(0, at).UTC()
		letters = append(letters, l)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read the dead letters: %w", err)
	}
	return letters, all, nil
}
