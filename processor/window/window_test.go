package window

import (
	"math/rand/v2"
	"testing"
	"time"
)

const base = int64(1_800_000_000) * int64(time.Second)

func TestAnyOrderGivesTheSameCounts(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		times := make([]int64, 300)
		for i := range times {
			times[i] = base + rng.Int64N(40*86400)*int64(time.Second)
		}
		now := base + 40*86400*int64(time.Second)
		var first Counts
		for _, at := range times {
			first.Add(at)
		}
		want := first.At(now)
		rng.Shuffle(len(times), func(i, j int) { times[i], times[j] = times[j], times[i] })
		var second Counts
		for _, at := range times {
			second.Add(at)
		}
		if got := second.At(now); got != want {
			t.Fatalf("seed %d: shuffled %+v, in order %+v", seed, got, want)
		}
		back := FromProto(second.Proto())
		if got := back.At(now); got != want {
			t.Fatalf("seed %d: after a restart %+v, before %+v", seed, got, want)
		}
	}
}

func TestTotalsEqualANaiveCount(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var c Counts
	var times []int64
	for range 2000 {
		at := base + rng.Int64N(30*86400)*int64(time.Second)
		times = append(times, at)
		c.Add(at)
	}
	newest := times[0]
	for _, at := range times {
		newest = max(newest, at)
	}
	got := c.At(newest)
	naive := func(width, span int64) (n uint64) {
		now := newest / int64(time.Second)
		for _, at := range times {
			index := at / int64(time.Second) / width
			if index >= (now-span)/width && index <= now/width {
				n++
			}
		}
		return n
	}
	want := Totals{naive(300, 3600), naive(3600, 86400), naive(86400, 7*86400), naive(86400, 30*86400)}
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestAnEventTooOldForAWidthStillCountsInTheWiderOnes(t *testing.T) {
	var c Counts
	c.Add(base)
	c.Add(base - 2*86400*int64(time.Second))
	if got := c.At(base); got.Hour != 1 || got.Day != 1 || got.Week != 2 {
		t.Fatalf("got %+v", got)
	}
}
