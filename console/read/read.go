// Package read answers from ClickHouse what the fleet in memory does not hold: a credential's events and scope, identities,
// sources, dead letters, the audit log. Every value of a query is bound; nothing of what somebody asks becomes SQL. It
// writes nothing.
package read

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/store"
)

// ErrCursor says that a cursor is not one of ours.
var ErrCursor = errors.New("not a cursor that this list gave: ask for the first page")

// Limits of one page.
const (
	DefaultLimit = 100
	MaxLimit     = 500
)

// Cursor is where a page ended, in the words of its list.
type Cursor struct {
	List  string   `json:"l"`
	Parts []string `json:"p"`
}

// String is what a client sends back.
func (c Cursor) String() string {
	raw, err := json.Marshal(c)
	if err != nil {
		return "" // texts always encode
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseCursor reads a cursor of a list with that many parts; nil for the first page.
func ParseCursor(text, list string, parts int) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCursor
	}
	var c Cursor
	if json.Unmarshal(raw, &c) != nil || c.List != list || len(c.Parts) != parts {
		return nil, ErrCursor
	}
	return c.Parts, nil
}

func next(list string, parts ...string) *string {
	text := Cursor{list, parts}.String()
	return &text
}

// Names are the identity graph's rules of names.
type Names interface {
	// Node gives the node of the graph that a principal's key is.
	Node(key string) string
}

// Reader reads. It is safe for concurrent use.
type Reader struct {
	db    *store.DB
	names Names
	now   func() time.Time

	mu    sync.Mutex
	chain map[chainKey]*chain  // guarded by mu
	use   map[string]usedHours // guarded by mu
	held  int                  // hours in use; guarded by mu
	trend cached[map[string][]dayCount]
	facts cached[map[string]Facts]
}

// New makes a reader of a database.
func New(db *store.DB, names Names, now func() time.Time) *Reader {
	return &Reader{db: db, names: names, now: now, chain: map[chainKey]*chain{}, use: map[string]usedHours{}}
}

// each calls take for every row of a query that reads little, as a page's do: one thread is a third cheaper than several.
func (r *Reader) each(ctx context.Context, what, query string, args []any, take func(store.Rows) error) error {
	return r.sweep(store.WithSettings(ctx, map[string]any{"max_threads": 1}), what, query, args, take)
}

// sweep is each for a query that reads much.
func (r *Reader) sweep(ctx context.Context, what, query string, args []any, take func(store.Rows) error) error {
	rows, err := r.db.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return fmt.Errorf("read %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

func nanos(n int64) time.Time { return time.Unix(0, n).UTC() }

func maybe(n int64) *time.Time {
	if n == 0 {
		return nil
	}
	t := nanos(n)
	return &t
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// cached keeps an answer for a while; readers that come meanwhile wait for the one that asks.
type cached[T any] struct {
	mu    sync.Mutex
	until time.Time
	value T
}

func (c *cached[T]) get(now time.Time, keep time.Duration, ask func() (T, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.until) {
		return c.value, nil
	}
	value, err := ask()
	if err == nil {
		c.value, c.until = value, now.Add(keep)
	}
	return value, err
}
