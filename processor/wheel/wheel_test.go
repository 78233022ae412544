package wheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestEveryItemComesDueOnceAndNeverEarly(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	w := New[int64](100 * time.Millisecond)
	pending := map[int64]bool{}
	for range 5000 {
		at := rng.Int64N(int64(time.Hour))
		if pending[at] {
			continue
		}
		pending[at] = true
		w.Set(at, at)
	}
	for now := int64(0); now <= int64(time.Hour)+int64(time.Second); now += int64(700 * time.Millisecond) {
		w.Due(now, func(at int64) {
			if at > now {
				t.Fatalf("%d came due early at %d", at, now)
			}
			if !pending[at] {
				t.Fatalf("%d came due twice", at)
			}
			delete(pending, at)
		})
		for at := range pending {
			if at < now-int64(100*time.Millisecond) {
				t.Fatalf("%d is overdue at %d", at, now)
			}
		}
	}
	if w.Len() != 0 || len(pending) != 0 || w.Next() != 0 {
		t.Fatalf("%d left in the wheel, %d not seen", w.Len(), len(pending))
	}
}

func TestSettingFromWithinDueIsSeenInTheSameCallWhenDue(t *testing.T) {
	w := New[int](time.Second)
	w.Set(int64(time.Second), 1)
	var got []int
	w.Due(int64(3*time.Second), func(n int) {
		got = append(got, n)
		if n == 1 {
			w.Set(int64(2*time.Second), 2)
		}
	})
	if len(got) != 2 || got[1] != 2 {
		t.Fatalf("got %v", got)
	}
}
