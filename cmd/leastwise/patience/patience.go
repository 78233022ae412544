// Package patience is how long a command waits for a running product: as long as something goes on there, and no longer
// than a bound. A loaded machine makes everything late, and nothing wrong.
package patience

import (
	"fmt"
	"time"
)

// Watch is one wait. It is not safe for concurrent use.
type Watch struct {
	quiet, limit time.Duration
	began, moved time.Time
	last         string
}

// New begins a wait that is over after quiet in which nothing changed, or after limit whatever changed; zero: never.
func New(quiet, limit time.Duration) *Watch {
	now := time.Now()
	return &Watch{quiet: quiet, limit: limit, began: now, moved: now}
}

// Over tells why there is no further waiting; empty: it is worth waiting. seen is what can be seen of the product: any text
// that changes when something goes on.
func (w *Watch) Over(seen string) string {
	now := time.Now()
	if seen != w.last {
		w.last, w.moved = seen, now
	}
	switch {
	case w.limit > 0 && now.Sub(w.began) > w.limit:
		return fmt.Sprintf("after %s", w.limit)
	case w.quiet > 0 && now.Sub(w.moved) > w.quiet:
		return fmt.Sprintf("after %s, the last %s of which nothing went on", now.Sub(w.began).Round(time.Second), w.quiet)
	}
	return ""
}
