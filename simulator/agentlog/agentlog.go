// Package agentlog is an agent's own log: spans over OTLP (HTTP, JSON), as an OpenTelemetry SDK sends them.
//
// Add does not block. Spans are kept until the receiver has taken them, so that none is lost while it is away, up to a
// bound; what an export that fails holds is sent again with the same ids. Run blocks until its context ends, and then
// sends what is left.
package agentlog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Span is one call that the agent made.
type Span struct {
	Start, End time.Time
	Name       string
	// Attributes are those of the semantic conventions, and one that names the credential.
	Attributes map[string]string
	Failed     bool
}

const (
	every    = 500 * time.Millisecond
	lastly   = 3 * time.Second
	maxSpans = 20_000
)

// Log of one agent.
type Log struct {
	url     string
	service string
	agentID string
	client  *http.Client

	mu    sync.Mutex
	spans []map[string]any // under mu; not taken yet
	sent  int              // under mu
}

// New gives a log that sends to an OTLP receiver at HOST:PORT.
func New(address, service, agentID string) *Log {
	return &Log{url: "http://" + address + "/v1/traces", service: service, agentID: agentID, client: &http.Client{Timeout: 15 * time.Second}}
}

// Add notes a span.
func (l *Log) Add(s Span) {
	var attributes []map[string]any
	for name, value := range s.Attributes {
		attributes = append(attributes, attribute(name, value))
	}
	status := 1 // OK
	if s.Failed {
		status = 2
	}
	span := map[string]any{"traceId": id(16), "spanId": id(8), "name": s.Name, "kind": 3, "startTimeUnixNano": nanos(s.Start),
		"endTimeUnixNano": nanos(s.End), "attributes": attributes, "status": map[string]any{"code": status}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spans) < maxSpans { // an SDK's queue is bounded too
		l.spans = append(l.spans, span)
	}
}

// Sent is how many spans the receiver has taken.
func (l *Log) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Run sends what is added until ctx ends.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastly)
			defer cancel()
			_ = l.export(last) // the receiver may have ended before
			return
		case <-tick.C:
			_ = l.export(ctx) // sent again with the next ones
		}
	}
}

// export sends all spans that wait.
func (l *Log) export(ctx context.Context) error {
	l.mu.Lock()
	spans := l.spans
	l.mu.Unlock()
	if len(spans) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
		"resource":   map[string]any{"attributes": []any{attribute("service.name", l.service), attribute("gen_ai.agent.id", l.agentID)}},
		"scopeSpans": []any{map[string]any{"scope": map[string]any{"name": "leastwise-demo"}, "spans": spans}}}}})
	if err != nil {
		return fmt.Errorf("export spans: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("export spans: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := l.client.Do(request)
	if err != nil {
		return fmt.Errorf("export spans: %w", err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("export spans: the receiver answered with status %d", answer.StatusCode), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = l.spans[len(spans):]
	l.sent += len(spans)
	return nil
}

func attribute(name, value string) map[string]any {
	return map[string]any{"key": name, "value": map[string]any{"stringValue": value}}
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func id(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}
