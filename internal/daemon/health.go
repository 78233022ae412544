package daemon

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Health collects how a process's dependencies are. It is safe for concurrent
// use. It is also a prometheus.Collector of leastwise_dependency_up.
type Health struct {
	now func() time.Time

	mu    sync.RWMutex
	known map[string]condition // guarded by mu
}

type condition struct {
	err   error     // nil: well
	since time.Time // of the last change between well and not
}

// NewHealth knows no dependency yet and is therefore not ready.
func NewHealth() *Health {
	return &Health{now: time.Now, known: map[string]condition{}}
}

// Set says how dependency is: nil is well. The error's text is served to
// whoever asks, so it holds no secret.
func (h *Health) Set(dependency string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, seen := h.known[dependency]
	if !seen || (c.err == nil) != (err == nil) {
		c.since = h.now()
	}
	c.err = err
	h.known[dependency] = c
}

// Ready reports whether at least one dependency is known and all are well.
func (h *Health) Ready() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.known {
		if c.err != nil {
			return false
		}
	}
	return len(h.known) > 0
}

// Handler serves /healthz, which answers 200 as long as the process lives, and
// /readyz, which answers 503 and names what fails until Ready.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h.write(w, http.StatusOK, func(condition) bool { return true })
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status := http.StatusOK
		if !h.Ready() {
			status = http.StatusServiceUnavailable
		}
		h.write(w, status, func(c condition) bool { return c.err != nil })
	})
	return mux
}

func (h *Health) write(w http.ResponseWriter, status int, show func(condition) bool) {
	type dependency struct {
		OK    bool      `json:"ok"`
		Error string    `json:"error,omitempty"`
		Since time.Time `json:"since"`
	}
	answer := struct {
		Ready        bool                  `json:"ready"`
		Reason       string                `json:"reason,omitempty"`
		Dependencies map[string]dependency `json:"dependencies"`
	}{Ready: h.Ready(), Dependencies: map[string]dependency{}}

	h.mu.RLock()
	if len(h.known) == 0 {
		answer.Reason = "starting: no dependency has been reached yet"
	}
	for name, c := range h.known {
		if !show(c) {
			continue
		}
		d := dependency{OK: c.err == nil, Since: c.since.UTC()}
		if c.err != nil {
			d.Error = c.err.Error()
		}
		answer.Dependencies[name] = d
	}
	h.mu.RUnlock()

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(answer)
}

var dependencyUp = prometheus.NewDesc("leastwise_dependency_up",
	"1 while the dependency (kafka, clickhouse, vault, ...) is well, 0 while it is not.", []string{"dependency"}, nil)

// Describe implements prometheus.Collector.
func (h *Health) Describe(ch chan<- *prometheus.Desc) { ch <- dependencyUp }

// Collect implements prometheus.Collector.
func (h *Health) Collect(ch chan<- prometheus.Metric) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(h.known)) {
		up := 1.0
		if h.known[name].err != nil {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(dependencyUp, prometheus.GaugeValue, up, name)
	}
}
