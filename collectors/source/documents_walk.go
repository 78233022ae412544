package source

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// step is how far walk came.
type step int

const (
	more    step = iota // to the end of the buffer
	ended               // to the end of the document: pos is after it
	failed              // the byte at pos shows that it is no document
	entered             // into the array that holds the records: pos is in it
)

// inert are bytes that neither begin nor end anything: they only stand between strings and brackets.
var inert = func() (table [256]bool) {
	for c := range table {
		table[c] = !bytes.ContainsRune([]byte("\"{}[],: \t\r\n"), rune(c))
	}
	return table
}()

// special gives the place of the first quote, backslash or line end from i on, or the length of buf: most of a log is
// text between quotes, so eight bytes are looked at in one go.
func special(buf []byte, i int) int {
	for ; i+8 <= len(buf); i += 8 {
		word := binary.LittleEndian.Uint64(buf[i:])
		if marked := equal(word, '"') | equal(word, '\\') | equal(word, '\n'); marked != 0 {
			return i + bits.TrailingZeros64(marked)/8
		}
	}
	for ; i < len(buf); i++ {
		if c := buf[i]; c == '"' || c == '\\' || c == '\n' {
			break
		}
	}
	return i
}

// equal marks the highest bit of the first byte that is c, and of none before it.
func equal(word uint64, c byte) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	word ^= ones * uint64(c)
	return (word - ones) &^ word & highs
}

// walk follows the document that was begun.
func (d *Documents) walk() step {
	r, buf, i := &d.doc, d.buf, d.pos
	for i < len(buf) {
		if r.quoted {
			d.pos = i
			if s := d.walkString(); s != ended {
				return s
			}
			if i = d.pos; r.depth == 0 { // a string as an element of an array
				return ended
			}
			continue
		}
		c := buf[i]
		switch c {
		case ' ', '\t', '\r':
			i++
			continue
		case '\n':
			i++
			r.line, r.fresh = d.base+int64(i), true
			continue
		case '"':
			if r.depth == 1 && len(d.keys) > 0 && r.strict && (r.before == '{' || r.before == ',') && r.top() == '{' {
				r.key = i
			}
			r.quoted = true
		case '{', '[':
			if r.strict && !r.value() {
				d.pos = i
				return failed
			}
			if c == '{' && r.fresh && d.base+int64(i) == r.line {
				r.later = true
			}
			if c == '[' && r.hit && r.before == ':' {
				d.pos = i + 1
				return entered
			}
			r.depth++
			if len(r.stack) < maxStack {
				r.stack = append(r.stack, c)
			}
		case '}', ']':
			if r.depth == 0 && r.before != 0 && c == ']' { // the array's end after a bare word
				d.pos = i
				return ended
			}
			if r.depth == 0 || r.depth <= maxStack && r.top() != c-2 {
				d.pos = i
				return failed
			}
			if r.depth <= maxStack {
				r.stack = r.stack[:len(r.stack)-1]
			}
			if r.depth--; r.depth == 0 {
				d.pos = i + 1
				return ended
			}
		case ',':
			if r.depth == 0 {
				d.pos = i
				return ended
			}
		case ':':
		default:
			for i+1 < len(buf) && inert[buf[i+1]] {
				i++
			}
		}
		if c != ':' {
			r.hit = false
		}
		r.before, r.fresh = c, false
		i++
	}
	d.pos = i
	return more
}

// walkString goes to the end of a string, or of the buffer.
func (d *Documents) walkString() step {
	r := &d.doc
	if r.escaped {
		r.escaped = false
		d.pos++
	}
	buf := d.buf
	for i := d.pos; i < len(buf); i++ {
		if i = special(buf, i); i == len(buf) {
			break
		}
		switch buf[i] {
		case '\\':
			if i++; i == len(buf) {
				r.escaped = true
			}
		case '"':
			d.pos, r.quoted = i+1, false
			if r.key >= 0 {
				r.hit = i-r.key <= maxKey && d.isKey(buf[r.key+1:i])
				r.key = -1
			}
			return ended
		case '\n':
			if r.strict && r.kept {
				d.pos, r.fresh = i, false
				return failed
			}
		}
	}
	d.pos = len(buf)
	return more
}

func (d *Documents) isKey(name []byte) bool {
	for _, key := range d.keys {
		if bytes.Equal(name, []byte(key)) {
			return true
		}
	}
	return false
}

// top is the innermost open bracket; 0 if it was not remembered.
func (r *record) top() byte {
	if len(r.stack) == 0 || r.depth > maxStack {
		return 0
	}
	return r.stack[len(r.stack)-1]
}

// value is whether a value may begin here. One that begins where none can is the next line's, and this one was cut.
func (r *record) value() bool {
	switch r.before {
	case 0, ':', '[':
		return true
	case ',':
		return r.top() != '{'
	}
	return false
}
