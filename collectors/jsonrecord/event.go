package jsonrecord

import (
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Event starts an event of a record: its id, its times, where it stood.
func Event(system, instance, recordID string, index uint32, kind leastwisev1.Event_Kind, at time.Time, rec source.Record) *leastwisev1.Event {
	return (&Spare{}).Event(system, instance, recordID, index, kind, at, rec)
}

// Spare are events that the caller of a Decoder lets go of: those that the array of dst holds past its length. A new event
// is a kilobyte to be cleared, and to be found again by the garbage collector. The zero value has none.
type Spare struct {
	events []*leastwisev1.Event
	life   *leastwisev1.Lifetime // of the event given out last
}

// Lend takes what dst holds past its length; to be called when decoding begins.
func (s *Spare) Lend(dst []*leastwisev1.Event) { s.events = dst[len(dst):cap(dst)] }

// event has what every event points to, so that they are one allocation.
type event struct {
	leastwisev1.Event
	occurred, observed timestamppb.Timestamp
	id                 [16]byte
}

// Event starts an event of a record: its id, its times, where it stood.
func (s *Spare) Event(system, instance, recordID string, index uint32, kind leastwisev1.Event_Kind, at time.Time, rec source.Record) *leastwisev1.Event {
	id := schemas.EventID(system, instance, recordID, index)
	ev, occurred, observed := s.next()
	ev.Id = append(ev.Id[:0], id[:]...)
	ev.Kind, ev.Source, ev.Instance = kind, system, instance
	ev.RecordId, ev.Index, ev.Position = recordID, index, rec.Position
	if !at.IsZero() {
		ev.OccurredAt = stamp(occurred, at)
	}
	if seen := rec.ObservedAt; !seen.IsZero() {
		ev.ObservedAt = stamp(observed, seen)
		if at.Sub(seen) > futureSlack {
			ev.Flag = leastwisev1.Event_FUTURE
		}
	}
	return ev
}

// next gives an empty event, and the times that it may point to.
func (s *Spare) next() (ev *leastwisev1.Event, occurred, observed *timestamppb.Timestamp) {
	s.life = nil
	for len(s.events) > 0 && ev == nil {
		// Taken out: the caller's array may get another event there, and would hold this one twice.
		ev, s.events[0], s.events = s.events[0], nil, s.events[1:]
	}
	if ev == nil {
		b := &event{}
		b.Id = b.id[:0]
		return &b.Event, &b.occurred, &b.observed
	}
	occurred, observed = ev.OccurredAt, ev.ObservedAt
	id, life := ev.Id, ev.Lifetime
	ev.Reset()
	ev.Id, s.life = id, life
	return ev, occurred, observed
}

// Issued gives the event given out last the lifetime of a credential that was issued then; a zero expires is unknown.
func (s *Spare) Issued(ev *leastwisev1.Event, expires time.Time) {
	life, end := s.life, (*timestamppb.Timestamp)(nil)
	if life == nil {
		b := &struct {
			life leastwisev1.Lifetime
			end  timestamppb.Timestamp
		}{}
		life, end = &b.life, &b.end
	} else {
		end = life.ExpiresAt
		life.Reset()
	}
	life.IssuedAt = ev.OccurredAt
	if !expires.IsZero() {
		life.ExpiresAt = stamp(end, expires)
	}
	ev.Lifetime, s.life = life, nil
}

func stamp(in *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	if in == nil {
		in = &timestamppb.Timestamp{}
	}
	in.Seconds, in.Nanos = t.Unix(), int32(t.Nanosecond())
	return in
}
