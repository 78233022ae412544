// Package dedup tells whether an event was seen before, exactly, in bounded memory.
//
// Ids of recent occurrence times are held here, each with the offset it was first seen at. Older ids are forgotten,
// oldest minute first, once the store has them (Written); the horizon says from when on memory alone is proof that an id is new. What occurred before it
// has to be asked of the store, which keeps every id. Seen at the same or a later offset is no duplicate: that is how a
// partition read again after a crash recognises its own events.
package dedup

import (
	"math"
	"slices"
	"time"
)

// margin covers the spread of times that records of one id may have: a call's request and response are logged at its
// start and at its end.
const margin = 5 * time.Minute

// ID is an event id.
type ID = [16]byte

// Answer of Seen.
type Answer uint8

// Answers.
const (
	// New: the id was not seen at an earlier offset; it is remembered now.
	New Answer = iota
	// Duplicate: it was.
	Duplicate
	// Ask: memory cannot tell; ask the store, then call Resolve.
	Ask
)

// Memory holds recent ids. It is not safe for concurrent use.
type Memory struct {
	capacity int
	ids      map[ID]int64
	minutes  map[int64]*[]ID
	oldest   []int64 // minutes present, sorted
	// The minute of the latest id, which is most often that of the next; nil if it was forgotten.
	latest   int64
	ofLatest *[]ID
	horizon  int64 // unix nanoseconds; before it (and its margin) memory is no proof
	written  int64 // newest offset whose id the store holds
	full     bool  // all that may be forgotten was, until more is written
}

// NewMemory holds up to capacity ids, and those that are not Written. As long as nothing was Forgotten, memory alone is
// proof. Until Written is called the first time, all ids count as written.
func NewMemory(capacity int) *Memory {
	return &Memory{capacity: capacity, ids: map[ID]int64{}, minutes: map[int64]*[]ID{}, written: math.MaxInt64}
}

// Written tells up to which offset the store holds the ids. What lies past it is not forgotten: a repeat of it would be
// found nowhere.
func (m *Memory) Written(offset int64) {
	m.written, m.full = offset, false
	m.shrink()
}

// Remember puts an id in as seen at offset, for an event that occurred at `at`.
func (m *Memory) Remember(id ID, at, offset int64) {
	if old, ok := m.ids[id]; ok {
		if offset < old {
			m.ids[id] = offset
		}
		return
	}
	m.add(id, at, offset)
}

// add puts in an id that is not there.
func (m *Memory) add(id ID, at, offset int64) {
	m.ids[id] = offset
	if minute := at / int64(time.Minute); m.ofLatest == nil || minute != m.latest {
		ids, ok := m.minutes[minute]
		if !ok {
			pos, _ := slices.BinarySearch(m.oldest, minute)
			m.oldest = slices.Insert(m.oldest, pos, minute)
			ids = new([]ID)
			m.minutes[minute] = ids
		}
		m.latest, m.ofLatest = minute, ids
	}
	*m.ofLatest = append(*m.ofLatest, id)
	m.shrink()
}

// shrink forgets the oldest minutes, but for what is not written of them and for the newest minute.
func (m *Memory) shrink() {
	if m.full {
		return
	}
	kept := 0 // minutes of which something is left
	for len(m.ids) > m.capacity && kept < len(m.oldest)-1 {
		minute := m.oldest[kept]
		if left := m.forget(minute); len(left) > 0 {
			*m.minutes[minute] = left
			kept++
			continue
		}
		delete(m.minutes, minute)
		m.ofLatest = nil
		if kept == 0 {
			m.oldest = m.oldest[1:] // nearly always; there may be many minutes
		} else {
			m.oldest = slices.Delete(m.oldest, kept, kept+1)
		}
	}
	m.full = kept > 0
}

// forget drops the ids of a minute that are written, and gives the others.
func (m *Memory) forget(minute int64) (left []ID) {
	for _, id := range *m.minutes[minute] {
		if m.ids[id] > m.written {
			left = append(left, id)
			continue
		}
		delete(m.ids, id)
		m.horizon = max(m.horizon, (minute+1)*int64(time.Minute))
	}
	return left
}

// Seen answers for an event that occurred at `at` (unix nanoseconds) and stands at offset.
func (m *Memory) Seen(id ID, at, offset int64) Answer {
	if first, ok := m.ids[id]; ok {
		if first < offset {
			return Duplicate
		}
		return New
	}
	if m.horizon > 0 && at < m.horizon+int64(margin) {
		return Ask
	}
	m.add(id, at, offset)
	return New
}

// Resolve takes the store's answer to Ask: the offset the id was first seen at, and whether it was.
func (m *Memory) Resolve(id ID, at, offset, first int64, found bool) Answer {
	if held, ok := m.ids[id]; ok && held < offset {
		return Duplicate // it came twice between the question and the answer
	}
	if found && first < offset {
		return Duplicate
	}
	m.Remember(id, at, offset)
	return New
}

// Len counts the ids held.
func (m *Memory) Len() int { return len(m.ids) }

// Horizon is the time before which the store has to be asked; 0 if never.
func (m *Memory) Horizon() int64 { return m.horizon }

// Forgotten tells that the store holds ids from before horizon (unix nanoseconds) that were not put in.
func (m *Memory) Forgotten(horizon int64) { m.horizon = max(m.horizon, horizon) }
