package dedup

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func id(n uint64) (out ID) {
	binary.BigEndian.PutUint64(out[:], n)
	return out
}

// TestEveryIDCountsOnceWithinBoundedMemory plays a history with repeats at any distance against a store that keeps all.
func TestEveryIDCountsOnceWithinBoundedMemory(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		store := map[ID]int64{}
		m := NewMemory(500)
		at := func(n uint64) int64 { return int64(n) * int64(7*time.Second) }
		fresh := 0
		for offset := range int64(20_000) {
			n := rng.Uint64N(uint64(offset)/2 + 1)
			jitter := rng.Int64N(int64(2 * time.Minute))
			answer := m.Seen(id(n), at(n)+jitter, offset)
			if answer == Ask {
				first, found := store[id(n)]
				answer = m.Resolve(id(n), at(n)+jitter, offset, first, found)
			}
			first, known := store[id(n)]
			if (answer == Duplicate) != (known && first < offset) {
				t.Fatalf("seed %d offset %d id %d: %v, but first seen at %d (%v)", seed, offset, n, answer, first, known)
			}
			if answer == New {
				store[id(n)] = offset
				fresh++
			}
			if m.Len() > 600 {
				t.Fatalf("%d ids held", m.Len())
			}
		}
		if fresh != len(store) {
			t.Fatalf("%d counted, %d distinct", fresh, len(store))
		}
	}
}

func TestAPartitionReadAgainRecognisesItsOwnEvents(t *testing.T) {
	m := NewMemory(10)
	m.Remember(id(1), 0, 5)
	if got := m.Seen(id(1), 0, 5); got != New {
		t.Fatalf("the same offset again: %v", got)
	}
	if got := m.Seen(id(1), 0, 6); got != Duplicate {
		t.Fatalf("a later offset: %v", got)
	}
}

// Rows wait to be written while repeats of them come: far older than what memory holds otherwise, and within one batch.
func TestARepeatIsFoundWhileItsRowWaitsToBeWritten(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 11))
		store := map[ID]int64{}   // what is written
		first := map[ID]int64{}   // what is true
		waiting := map[ID]int64{} // rows
		m := NewMemory(100)
		m.Written(-1)
		for offset := range int64(20_000) {
			n := rng.Uint64N(2000)
			if rng.IntN(3) > 0 {
				n = rng.Uint64N(20) // the oldest of all
			}
			at := int64(n) * int64(time.Minute)
			answer := m.Seen(id(n), at, offset)
			if answer == Ask {
				seen, found := store[id(n)]
				answer = m.Resolve(id(n), at, offset, seen, found)
			}
			if _, known := first[id(n)]; (answer == Duplicate) != known {
				t.Fatalf("seed %d offset %d id %d: %v; first seen at %d", seed, offset, n, answer, first[id(n)])
			}
			if answer == New {
				first[id(n)], waiting[id(n)] = offset, offset
			}
			if rng.IntN(50) == 0 {
				for id, at := range waiting {
					store[id] = at
				}
				clear(waiting)
				m.Written(offset)
				if m.Len() > 101 {
					t.Fatalf("%d ids held although all are written", m.Len())
				}
			}
			if m.Len() > 101+len(waiting)+300 {
				t.Fatalf("%d ids held, %d rows wait", m.Len(), len(waiting))
			}
		}
	}
}

func TestAMinuteThatIsFilledAgainIsForgottenAgain(t *testing.T) {
	m := NewMemory(4)
	at := func(minute int) int64 { return int64(minute) * int64(time.Minute) }
	for n := range 4 {
		m.Remember(id(uint64(n)), at(9), int64(n))
	}
	for n := 4; n < 12; n++ {
		m.Remember(id(uint64(n)), at(1), int64(n)) // is forgotten at once, each time
	}
	if m.Len() != 4 || len(m.oldest) != 1 || len(m.minutes) != 1 {
		t.Errorf("%d ids of %d minutes are held", m.Len(), len(m.minutes))
	}
}
