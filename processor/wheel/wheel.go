// Package wheel keeps deadlines: nothing scans all credentials to learn whose time has come.
//
// Deadlines are rounded up to a tick and kept in one slot a tick, so that setting one costs a map access, and the slots
// in a heap of ticks. A later Set for the same item makes the earlier entry stale; the owner says so when it comes due.
package wheel

import (
	"container/heap"
	"time"
)

// Wheel holds items of type T by due time. It is not safe for concurrent use.
type Wheel[T any] struct {
	tick  int64
	slots map[int64][]T
	order ticks
	count int
}

// New gives an empty wheel whose deadlines are exact to tick.
func New[T any](tick time.Duration) *Wheel[T] {
	return &Wheel[T]{tick: int64(tick), slots: map[int64][]T{}}
}

// Set makes item come due at `at` (unix nanoseconds), never earlier.
func (w *Wheel[T]) Set(at int64, item T) {
	slot := (at + w.tick - 1) / w.tick
	items, ok := w.slots[slot]
	if !ok {
		heap.Push(&w.order, slot)
	}
	w.slots[slot] = append(items, item)
	w.count++
}

// Due calls fn for every item that is due at now, earliest tick first. fn may call Set.
func (w *Wheel[T]) Due(now int64, fn func(T)) {
	for len(w.order) > 0 && w.order[0]*w.tick <= now {
		slot := heap.Pop(&w.order).(int64)
		items := w.slots[slot]
		delete(w.slots, slot)
		w.count -= len(items)
		for _, item := range items {
			fn(item)
		}
	}
}

// Next is the earliest deadline (unix nanoseconds), or 0 if there is none.
func (w *Wheel[T]) Next() int64 {
	if len(w.order) == 0 {
		return 0
	}
	return w.order[0] * w.tick
}

// Len counts entries, stale ones too.
func (w *Wheel[T]) Len() int { return w.count }

type ticks []int64

func (t ticks) Len() int           { return len(t) }
func (t ticks) Less(i, j int) bool { return t[i] < t[j] }
func (t ticks) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *ticks) Push(x any)        { *t = append(*t, x.(int64)) }
func (t *ticks) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
