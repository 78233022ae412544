// Package live tells browsers what changed, by server-sent events. It tells that something changed and where, not what it is
// now: they ask for that. A browser that does not keep up loses nothing but hints: what waits for it melts into one.
package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/console/contract"
)

const (
	// MaxListeners at once; more are asked to come back.
	MaxListeners = 500
	// heartbeat keeps connections open through proxies.
	heartbeat = 20 * time.Second
	maxKeys   = 100
)

// Hub passes changes on. It is safe for concurrent use.
type Hub struct {
	mu        sync.Mutex
	listeners map[*listener]bool // guarded by mu
}

type listener struct {
	wake    chan struct{}
	waiting map[string]map[string]bool // what changed, with its keys; nil keys: too many to name. Guarded by the hub's mu.
}

// New makes a hub that nobody listens to.
func New() *Hub { return &Hub{listeners: map[*listener]bool{}} }

// Changed tells all listeners. It does not wait for them.
func (h *Hub) Changed(what string, keys []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		known, there := l.waiting[what]
		switch {
		case len(keys) == 0 || there && known == nil || len(known)+len(keys) > maxKeys:
			l.waiting[what] = nil
		default:
			if known == nil {
				known = map[string]bool{}
				l.waiting[what] = known
			}
			for _, k := range keys {
				known[k] = true
			}
		}
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (h *Hub) join() *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= MaxListeners {
		return nil
	}
	l := &listener{wake: make(chan struct{}, 1), waiting: map[string]map[string]bool{}}
	h.listeners[l] = true
	return l
}

func (h *Hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// Listeners counts those that listen.
func (h *Hub) Listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners)
}

func (h *Hub) take(l *listener) []contract.Changed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []contract.Changed
	for _, what := range slices.Sorted(maps.Keys(l.waiting)) {
		keys := slices.Sorted(maps.Keys(l.waiting[what]))
		if keys == nil {
			keys = []string{}
		}
		out = append(out, contract.Changed{What: what, Keys: keys})
	}
	clear(l.waiting)
	return out
}

// Serve writes events to one browser until it goes, done is closed, or until is over. status is sent at the beginning, with
// each heartbeat, and when settings change.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, status func() contract.Status, done <-chan struct{}, until time.Time) {
	l := h.join()
	if l == nil {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many listen already: come back later", http.StatusServiceUnavailable)
		return
	}
	defer h.leave(l)
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // nothing more is read, and a deadline for that would end the stream
	// A browser that takes nothing for this long is gone.
	send := func(event string, data any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(2 * heartbeat)) // not every writer has deadlines
		raw, err := json.Marshal(data)                          // JSON has no line breaks
		if err != nil {
			return false
		}
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, raw)
		return err == nil && out.Flush() == nil
	}
	if !send("status", status()) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-done:
			return
		case <-end.C:
			return
		case <-beat.C:
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil || !send("status", status()) {
				return
			}
		case <-l.wake:
			for _, c := range h.take(l) {
				if c.What == "control" && !send("status", status()) || !send("changed", c) {
					return
				}
			}
		}
	}
}
