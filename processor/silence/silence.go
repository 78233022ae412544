// Package silence knows which sources have gone silent. What the credentials of a silent source did not do is unknown,
// not nothing: no idleness, no unused permission and no missing use may be concluded from it. What happened before a
// source was first read is unknown in the same way.
//
// A source is silent if its collector's heartbeat stays away, if the heartbeat says that it can not read, or if no
// record came for three times as long as the longest pause that was usual for it within a week. A source that never sent
// a heartbeat is not known here, and not silent: log files at hand have none.
package silence

import (
	"sync"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// A heartbeat comes every half minute by default.
	beatAfter = 5 * time.Minute
	// shortest pause that is ever called silence, and what holds until a day has been watched.
	shortest  = 15 * time.Minute
	unwatched = 24 * time.Hour
	watchFor  = 24 * time.Hour
	days      = 7
	times     = 3
)

// Reading is how a source is read. Times are unix nanoseconds; 0 is unknown, or none.
type Reading struct {
	// From is since when its log is known to be read.
	From int64
	// Until is where a log at hand ends; 0: it is followed.
	Until int64
	// Since is since when it is silent, and Why says why; 0: it is not.
	Since int64
	Why   string
}

// Tracker follows heartbeats. It is safe for concurrent use.
type Tracker struct {
	mu      sync.Mutex
	sources map[string]*source // by source/instance
}

type source struct {
	first, beat int64 // unix nanoseconds of the first and the newest heartbeat
	from        int64 // the oldest time that a heartbeat tells of
	record      int64 // occurred_at of the newest record
	trouble     string
	troubled    int64 // since when
	// pauses are the longest between two records, a day of watching each; the newest last.
	pauses [days]int64
	day    int64
}

// New knows no source.
func New() *Tracker { return &Tracker{sources: map[string]*source{}} }

// Key names a source in the result of Silent.
func Key(system, instance string) string { return system + "/" + instance }

// Beat takes a heartbeat. One that is older than the newest changes nothing.
func (t *Tracker) Beat(b *pb.Heartbeat) {
	if b.At == nil {
		return
	}
	at := b.At.AsTime().UnixNano()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sources[Key(b.Source, b.Instance)]
	if s == nil {
		s = &source{first: at, from: at}
		t.sources[Key(b.Source, b.Instance)] = s
	}
	if at < s.beat {
		return
	}
	s.beat = at
	if s.trouble = b.Trouble; !b.Blind { // an inventory that lacks a permission leaves the log as it is
		s.troubled = 0
	} else if s.troubled == 0 {
		s.troubled = at
	}
	if b.LastRecordAt == nil {
		return
	}
	record := b.LastRecordAt.AsTime().UnixNano()
	s.from = min(s.from, record) // what came after that record was read, too
	if record <= s.record {
		return
	}
	if s.record != 0 {
		s.pause(at, record-s.record)
	}
	s.record = record
}

// pause remembers the longest of each day.
func (s *source) pause(at, length int64) {
	if day := at / int64(24*time.Hour); day != s.day {
		for n := min(day-s.day, days); n > 0; n-- {
			copy(s.pauses[:], s.pauses[1:])
			s.pauses[days-1] = 0
		}
		s.day = day
	}
	s.pauses[days-1] = max(s.pauses[days-1], length)
}

// usual is how long a pause may be before it is silence.
func (s *source) usual() time.Duration {
	if s.beat-s.first < int64(watchFor) {
		return unwatched
	}
	longest := int64(0)
	for _, pause := range s.pauses {
		longest = max(longest, pause)
	}
	return max(shortest, times*time.Duration(longest))
}

// Silent tells of each source how it is read at a time, and whether it is silent, by Key.
func (t *Tracker) Silent(now time.Time) map[string]Reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sources) == 0 {
		return nil
	}
	readings := make(map[string]Reading, len(t.sources))
	for key, s := range t.sources {
		since, why := s.silent(now.UnixNano())
		readings[key] = Reading{From: s.from, Since: since, Why: why}
	}
	return readings
}

func (s *source) silent(now int64) (since int64, why string) {
	switch {
	case now-s.beat > int64(beatAfter):
		return s.beat, "its collector sends no heartbeat"
	case s.troubled != 0:
		return s.troubled, "its collector says: " + s.trouble
	case s.record != 0 && now-s.record > int64(s.usual()):
		return s.record, "no record for longer than is usual for it"
	}
	return 0, ""
}
