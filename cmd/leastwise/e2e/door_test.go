package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// manner is how ClickHouse answers.
type manner int32

const (
	well manner = iota
	// away: the connection breaks before anything is done.
	away
	// failing: answers 500 and does nothing.
	failing
	// lost: every other request is carried out, and then the connection breaks before its answer.
	lost
)

// door stands between the product and ClickHouse.
type door struct {
	addr    string
	behind  http.Handler
	manner  atomic.Int32
	turn    atomic.Uint64
	refused atomic.Uint64 // requests that were not carried out
	lostN   atomic.Uint64 // INSERTs carried out whose answer was lost
}

func newDoor(t *testing.T, behind http.Handler) *door {
	t.Helper()
	d := &door{behind: behind}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.addr = server.Listener.Addr().String()
	return d
}

func (d *door) set(m manner) {
	d.refused.Store(0)
	d.lostN.Store(0)
	d.manner.Store(int32(m))
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch manner(d.manner.Load()) {
	case away:
		d.refused.Add(1)
		hangUp(w)
	case failing:
		d.refused.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "the server is on fire", http.StatusInternalServerError)
	case lost:
		if d.turn.Add(1)%2 == 0 {
			d.behind.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		d.behind.ServeHTTP(answer, r)
		if answer.Code == http.StatusOK && strings.HasPrefix(strings.TrimSpace(r.URL.Query().Get("query")), "INSERT") {
			d.lostN.Add(1)
		}
		hangUp(w)
	default:
		d.behind.ServeHTTP(w, r)
	}
}

// hangUp breaks the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
