package scan

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// roomHeld is what the process may hold before the garbage collector has to look at all of it again and again. With room
// to spare it runs seldom, and memory stays at this however long the input is.
const roomHeld = 400 << 20

// room lets the heap of the whole process grow to a fixed size instead of to twice what is in use, until end is called. A
// user who has set GOGC or GOMEMLIMIT is obeyed.
type room struct {
	limit   int64
	live    []metrics.Sample
	percent int // as they were before
	before  int64
}

func makeRoom() *room {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	r := &room{limit: roomHeld, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	r.percent, r.before = debug.SetGCPercent(-1), debug.SetMemoryLimit(r.limit)
	return r
}

// look makes the room larger if what is in use fills most of it: collecting all the time would bring nothing.
func (r *room) look() {
	if r == nil {
		return
	}
	metrics.Read(r.live)
	if need := int64(r.live[0].Value.Uint64()) / 2 * 3; need > r.limit {
		r.limit = need
		debug.SetMemoryLimit(r.limit)
	}
}

func (r *room) end() {
	if r != nil {
		debug.SetGCPercent(r.percent)
		debug.SetMemoryLimit(r.before)
	}
}
