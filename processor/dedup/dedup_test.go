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
