// Package decode reads events from the messages that hold them, for a worker that reads a million of them.
//
// It gives what UnmarshalVT gives, and costs next to nothing: the texts of an event are the message's own bytes, equal
// labels and lists are one value, and the events themselves are used again after Reset. So whoever keeps a text, once
// the event is done with, keeps a clone of it, and nobody writes to a message that was read, nor changes labels or lists.
//
// It does not block. What it does not expect, it leaves to UnmarshalVT.
package decode

import (
	"encoding/binary"
	"unsafe"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Events reads events. It is not safe for concurrent use. The zero value is ready.
type Events struct {
	chunks [][]slot
	used   int // of the slots
	labels map[string]map[string]string
	lists  map[string][]string
}

// slot is an event with the messages inside it.
type slot struct {
	event                               pb.Event
	lifetime                            pb.Lifetime
	occurred, observed, issued, expires timestamppb.Timestamp
}

const chunk = 256

// Reset says that the events read so far are done with: they are emptied, so that they hold on to no message, and used
// again. Their texts, labels and lists stay.
func (d *Events) Reset() {
	for i := range d.used {
		d.chunks[i/chunk][i%chunk].event = pb.Event{}
	}
	if keep := max(1, (d.used+chunk-1)/chunk); keep < len(d.chunks) {
		clear(d.chunks[keep:])
		d.chunks = d.chunks[:keep]
	}
	d.used = 0
}

// Read gives the event that a message holds. It fails exactly if UnmarshalVT does, and with the same error.
func (d *Events) Read(message []byte) (*pb.Event, error) {
	if d.used == len(d.chunks)*chunk {
		d.chunks = append(d.chunks, make([]slot, chunk))
	}
	s := &d.chunks[d.used/chunk][d.used%chunk]
	if !d.read(s, message) {
		s.event = pb.Event{}
		ev := &pb.Event{}
		return ev, ev.UnmarshalVT(message)
	}
	d.used++
	return &s.event, nil
}

// Numbers of the fields of Event and Lifetime, as proto/leastwise/v1/event.proto has them, with their wire types.
const (
	varint, bytes = 0, 2

	tagID        = 1<<3 | bytes
	tagKind      = 2<<3 | varint
	tagOccurred  = 5<<3 | bytes
	tagObserved  = 6<<3 | bytes
	tagOutcome   = 12<<3 | varint
	tagIndex     = 15<<3 | varint
	tagFlag      = 18<<3 | varint
	tagLifetime  = 20<<3 | bytes
	tagOrphan    = 23<<3 | varint
	tagPolicies  = 24<<3 | bytes
	tagLabels    = 25<<3 | bytes
	tagGrantedBy = 26<<3 | bytes
)

// text gives the field of a text, nil if that is none.
func text(ev *pb.Event, tag uint64) *string {
	switch tag {
	case 3<<3 | bytes:
		return &ev.Credential
	case 4<<3 | bytes:
		return &ev.Principal
	case 7<<3 | bytes:
		return &ev.Source
	case 8<<3 | bytes:
		return &ev.Instance
	case 9<<3 | bytes:
		return &ev.Action
	case 10<<3 | bytes:
		return &ev.Permission
	case 11<<3 | bytes:
		return &ev.Resource
	case 13<<3 | bytes:
		return &ev.Error
	case 14<<3 | bytes:
		return &ev.RecordId
	case 16<<3 | bytes:
		return &ev.Position
	case 17<<3 | bytes:
		return &ev.Actor
	case 21<<3 | bytes:
		return &ev.Parent
	case 22<<3 | bytes:
		return &ev.Child
	case 27<<3 | bytes:
		return &ev.RemoteAddress
	}
	return nil
}

// read fills in the slot; false for what it does not expect, among it all that is malformed.
func (d *Events) read(s *slot, message []byte) (ok bool) {
	ev := &s.event
	for at := 0; at < len(message); {
		tag, value, number, next := field(message, at)
		if next == 0 {
			return false
		}
		ok := true
		switch tag {
		case tagID:
			ev.Id = value
		case tagKind:
			ev.Kind = pb.Event_Kind(number)
		case tagOutcome:
			ev.Outcome = pb.Outcome(number)
		case tagIndex:
			ev.Index = uint32(number)
		case tagFlag:
			ev.Flag = pb.Event_Flag(number)
		case tagOrphan:
			ev.Orphan = number != 0
		case tagOccurred:
			ok = moment(&ev.OccurredAt, &s.occurred, value)
		case tagObserved:
			ok = moment(&ev.ObservedAt, &s.observed, value)
		case tagLifetime:
			ok = s.readLifetime(value)
		case tagPolicies:
			next = section(message, at, tag)
			ok = ev.Policies == nil && d.list(&ev.Policies, message[at:next])
		case tagGrantedBy:
			next = section(message, at, tag)
			ok = ev.GrantedBy == nil && d.list(&ev.GrantedBy, message[at:next])
		case tagLabels:
			next = section(message, at, tag)
			ok = ev.Labels == nil && d.readLabels(ev, message[at:next])
		default:
			into := text(ev, tag)
			if into == nil {
				return false
			}
			*into = alias(value)
		}
		if !ok {
			return false
		}
		at = next
	}
	return true
}

// alias is a text that shares its bytes with the message, which is never written to again.
func alias(value []byte) string { return unsafe.String(unsafe.SliceData(value), len(value)) }

// field reads the field at a place, and where the next begins; 0 if it is neither a varint nor bytes that are all there.
func field(message []byte, at int) (tag uint64, value []byte, number uint64, next int) {
	tag, at = uvarint(message, at)
	if at == 0 {
		return 0, nil, 0, 0
	}
	number, at = uvarint(message, at)
	switch {
	case at == 0:
		return 0, nil, 0, 0
	case tag&7 == varint:
		return tag, nil, number, at
	case tag&7 != bytes || number > uint64(len(message)-at):
		return 0, nil, 0, 0
	}
	end := at + int(number)
	return tag, message[at:end:end], 0, end
}

// uvarint reads a number and where it ends; 0 if there is none.
func uvarint(message []byte, at int) (number uint64, next int) {
	if at < len(message) && message[at] < 0x80 {
		return uint64(message[at]), at + 1
	}
	number, n := binary.Uvarint(message[at:])
	if n <= 0 {
		return 0, 0
	}
	return number, at + n
}

// section is where the fields of one tag, that stand one after another from a place on, end.
func section(message []byte, at int, tag uint64) (end int) {
	for {
		is, _, _, next := field(message, at)
		if next == 0 || is != tag {
			return at
		}
		at = next
	}
}

func moment(into **timestamppb.Timestamp, t *timestamppb.Timestamp, message []byte) bool {
	if *into != nil {
		return false // two of them are merged
	}
	*into, t.Seconds, t.Nanos = t, 0, 0
	for at := 0; at < len(message); {
		tag, _, number, next := field(message, at)
		switch {
		case next == 0:
			return false
		case tag == 1<<3|varint:
			t.Seconds = int64(number)
		case tag == 2<<3|varint:
			t.Nanos = int32(number)
		default:
			return false
		}
		at = next
	}
	return true
}

func (s *slot) readLifetime(message []byte) (ok bool) {
	l := &s.lifetime
	if s.event.Lifetime != nil {
		return false
	}
	*l = pb.Lifetime{}
	s.event.Lifetime = l
	for at := 0; at < len(message); {
		tag, value, number, next := field(message, at)
		if next == 0 {
			return false
		}
		ok := true
		switch tag {
		case 1<<3 | bytes:
			ok = moment(&l.IssuedAt, &s.issued, value)
		case 2<<3 | bytes:
			ok = moment(&l.ExpiresAt, &s.expires, value)
		case 3<<3 | varint:
			l.NeverExpires = number != 0
		case 4<<3 | varint:
			l.PeriodSeconds = int64(number)
		case 5<<3 | varint:
			l.MaxTtlSeconds = int64(number)
		case 6<<3 | varint:
			l.Renewable = number != 0
		default:
			return false
		}
		if !ok {
			return false
		}
		at = next
	}
	return true
}

// Issuers hand out policies and labels by role: few of them are told again and again. A bound, not a cache: what is
// beyond it is begun anew.
const maxShared = 8192

func (d *Events) list(into *[]string, message []byte) bool {
	if list, ok := d.lists[string(message)]; ok {
		*into = list
		return true
	}
	kept := string(message) // its pieces are the list
	var list []string
	for at := 0; at < len(message); {
		_, value, _, next := field(message, at)
		list = append(list, kept[next-len(value):next])
		at = next
	}
	if d.lists == nil || len(d.lists) >= maxShared {
		d.lists = map[string][]string{}
	}
	d.lists[kept] = list
	*into = list
	return true
}

func (d *Events) readLabels(ev *pb.Event, message []byte) bool {
	if labels, ok := d.labels[string(message)]; ok {
		ev.Labels = labels
		return true
	}
	kept := string(message) // its pieces are the labels
	labels := map[string]string{}
	for at := 0; at < len(message); {
		_, entry, _, next := field(message, at)
		var pair [2]string
		for from := next - len(entry); from < next; {
			tag, value, _, end := field(message[:next], from)
			if end == 0 || tag != 1<<3|bytes && tag != 2<<3|bytes {
				return false
			}
			pair[tag>>3-1] = kept[end-len(value) : end]
			from = end
		}
		labels[pair[0]] = pair[1]
		at = next
	}
	if d.labels == nil || len(d.labels) >= maxShared {
		d.labels = map[string]map[string]string{}
	}
	d.labels[kept] = labels
	ev.Labels = labels
	return true
}
