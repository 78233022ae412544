package jsonrecord

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
)

// Shapes reads records that are like one that was read before. Programs write lines of a few hundred shapes: the names of
// the fields and their order are the same each time, and the values differ. A line of a known shape is compared with it,
// piece by piece, and needs no more reading: where everything but the values is the same, and no value has a quote or an
// escape in it, a Walk would go the same way.
//
// T is what a record says. What was read must depend on the names of fields, on the kinds of values and on whether they are
// empty, but not on what they are; values that Plain gave are part of the shape. Memory is bounded.
type Shapes[T any] struct {
	record *T
	texts  []*[]byte // of record
	first  piece[T]
	begins []int // where the pieces of the line being read begin
	// How many lines were learned, and how many were not known since there were too many.
	learned, missed int
}

// piece is what stands between two values that differ, and after the last.
type piece[T any] struct {
	text string // up to the value, its first quote included
	kind valueKind
	next []*piece[T]
	// said is what the record says that ends here, without its texts; nil if none does.
	said  *T
	spans []span
}

type valueKind uint8

const (
	ends valueKind = iota // no value follows: the line ends
	isText
	isNumber
)

// span is where a text stands.
type span struct {
	text     int
	from, to place
}

// place is one in a line: so many bytes after the beginning of a piece.
type place struct{ piece, bytes int }

const (
	maxShaped = 8192 // the longest line that has a shape
	maxPieces = 256  // of one line
	maxNext   = 32   // pieces may follow one
	maxShapes = 1024
	// maxMissed lines are read without shapes, where there are too many shapes, before learning begins anew.
	maxMissed = 64 * maxShapes
)

// NewShapes returns shapes of records that are read into record, whose texts are all that points into the record's memory.
func NewShapes[T any](record *T, texts ...*[]byte) *Shapes[T] {
	return &Shapes[T]{record: record, texts: texts, begins: make([]int, maxPieces)}
}

// Read reads a line whose shape is known, as it was read when it was learned; false if it is not, or if something in it is
// not ASCII. Refuse need not be asked of a line that it read, but for its length. The texts point into line.
func (s *Shapes[T]) Read(line []byte) bool {
	if s.learned == 0 || len(line) > maxShaped {
		return false
	}
	at, i, n := &s.first, 0, 0
next:
	for k, p := range at.next {
		end := i + len(p.text)
		if end > len(line) || string(line[i:end]) != p.text {
			continue
		}
		switch p.kind {
		case ends:
			if end < len(line) {
				continue
			}
			s.begins[n] = i
			*s.record = *p.said
			for _, sp := range p.spans {
				from, to := s.begins[sp.from.piece]+sp.from.bytes, s.begins[sp.to.piece]+sp.to.bytes
				*s.texts[sp.text] = line[from:to:to]
			}
			return true
		case isText:
			begin := end
			if end = plainEnd(line, begin); end <= begin { // whether there is a text may matter
				continue
			}
		case isNumber:
			digits := end
			for end < len(line) && line[end]-'0' <= 9 {
				end++
			}
			if end == digits {
				continue
			}
		}
		if k > 0 { // what came last is likely to come again
			at.next[k], at.next[k-1] = at.next[k-1], p
		}
		s.begins[n] = i
		n++
		at, i = p, end
		goto next
	}
	return false
}

// plainEnd is where the quote stands that ends the text that begins at i; -1 if there is none, or if the text has an escape,
// a NUL, or anything that is not ASCII.
func plainEnd(line []byte, i int) int {
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i : i+8])
		q, b := x^quotes, x^backslashes
		found := (q - ones) &^ q & tops
		// Of each of these the lowest bit is right, and those below it are.
		other := (x | (x-ones)&^x | (b-ones)&^b) & tops
		if found|other == 0 {
			continue
		}
		if other&-other-1 < found&-found-1 {
			return -1
		}
		return i + bits.TrailingZeros64(found)>>3
	}
	for ; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return i
		case c == '\\' || c == 0 || c >= 0x80:
			return -1
		}
	}
	return -1
}

// shaped is whether a line may have a shape: it is neither long, nor has it escapes, or anything that Refuse must judge.
func shaped(line []byte) bool {
	return len(line) <= maxShaped && plainText(line) && bytes.IndexByte(line, '\\') < 0
}

// Learn remembers the shape of a line. read reads it again into the record.
func (s *Shapes[T]) Learn(line []byte, read func(*Walk) bool) {
	if !shaped(line) {
		return
	}
	if s.learned >= maxShapes {
		if s.missed++; s.missed < maxMissed {
			return
		}
		s.first, s.learned, s.missed = piece[T]{}, 0, 0
	}
	s.learned++
	var w Walk
	w.noting = true
	if !read(&w) {
		return
	}
	path, begins := pieces[T](string(line), w.noted)
	if len(path) > maxPieces {
		return
	}
	last := &path[len(path)-1]
	said := *s.record
	for i, text := range s.texts {
		if len(*text) == 0 {
			continue
		}
		from := w.offset(*text)
		if from < 0 {
			return
		}
		begin, ok1 := placeOf(path, begins, from)
		end, ok2 := placeOf(path, begins, from+len(*text))
		if !ok1 || !ok2 {
			return
		}
		last.spans = append(last.spans, span{i, begin, end})
	}
	for _, text := range s.texts { // they are this line's own
		if len(*text) > 0 {
			*text = nil
		}
	}
	bare := *s.record
	*s.record, last.said = said, &bare
	at := &s.first
	for i := range path {
		if at = at.follow(&path[i]); at == nil {
			return
		}
	}
}

// follow gives the piece after another, new if need be; nil if there are too many.
func (after *piece[T]) follow(p *piece[T]) *piece[T] {
	for _, known := range after.next {
		if known.kind == p.kind && known.text == p.text {
			return known
		}
	}
	if len(after.next) >= maxNext {
		return nil
	}
	after.next = append(after.next, &piece[T]{text: p.text, kind: p.kind, said: p.said, spans: p.spans})
	return after.next[len(after.next)-1]
}

// pieces cuts a line at the values that may differ: those inside the parts that were noted.
func pieces[T any](line string, noted [][2]int) (path []piece[T], begins []int) {
	begin := 0
	add := func(kind valueKind, from, to int) {
		path, begins = append(path, piece[T]{text: line[begin:from], kind: kind}), append(begins, begin)
		begin = to
	}
	for _, part := range noted {
		for i := part[0]; i < part[1]; {
			switch c := line[i]; {
			case c == '"':
				from := i + 1
				to := from + strings.IndexByte(line[from:], '"')
				name := strings.HasPrefix(strings.TrimLeft(line[to+1:], " \t\r\n"), ":")
				if to > from && !name {
					add(isText, from, to)
				}
				i = to + 1
			case strings.IndexByte("{}[],: \t\r\n", c) >= 0:
				i++
			default:
				from := i
				for i < part[1] && strings.IndexByte("{}[],: \t\r\n", line[i]) < 0 {
					i++
				}
				if strings.Trim(line[from:i], "0123456789") == "" {
					add(isNumber, from, i)
				}
			}
		}
	}
	add(ends, len(line), len(line))
	return path, begins
}

// placeOf is where a place in the line stands; false if it is within a value that differs.
func placeOf[T any](path []piece[T], begins []int, at int) (place, bool) {
	for n, begin := range begins {
		if at >= begin && at <= begin+len(path[n].text) {
			return place{n, at - begin}, true
		}
	}
	return place{}, false
}
