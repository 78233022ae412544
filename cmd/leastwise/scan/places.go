package scan

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Place is where the log says something of a credential.
type Place struct {
	What string    `json:"what"` // issued, first seen, last used, last refused, ended
	At   time.Time `json:"at"`
	File string    `json:"file"` // as given; of an archive's file with the archive before it
	Line int64     `json:"line"` // 1 is the first, in the unpacked file
	Byte int64     `json:"byte"` // of the record's first, in the unpacked file: some logs are one long line
}

// Lane is what a picture of a credential needs beside what is in Credential. A null is unknown.
type Lane struct {
	Weight      *float64    `json:"weight"` // of the scope
	Utilization *float64    `json:"utilization"`
	Measured    string      `json:"measured,omitempty"` // what utilization is a share of
	FirstAt     *time.Time  `json:"first_at"`
	Attempts    []time.Time `json:"attempts,omitempty"` // refused calls, bounded
}

// whereabouts are the places of one credential. Only the records that were counted are among them.
type whereabouts struct {
	first, issued, used, denied, ended sighting
	attempts                           []int64 // the earliest, sorted, and the newest
}

type sighting struct {
	at         int64 // 0: none
	line, byte int64
	file       int32
}

const maxAttempts = 24

// lineOf is where a record begins.
type lineOf struct{ line, byte int64 }

// see remembers where an event stood.
func (s *scanner) see(ev *pb.Event, where lineOf) {
	if ev.Credential == "" || ev.OccurredAt == nil {
		return
	}
	key := hashOf(ev.Credential)
	w := s.places[key]
	if w == nil {
		w = &whereabouts{}
		s.places[key] = w
	}
	at := ev.OccurredAt.AsTime().UnixNano()
	seen := sighting{at, where.line, where.byte, int32(len(s.report.Inputs) - 1)}
	w.first.earliest(seen)
	switch ev.Kind {
	case pb.Event_ISSUED:
		w.issued.earliest(seen)
	case pb.Event_USED:
		w.used.latest(seen)
	case pb.Event_DENIED:
		w.denied.latest(seen)
		w.attempt(at)
	case pb.Event_REVOKED:
		w.ended.earliest(seen)
	}
}

func (s *sighting) earliest(other sighting) {
	if s.at == 0 || other.at < s.at {
		*s = other
	}
}

func (s *sighting) latest(other sighting) {
	if s.at == 0 || other.at > s.at {
		*s = other
	}
}

func (w *whereabouts) attempt(at int64) {
	i, there := slices.BinarySearch(w.attempts, at)
	if there {
		return
	}
	w.attempts = slices.Insert(w.attempts, i, at)
	if n := len(w.attempts); n > maxAttempts {
		w.attempts = slices.Delete(w.attempts, n-2, n-1) // the earliest and the newest stay
	}
}

// placesOf a credential, what bears on a metric first.
func (s *scanner) placesOf(key, metric string) []Place {
	w := s.places[hashOf(key)]
	if w == nil {
		return nil
	}
	begin, what := w.issued, "issued"
	if begin.at == 0 {
		begin, what = w.first, "first seen"
	}
	var out []Place
	add := func(what string, seen sighting) {
		if seen.at == 0 || seen.file < 0 || int(seen.file) >= len(s.report.Inputs) {
			return
		}
		out = append(out, Place{what, lifecycle.Time(seen.at), s.report.Inputs[seen.file].Path, seen.line, seen.byte})
	}
	last := func() { add("last used", w.used) }
	switch metric {
	case rego.ElevationAttempts.String():
		add("last refused", w.denied)
		last()
		add(what, begin)
	case rego.IdleTime.String(), rego.Novelty.String(), rego.UtilizationRatio.String(), rego.UnusedPermissionRatio.String():
		last()
		add(what, begin)
		add("last refused", w.denied)
	default:
		add(what, begin)
		last()
		add("last refused", w.denied)
	}
	add("ended", w.ended)
	return out
}

// laneOf measures a credential for its picture.
func (s *scanner) laneOf(c *core.Core, e *core.Entry, asOf int64) *Lane {
	lane := &Lane{}
	if w := s.places[hashOf(e.Key)]; w != nil {
		lane.FirstAt = moment(w.first.at)
		for _, at := range w.attempts {
			lane.Attempts = append(lane.Attempts, lifecycle.Time(at))
		}
	}
	if e.Scope != nil && e.Scope.Known {
		weight := e.Scope.Weight
		lane.Weight = &weight
	}
	values := c.Values(e, asOf)
	if ratio, ok := values.Get(rego.UtilizationRatio); ok {
		lane.Utilization, lane.Measured = &ratio, "of the calls expected in a day"
	} else if unused, ok := values.Get(rego.UnusedPermissionRatio); ok {
		used := 1 - unused
		lane.Utilization, lane.Measured = &used, "of its permissions were used"
	}
	return lane
}

// numbered counts the lines of what is read through it.
type numbered struct {
	from io.Reader
	read int64
	ends []int64 // offsets of line ends that were read and not passed yet
	line int64   // line ends passed
}

// Read implements io.Reader.
func (n *numbered) Read(p []byte) (int, error) {
	got, err := n.from.Read(p)
	for i := 0; ; i++ {
		more := bytes.IndexByte(p[i:got], '\n')
		if more < 0 {
			break
		}
		i += more
		n.ends = append(n.ends, n.read+int64(i))
	}
	n.read += int64(got)
	return got, err
}

// at gives the line of a byte, 1 for the first. It is asked in the order of the bytes.
func (n *numbered) at(offset int64) int64 {
	passed, _ := slices.BinarySearch(n.ends, offset)
	n.line += int64(passed)
	n.ends = n.ends[:copy(n.ends, n.ends[passed:])]
	return n.line + 1
}
