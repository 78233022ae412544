package jsonrecord

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/valyala/fastjson"
)

// Walk reads a JSON text once, from its beginning to its end, and builds nothing: a log line has dozens of fields, of which
// an event needs a handful. It takes exactly the texts that fastjson's parser takes. What it gives points into memory of
// its own, and is valid until the next Open. The zero value works; it is not safe for concurrent use.
//
// Open stands before the text's value. Of a value exactly one of Text, Raw, Skip, Object and Array is called; of an object
// that was entered, Field until it gives false, and of an array, Item. What is wrong with the text makes all of them give
// nothing from there on: Close tells.
type Walk struct {
	text   []byte // a copy, with padding that is no JSON
	at     int
	end    int  // of the text, where the padding begins
	depth  int  // containers that are open
	fresh  bool // nothing of the container was read
	bad    bool
	slash  bool            // the text has a backslash
	parser fastjson.Parser // of texts with escapes
	// noted are the parts of which a reader learned no more than their kind, where that is noted.
	noting bool
	noted  [][2]int
}

const (
	quotes      = 0x2222222222222222
	backslashes = 0x5c5c5c5c5c5c5c5c
	padding     = "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
)

// Open takes a text to read. What Refuse refuses must not be opened.
func (w *Walk) Open(text []byte) {
	w.text = append(append(w.text[:0], text...), padding...)
	w.end, w.depth, w.bad, w.fresh = len(text), 0, false, false
	w.slash = bytes.IndexByte(text, '\\') >= 0
	w.at = w.space(0)
}

// space goes past white space.
func (w *Walk) space(i int) int {
	if w.text[i] > ' ' {
		return i
	}
	return w.blanks(i)
}

func (w *Walk) blanks(i int) int {
	for w.text[i] == ' ' || w.text[i] == '\n' || w.text[i] == '\t' || w.text[i] == '\r' {
		i++
	}
	return i
}

// At is how far the text was read, in bytes.
func (w *Walk) At() int { return w.at }

// Close tells whether the text was read to its end, and nothing was wrong with it.
func (w *Walk) Close() bool {
	return !w.bad && w.depth == 0 && !w.fresh && w.space(w.at) == w.end
}

func (w *Walk) fail() {
	w.bad = true
	w.at = w.end // where no value begins
}

// Object enters the value if it is an object; otherwise it goes past it.
func (w *Walk) Object() bool { return w.enter('{') }

// Within gives the first field of an object, if it was entered, as Field gives the others.
func (w *Walk) Within(entered bool) (key []byte, more bool) {
	if !entered {
		return nil, false
	}
	return w.Field()
}

// Array enters the value if it is an array; otherwise it goes past it.
func (w *Walk) Array() bool { return w.enter('[') }

func (w *Walk) enter(open byte) bool {
	if w.text[w.at] != open {
		w.Skip()
		return false
	}
	if w.depth >= fastjson.MaxDepth {
		w.fail()
		return false
	}
	w.depth++
	w.at++
	w.fresh = true
	return true
}

// more goes to the next element of the container, or past its end.
func (w *Walk) more(closing byte) bool {
	i := w.space(w.at)
	switch c := w.text[i]; {
	case c == ',' && !w.fresh:
		w.at = w.space(i + 1)
		return true
	case c == closing:
		w.at = i + 1
		w.depth--
		w.fresh = false
		return false
	case !w.fresh:
		w.fail()
		return false
	}
	w.fresh = false
	w.at = i
	return true
}

// Item goes to the next element of the array; false at its end.
func (w *Walk) Item() bool { return w.more(']') }

// Field goes to the next field of the object and gives its name; false at the object's end.
func (w *Walk) Field() (key []byte, ok bool) {
	text, i := w.text, w.at
	if text[i] == ',' && text[i+1] == '"' && !w.fresh { // as most logs have it
		i++
	} else {
		if !w.more('}') {
			return nil, false
		}
		if i = w.at; text[i] != '"' {
			w.fail()
			return nil, false
		}
	}
	from := i + 1
	to := w.closing(from)
	if to < 0 {
		w.fail()
		return nil, false
	}
	if i = to + 1; text[i] != ':' {
		if i = w.space(i); text[i] != ':' {
			w.fail()
			return nil, false
		}
	}
	w.at = w.space(i + 1)
	if key = text[from:to:to]; w.slash {
		key = w.clear(key)
	}
	return key, true
}

// Text goes past the value, and gives it if it is a text; nil otherwise.
func (w *Walk) Text() []byte {
	from := w.at + 1
	if w.text[w.at] != '"' {
		w.Skip()
		return nil
	}
	if !w.pass() {
		return nil
	}
	w.note(from - 1)
	to := w.at - 1
	if w.slash {
		return w.clear(w.text[from:to:to])
	}
	return w.text[from:to:to]
}

func (w *Walk) note(from int) {
	if w.noting {
		w.noted = append(w.noted, [2]int{from, w.at})
	}
}

// offset is where a text that was given stands; -1 if it is none, or was built from one with escapes.
func (w *Walk) offset(text []byte) int {
	for i := range w.text[:w.end] {
		if &w.text[i] == &text[0] {
			return i
		}
	}
	return -1
}

// pass goes past a text.
func (w *Walk) pass() bool {
	to := w.closing(w.at + 1)
	if to < 0 || w.depth >= fastjson.MaxDepth {
		w.fail()
		return false
	}
	w.at = to + 1
	return true
}

// IsText is whether the value is a text.
func (w *Walk) IsText() bool { return w.text[w.at] == '"' }

// Value goes past the value, and gives it if it is a text, a number or a boolean; nil otherwise.
func (w *Walk) Value() []byte {
	switch w.text[w.at] {
	case '"':
		return w.Text()
	case '{', '[':
		w.Skip()
		return nil
	}
	if raw := w.Raw(); string(raw) != "null" {
		return raw
	}
	return nil
}

// Plain is Value where reading goes on by what the value is.
func (w *Walk) Plain() []byte {
	noting := w.noting
	w.noting = false
	value := w.Value()
	w.noting = noting
	return value
}

// closing gives where the quote stands that ends the text that begins at i; -1 if none does.
func (w *Walk) closing(i int) int {
	text := w.text
	// Most texts are short: eight bytes at once beat a call.
	for range 2 {
		if i+8 > len(text) {
			return -1
		}
		x := binary.LittleEndian.Uint64(text[i:i+8]) ^ quotes
		if found := (x - ones) &^ x & tops; found != 0 {
			i += bits.TrailingZeros64(found) >> 3
			if text[i-1] != '\\' {
				return i
			}
			return w.escaped(i)
		}
		i += 8
	}
	n := bytes.IndexByte(text[i:], '"')
	if n < 0 {
		return -1
	}
	if i += n; text[i-1] != '\\' {
		return i
	}
	return w.escaped(i)
}

// escaped goes on from a quote at i that a backslash stands before: of an even number of them each is its own.
func (w *Walk) escaped(i int) int {
	for {
		before := i
		for w.text[before-1] == '\\' {
			before--
		}
		if (i-before)%2 == 0 {
			return i
		}
		n := bytes.IndexByte(w.text[i+1:], '"')
		if n < 0 {
			return -1
		}
		i += 1 + n
	}
}

// clear resolves escapes. Few texts have any.
func (w *Walk) clear(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	v, err := w.parser.ParseBytes(append(append([]byte{'"'}, text...), '"'))
	if err != nil { // it ends where the text ends
		return nil
	}
	return append([]byte{}, v.GetStringBytes()...)
}

// Raw goes past the value, and gives it as it stands in the text.
func (w *Walk) Raw() []byte {
	from := w.at
	w.Skip()
	if w.bad {
		return nil
	}
	return w.text[from:w.at:w.at]
}

// Since is what was read since At was from.
func (w *Walk) Since(from int) []byte { return w.text[from:w.at:w.at] }

// Rest is what stands from the value on.
func (w *Walk) Rest() []byte { return w.text[w.at:w.end:w.end] }

// Same goes past the value if it is an object that stands as raw does, which Raw gave of a value as deep in its text.
func (w *Walk) Same(raw string) bool {
	rest := w.text[w.at:w.end]
	if w.noting || len(raw) == 0 || raw[0] != '{' || len(rest) < len(raw) || string(rest[:len(raw)]) != raw {
		return false
	}
	w.at += len(raw)
	return true
}

// Skip goes past the value.
func (w *Walk) Skip() {
	from := w.at
	w.skip()
	w.note(from)
}

func (w *Walk) skip() {
	if w.IsText() {
		w.pass()
		return
	}
	var objects [fastjson.MaxDepth/64 + 1]uint64 // which of the containers are objects
	text := w.text
	i, depth := w.at, w.depth
value:
	if depth >= fastjson.MaxDepth {
		w.fail()
		return
	}
	switch text[i] {
	case '"':
		if i = w.closing(i + 1); i < 0 {
			w.fail()
			return
		}
		i++
	case '{':
		objects[depth>>6] |= 1 << (depth & 63)
		depth++
		if i = w.space(i + 1); text[i] != '}' {
			goto key
		}
		i++
		depth--
	case '[':
		objects[depth>>6] &^= 1 << (depth & 63)
		depth++
		if i = w.space(i + 1); text[i] != ']' {
			goto value
		}
		i++
		depth--
	default:
		n := scalar(text[i:w.end])
		if n == 0 {
			w.fail()
			return
		}
		i += n
	}
after:
	if depth == w.depth {
		w.at = i
		return
	}
	i = w.space(i)
	if object := objects[(depth-1)>>6]&(1<<((depth-1)&63)) != 0; text[i] == ',' {
		i = w.space(i + 1)
		if object {
			goto key
		}
		goto value
	} else if object && text[i] == '}' || !object && text[i] == ']' {
		i++
		depth--
		goto after
	}
	w.fail()
	return
key:
	if text[i] != '"' {
		w.fail()
		return
	}
	if i = w.closing(i + 1); i < 0 {
		w.fail()
		return
	}
	if i = w.space(i + 1); text[i] != ':' {
		w.fail()
		return
	}
	i = w.space(i + 1)
	goto value
}

// scalar gives how long the number or word is that text begins with; 0 if it begins with none.
func scalar(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case 't':
		return word(text, "true")
	case 'f':
		return word(text, "false")
	case 'n':
		if n := word(text, "null"); n > 0 {
			return n
		}
	}
	n := 0
	for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == '.' || text[n] == '-' || text[n] == 'e' || text[n] == 'E' || text[n] == '+') {
		n++
	}
	if n == len(text) || n > 1 || n == 1 && text[0] != '-' && text[0] != '+' {
		return n
	}
	// What is no JSON, and yet written by some: NaN, -Inf.
	if rest := text[n:]; len(rest) >= 3 && (strings.EqualFold(string(rest[:3]), "inf") || strings.EqualFold(string(rest[:3]), "nan")) {
		return n + 3
	}
	return 0
}

func word(text []byte, word string) int {
	if len(text) >= len(word) && string(text[:len(word)]) == word {
		return len(word)
	}
	return 0
}
