package spire

import (
	"bytes"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

// A server writes lines of a few dozen shapes: the names of the fields, and what the line is, are the same each time, and
// the values differ. A line of a shape that was read before is compared with it, piece by piece, and needs no more reading:
// where everything but the values is the same, and no value has a quote or an escape in it, the structure is the same.

// piece is what stands between two values that differ, and after the last.
type piece struct {
	text []byte // up to the value, its first quote included
	kind valueKind
	name []byte // of the field whose value follows
	next []*piece
	// same are the values that do not differ, at a line's end: those of the fixed fields, and others.
	same   *fields
	others []pair
	// What a line of this shape tells of, once that was asked.
	asked bool
	what  telling
	call  call
}

type valueKind uint8

const (
	ends valueKind = iota // no value follows: the line ends
	isText
	isNumber
)

const (
	// maxShaped is the longest line that has a shape.
	maxShaped = 4096
	maxPieces = 1024
	// maxNext pieces may follow one.
	maxNext = 16
)

// shapes of lines, as a tree of pieces. Its memory is bounded.
type shapes struct {
	first  piece
	pieces int
}

// fixed are the fields whose values tell what a line is; the others differ from line to line.
func fixed(name []byte) bool {
	switch string(name) {
	case "level", "msg", "type", "subsystem_name", "service", "method", "status", "status_code", "authorized_as", "authorized_via":
		return true
	}
	return false
}

// read reads a line whose shape is known, and gives the shape's last piece. Otherwise it gives nil, and f may hold anything.
func (s *shapes) read(f *fields, line []byte) *piece {
	if s.pieces == 0 || len(line) > maxShaped || bytes.IndexByte(line, '\\') >= 0 {
		return nil
	}
	at := &s.first
next:
	for i, p := range at.next {
		if !bytes.HasPrefix(line, p.text) {
			continue
		}
		rest, n := line[len(p.text):], 0
		switch p.kind {
		case ends:
			if len(rest) > 0 {
				continue
			}
			f.fill(p.same)
			for _, other := range p.others {
				*f.slotOf(other.key) = other.value
			}
			return p
		case isText:
			if n = bytes.IndexByte(rest, '"'); n < 0 {
				return nil
			}
		case isNumber:
			for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
				n++
			}
			if n == 0 || n < len(rest) && rest[n] != ',' && rest[n] != '}' {
				continue
			}
		}
		if place := f.slotOf(p.name); place != nil {
			*place = rest[:n:n]
		}
		if i > 0 { // what came last is likely to come again
			at.next[i], at.next[i-1] = at.next[i-1], p
		}
		at, line = p, rest[n:]
		goto next
	}
	return nil
}

// fill sets the fields that a shape fixes.
func (f *fields) fill(same *fields) {
	f.level, f.msg, f.kind, f.subsystem = same.level, same.msg, same.kind, same.subsystem
	f.service, f.method, f.status, f.statusCode, f.authorizedAs = same.service, same.method, same.status, same.statusCode, same.authorizedAs
}

// learn remembers the shape of a line that was read whole. Lines with escapes or with a field twice have none.
func (s *shapes) learn(line []byte) {
	if len(line) > maxShaped || bytes.IndexByte(line, '\\') >= 0 {
		return
	}
	if s.pieces >= maxPieces {
		*s = shapes{}
	}
	line = bytes.Clone(line)
	end, seen := piece{same: &fields{}}, map[string]bool{}
	var w jsonrecord.Walk
	w.Open(line)
	w.Object()
	at, from := &s.first, 0
	for {
		name, more := w.Field()
		if !more {
			break
		}
		if seen[string(name)] {
			return
		}
		seen[string(name)] = true
		begin := w.At()
		value := w.Raw()
		to := w.At()
		var kind valueKind
		switch {
		case value[0] == '"' && fixed(name):
			if place := end.same.slotOf(name); place != nil {
				*place = line[begin+1 : to-1 : to-1]
			}
			continue
		case value[0] == '"':
			kind, begin, to = isText, begin+1, to-1
		case !fixed(name) && len(bytes.Trim(value, "0123456789")) == 0:
			kind = isNumber
		default: // a list, a boolean, null, a number that is not whole: a part of the shape
			if end.same.slotOf(name) != nil && value[0] != '[' && value[0] != '{' && string(value) != "null" {
				end.others = append(end.others, pair{bytes.Clone(name), line[begin:to:to]})
			}
			continue
		}
		if at = s.follow(at, piece{text: line[from:begin:begin], kind: kind, name: bytes.Clone(name)}); at == nil {
			return
		}
		from = to
	}
	if w.Close() {
		end.text = line[from:]
		s.follow(at, end)
	}
}

// follow gives the piece after another, new if need be; nil if there are too many.
func (s *shapes) follow(after *piece, p piece) *piece {
	for _, known := range after.next {
		if known.kind == p.kind && bytes.Equal(known.name, p.name) && bytes.Equal(known.text, p.text) {
			return known
		}
	}
	if len(after.next) >= maxNext {
		return nil
	}
	s.pieces++
	after.next = append(after.next, &p)
	return &p
}
