// Package window counts events in sparse buckets of three widths: five minutes for the last hour, hours for the last
// day, days for the last thirty. An idle credential holds none, so it costs nothing.
//
// Counting does not depend on the order of events: each event counts in the bucket of the time it occurred, at every
// width whose horizon it still reaches, and what a horizon has passed can never be asked for again.
package window

import (
	"slices"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// level is one width of bucket and how many of them are kept.
type level struct {
	width int64 // seconds
	keep  uint32
}

var levels = [3]level{
	{width: 300, keep: 13},   // an hour, and the bucket that is being filled
	{width: 3600, keep: 25},  // a day
	{width: 86400, keep: 31}, // thirty days
}

type bucket struct{ index, count uint32 }

// Counts is a set of sparse buckets. The zero value is empty and ready.
type Counts struct {
	// buckets of all levels, each level sorted by index; ends[i] is where level i ends.
	buckets []bucket
	ends    [3]uint8
}

// Add counts one event that occurred at `at` (unix nanoseconds). Buckets out of reach of the newest event are dropped.
func (c *Counts) Add(at int64) {
	seconds := at / int64(time.Second)
	if seconds < 0 {
		return
	}
	for i, l := range levels {
		c.add(i, uint32(seconds/l.width), l.keep)
	}
}

func (c *Counts) bounds(i int) (start, end int) {
	if i > 0 {
		start = int(c.ends[i-1])
	}
	return start, int(c.ends[i])
}

func (c *Counts) add(i int, index, keep uint32) {
	start, end := c.bounds(i)
	part := c.buckets[start:end]
	if n := len(part); n > 0 {
		newest := part[n-1].index
		if newest >= keep && index <= newest-keep {
			return // out of reach: no question about now can include it
		}
		if newest == index {
			part[n-1].count++
			return
		}
	}
	pos, found := slices.BinarySearchFunc(part, index, func(b bucket, want uint32) int {
		return int(int64(b.index) - int64(want))
	})
	if found {
		part[pos].count++
		return
	}
	c.buckets = slices.Insert(c.buckets, start+pos, bucket{index, 1})
	for j := i; j < len(c.ends); j++ {
		c.ends[j]++
	}
	c.evict(i, keep)
}

func (c *Counts) evict(i int, keep uint32) {
	start, end := c.bounds(i)
	newest := c.buckets[end-1].index
	drop := 0
	for start+drop < end && newest >= keep && c.buckets[start+drop].index <= newest-keep {
		drop++
	}
	if drop == 0 {
		return
	}
	c.buckets = slices.Delete(c.buckets, start, start+drop)
	for j := i; j < len(c.ends); j++ {
		c.ends[j] -= uint8(drop)
	}
}

// Totals are the counts of the last hour, day, seven and thirty days before `now` (unix nanoseconds). They are exact
// to the bucket that the window's far edge falls into, which counts whole.
type Totals struct{ Hour, Day, Week, Month uint64 }

// At sums the windows that end at now.
func (c *Counts) At(now int64) Totals {
	seconds := now / int64(time.Second)
	return Totals{
		Hour:  c.sum(0, seconds, 3600),
		Day:   c.sum(1, seconds, 86400),
		Week:  c.sum(2, seconds, 7*86400),
		Month: c.sum(2, seconds, 30*86400),
	}
}

// Recent sums the last part of an hour, to five minutes.
func (c *Counts) Recent(now int64, within time.Duration) uint64 {
	return c.sum(0, now/int64(time.Second), int64(within/time.Second))
}

func (c *Counts) sum(i int, now, span int64) uint64 {
	if now < 0 {
		return 0
	}
	width := levels[i].width
	from := uint32(max(0, now-span) / width)
	to := uint32(now / width)
	start, end := c.bounds(i)
	var total uint64
	for _, b := range c.buckets[start:end] {
		if b.index >= from && b.index <= to {
			total += uint64(b.count)
		}
	}
	return total
}

// Empty reports whether nothing was counted within any horizon.
func (c *Counts) Empty() bool { return len(c.buckets) == 0 }

// Proto gives the form a restart loads; nil if empty.
func (c *Counts) Proto() *pb.Window {
	if c.Empty() {
		return nil
	}
	of := func(i int) []*pb.Bucket {
		start, end := c.bounds(i)
		out := make([]*pb.Bucket, 0, end-start)
		for _, b := range c.buckets[start:end] {
			out = append(out, &pb.Bucket{Index: b.index, Count: b.count})
		}
		return out
	}
	return &pb.Window{FiveMinutes: of(0), Hours: of(1), Days: of(2)}
}

// FromProto is the inverse of Proto; a nil message gives no counts.
func FromProto(w *pb.Window) Counts {
	var c Counts
	if w == nil {
		return c
	}
	for i, part := range [3][]*pb.Bucket{w.FiveMinutes, w.Hours, w.Days} {
		for _, b := range part {
			c.buckets = append(c.buckets, bucket{b.Index, b.Count})
		}
		c.ends[i] = uint8(len(c.buckets))
	}
	return c
}
