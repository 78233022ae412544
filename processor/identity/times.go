package identity

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// keep is how many of the earliest and of the latest statements of a link are remembered; of retractions, how many of
// the latest. Each is the least or the greatest of a set, so order does not matter to what is kept.
const keep = 8

// times are when a link was said to hold, and when not. Unix nanoseconds.
type times struct {
	first, last int64 // said; both 0: never
	gone        int64 // newest retraction; 0: none
	past        *past // what lies between; nil while the three tell all
}

type past struct {
	early, late []int64 // said, sorted
	gone        []int64 // retracted, sorted
}

// say notes that the link was said to hold at t.
func (t *times) say(at int64) {
	if at <= 0 {
		at = 1
	}
	if t.last == 0 {
		t.first, t.last = at, at
		if t.past == nil {
			return
		}
	}
	if at == t.first && t.past == nil || at == t.last && t.past == nil {
		return
	}
	if t.past == nil && (at < t.first && t.first == t.last || at > t.last && t.first == t.last) {
		t.first, t.last = min(t.first, at), max(t.last, at)
		return
	}
	p := t.remember()
	p.early = insertTime(p.early, at)
	p.early = p.early[:min(keep, len(p.early))]
	p.late = insertTime(p.late, at)
	p.late = p.late[max(0, len(p.late)-keep):]
	t.first, t.last = min(t.first, at), max(t.last, at)
}

// retract notes that it was said no longer to hold at t.
func (t *times) retract(at int64) {
	if at <= 0 {
		at = 1
	}
	p := t.remember()
	p.gone = insertTime(p.gone, at)
	p.gone = p.gone[max(0, len(p.gone)-keep):]
	t.gone = max(t.gone, at)
}

func (t *times) remember() *past {
	if t.past == nil {
		t.past = &past{}
		if t.last != 0 {
			t.past.early = insertTime(append([]int64(nil), t.first), t.last)
			t.past.late = slices.Clone(t.past.early)
		}
	}
	return t.past
}

// now is whether the newest word is that it holds. Said and retracted at one time, it does not.
func (t *times) now() bool { return t.last > t.gone }

// at is whether it held at a moment.
func (t *times) at(moment int64) bool {
	if t.last == 0 || t.first > moment {
		return false
	}
	if t.past == nil {
		return true
	}
	said := max(newest(t.past.early, moment), newest(t.past.late, moment))
	return said > newest(t.past.gone, moment)
}

// newest gives the greatest of a sorted list that is not past the moment; 0 if none is.
func newest(sorted []int64, moment int64) int64 {
	i, found := slices.BinarySearch(sorted, moment)
	switch {
	case found:
		return moment
	case i == 0:
		return 0
	}
	return sorted[i-1]
}

func insertTime(sorted []int64, at int64) []int64 {
	i, found := slices.BinarySearch(sorted, at)
	if found {
		return sorted
	}
	return slices.Insert(sorted, i, at)
}

func nanos(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	return t.Seconds*1e9 + int64(t.Nanos)
}
