package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	// lost: every other INSERT is carried out, and then the connection breaks before its answer.
	lost
	// lostAtStart: the same happens to a few of the requests that make the tables.
	lostAtStart
)

// door stands between the product and ClickHouse.
type door struct {
	addr    string
	behind  http.Handler
	passing sync.RWMutex // held for reading by every request
	manner  manner       // guarded by passing
	turn    atomic.Uint64
	refused atomic.Uint64 // requests that were not carried out
	lostN   atomic.Uint64 // requests carried out whose answer was lost
}

func newDoor(t *testing.T, behind http.Handler) *door {
	t.Helper()
	d := &door{behind: behind}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.addr = server.Listener.Addr().String()
	return d
}

// set changes the manner, once the requests under way have ended.
func (d *door) set(m manner) {
	d.passing.Lock()
	defer d.passing.Unlock()
	d.refused.Store(0)
	d.lostN.Store(0)
	d.turn.Store(0)
	d.manner = m
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.passing.RLock()
	defer d.passing.RUnlock()
	switch d.manner {
	case away:
		d.refused.Add(1)
		hangUp(w)
	case failing:
		d.refused.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "the server is on fire", http.StatusInternalServerError)
	case lost:
		if insert := strings.HasPrefix(r.URL.Query().Get("query"), "INSERT"); !insert || d.turn.Add(1)%2 == 0 {
			d.behind.ServeHTTP(w, r)
			return
		}
		d.doAndHangUp(w, r)
	case lostAtStart:
		if n := d.turn.Add(1); n != 2 && n != 10 && n != 25 {
			d.behind.ServeHTTP(w, r)
			return
		}
		d.doAndHangUp(w, r)
	default:
		d.behind.ServeHTTP(w, r)
	}
}

func (d *door) doAndHangUp(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	d.behind.ServeHTTP(answer, r)
	if answer.Code == http.StatusOK {
		d.lostN.Add(1)
	}
	hangUp(w)
}

// hangUp breaks the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
