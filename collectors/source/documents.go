package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// Documents splits JSON into its records, whatever its form: one document a line, one over many lines, several one after
// another, an array of them, or an object whose field of one of the given keys holds the array. Other fields of such an
// object are skipped.
//
// It does not parse: it follows strings and brackets, and leaves the judgement of a record to its decoder. A line among
// JSON lines that can not be a document is given as a record of its own, and reading goes on with the next line. Inside
// an array there is nothing to go on with: the rest of a broken one is one last record, marked Partial. Of an array that
// ends between two records the last record is Partial and empty.
//
// Memory is bounded: longer records are skipped and hashed, as by Lines. Unlike Lines it can not go on after io.EOF.
type Documents struct {
	from io.Reader
	max  int
	keys []string
	buf  []byte
	pos  int   // of the next byte to look at
	base int64 // offset of buf[0]

	where     place
	enclosed  bool   // the array is a field's
	byLine    int64  // up to this offset every line is a record, since they make no document together
	doc       record // the document being read
	exhausted bool
}

// place is where reading stands between two records.
type place int

const (
	atTop place = iota
	inArray
	afterArray // in the object whose field the array was
	atEnd
)

// record is a document half read.
type record struct {
	from   int   // its first byte in buf that was not swallowed
	offset int64 // of its first byte
	kept   bool  // false: its bytes are dropped
	strict bool  // not in an array: the end of a line may show that it is broken

	skip   hash.Hash // not nil: it is too long
	length int64     // swallowed bytes

	depth           int
	stack           []byte // opening brackets
	quoted, escaped bool
	key             int  // where the string began that may be a key looked for; -1: none
	hit             bool // the last string was one
	before          byte // the last byte that is no white space; '"' for a string
	line            int64
	fresh           bool // nothing but white space yet in this line
	later           bool // a line after the first begins with {
}

const (
	maxStack   = 4096 // deeper brackets are counted, not remembered
	maxKey     = 64
	maxLook    = 4096
	byteOrder  = "\xef\xbb\xbf"
	whiteSpace = " \t\r\n"
)

// NewDocuments reads from r. Documents longer than max bytes are skipped; 0 is DefaultMaxLine. The names of keys must be
// shorter than 64 bytes.
func NewDocuments(r io.Reader, max int, keys ...string) *Documents {
	if max <= 0 {
		max = DefaultMaxLine
	}
	return &Documents{from: r, max: max, keys: keys, buf: make([]byte, 0, 64<<10), doc: record{key: -1}}
}

// Next returns the next record, and io.EOF at the end: with the last record, marked Partial, if it is cut off. Another
// error is the reader's.
func (d *Documents) Next() (Line, error) {
	for {
		if d.offset() < d.byLine {
			if line, err := d.takeLine(); err != nil || line.Length > 0 {
				return line, err
			}
			continue
		}
		var line Line
		var err error
		switch d.where {
		case atTop:
			line, err = d.top()
		case inArray:
			line, err = d.element()
		case afterArray:
			line, err = d.after()
		default:
			return Line{}, io.EOF
		}
		if err != nil || line.Length > 0 {
			return line, err
		}
	}
}

func (d *Documents) offset() int64 { return d.base + int64(d.pos) }

// top reads a document that stands alone, or goes into an array. An empty line says: look again.
func (d *Documents) top() (Line, error) {
	c, err := d.significant()
	if err != nil {
		return Line{}, err
	}
	switch {
	case c == ',': // between documents, as some exports leave it
		d.pos++
		return Line{}, nil
	case c == '[' && d.beginsArray():
		d.pos++
		d.where, d.enclosed = inArray, false
		return Line{}, nil
	case c != '{':
		return d.takeLine()
	}
	d.begin(true, true)
	for {
		switch d.walk() {
		case more:
			if err := d.fill(); errors.Is(err, io.EOF) {
				return d.cut()
			} else if err != nil {
				return Line{}, err
			}
		case ended:
			return d.give(), nil
		case entered:
			d.where, d.enclosed = inArray, true
			return Line{}, nil
		case failed:
			return d.broken()
		}
	}
}

// broken goes back to the document's first line, to give it and those after it one by one.
func (d *Documents) broken() (Line, error) {
	until := d.offset() + 1
	if d.doc.fresh && d.doc.line > d.doc.offset {
		until = d.doc.line
	}
	if d.doc.skip != nil { // it can not be read again
		return d.give(), nil
	}
	d.pos, d.byLine = d.doc.from, until
	return Line{}, nil
}

// cut gives what is there of a document that does not end.
func (d *Documents) cut() (Line, error) {
	if d.doc.later && d.doc.skip == nil {
		d.pos, d.byLine = d.doc.from, d.base+int64(len(d.buf))
		return Line{}, nil
	}
	d.where = atEnd
	line := d.give()
	line.Partial = true
	return line, io.EOF
}

// element reads a record of an array, or leaves it.
func (d *Documents) element() (Line, error) {
	c, err := d.significant()
	if errors.Is(err, io.EOF) {
		return d.nothingLeft()
	}
	if err != nil {
		return Line{}, err
	}
	switch c {
	case ',':
		d.pos++
		return Line{}, nil
	case ']':
		d.pos++
		if d.where = atTop; d.enclosed {
			d.where = afterArray
			d.begin(false, true)
			d.doc.depth, d.doc.stack, d.doc.before = 1, append(d.doc.stack, '{'), ']'
		}
		return Line{}, nil
	}
	d.begin(true, false)
	for {
		switch d.walk() {
		case more:
			if err := d.fill(); err != nil {
				return d.rest(err)
			}
		case ended:
			return d.give(), nil
		default:
			d.pos = len(d.buf)
			for {
				if err := d.fill(); err != nil {
					return d.rest(err)
				}
				d.pos = len(d.buf)
			}
		}
	}
}

// rest gives all that is left of a broken array.
func (d *Documents) rest(err error) (Line, error) {
	if !errors.Is(err, io.EOF) {
		return Line{}, err
	}
	d.where = atEnd
	line := d.give()
	line.Partial = true
	return line, io.EOF
}

func (d *Documents) nothingLeft() (Line, error) {
	d.where = atEnd
	return Line{Offset: d.offset(), End: d.offset(), Partial: true}, io.EOF
}

// after skips the fields that follow an array.
func (d *Documents) after() (Line, error) {
	for {
		switch d.walk() {
		case more:
			if err := d.fill(); errors.Is(err, io.EOF) {
				return d.nothingLeft()
			} else if err != nil {
				return Line{}, err
			}
		case ended, failed: // what follows begins anew
			d.where = atTop
			return Line{}, nil
		case entered:
			d.where = inArray
			return Line{}, nil
		}
	}
}

// begin starts a document at pos.
func (d *Documents) begin(kept, strict bool) {
	d.doc = record{from: d.pos, offset: d.offset(), kept: kept, strict: strict, key: -1, stack: d.doc.stack[:0], line: -1}
}

// give ends the document before pos.
func (d *Documents) give() Line {
	doc := &d.doc
	text := d.buf[doc.from:d.pos]
	line := Line{Offset: doc.offset, End: d.offset(), Length: doc.length + int64(len(text))}
	if doc.skip == nil && len(text) <= d.max {
		line.Bytes = bytes.TrimRight(text, whiteSpace)
		line.Length = int64(len(line.Bytes))
	} else {
		if doc.skip == nil {
			doc.skip = sha256.New()
		}
		doc.skip.Write(text)
		doc.skip.Sum(line.SHA256[:0])
		line.TooLong = true
	}
	doc.from, doc.kept, doc.skip, doc.length = d.pos, false, nil, 0
	return line
}

// takeLine gives the rest of the line as a record.
func (d *Documents) takeLine() (Line, error) {
	d.begin(true, false)
	for {
		if at := bytes.IndexByte(d.buf[d.pos:], '\n'); at >= 0 {
			d.pos += at
			line := d.give()
			d.pos++
			line.End = d.offset()
			return line, nil
		}
		d.pos = len(d.buf)
		if err := d.fill(); errors.Is(err, io.EOF) {
			line := d.give()
			d.where, d.byLine = atEnd, 0
			line.Partial = line.Length > 0
			return line, io.EOF
		} else if err != nil {
			return Line{}, err
		}
	}
}

// significant skips white space, and the mark that some systems begin a file with.
func (d *Documents) significant() (byte, error) {
	d.doc.kept = false
	for {
		for ; d.pos < len(d.buf); d.pos++ {
			if c := d.buf[d.pos]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
				if c == byteOrder[0] && d.offset() == 0 && d.look(len(byteOrder)) && string(d.buf[d.pos:d.pos+len(byteOrder)]) == byteOrder {
					d.pos += len(byteOrder) - 1
					continue
				}
				return c, nil
			}
		}
		if err := d.fill(); err != nil {
			if errors.Is(err, io.EOF) && d.where == atTop {
				d.where = atEnd
			}
			return 0, err
		}
	}
}

// look reads ahead until n bytes from pos are there.
func (d *Documents) look(n int) bool {
	for len(d.buf)-d.pos < n {
		if d.fill() != nil {
			return false
		}
	}
	return true
}

// beginsArray is whether the [ at pos is followed by an object or by its end: a line of text may begin with [ too.
func (d *Documents) beginsArray() bool {
	for n := 1; n < maxLook && d.look(n+1); n++ {
		switch d.buf[d.pos+n] {
		case ' ', '\t', '\r', '\n':
		default:
			return d.buf[d.pos+n] == '{' || d.buf[d.pos+n] == ']'
		}
	}
	return false
}

// fill reads more. What is kept of the document moves to the buffer's begin; what is too long is hashed and forgotten.
func (d *Documents) fill() error {
	if d.exhausted {
		return io.EOF
	}
	keep := d.pos
	if d.doc.kept {
		keep = d.doc.from
		if d.pos-keep > d.max {
			keep = d.pos
			if d.doc.key >= 0 && keep-d.doc.key <= maxKey {
				keep = d.doc.key
			}
			if d.doc.skip == nil {
				d.doc.skip = sha256.New()
			}
			d.doc.skip.Write(d.buf[d.doc.from:keep])
			d.doc.length += int64(keep - d.doc.from)
			d.doc.from = keep
		}
	} else if d.doc.key >= 0 && d.pos-d.doc.key <= maxKey {
		keep = d.doc.key
	}
	if keep > 0 && (keep == len(d.buf) || cap(d.buf)-len(d.buf) < 16<<10) {
		d.buf = d.buf[:copy(d.buf, d.buf[keep:])]
		d.pos -= keep
		d.doc.from -= keep
		d.doc.key = max(d.doc.key-keep, -1)
		d.base += int64(keep)
	}
	if len(d.buf) == cap(d.buf) {
		grown := make([]byte, len(d.buf), min(2*cap(d.buf), d.max+256<<10)+1)
		copy(grown, d.buf)
		d.buf = grown
	}
	for range 100 {
		n, err := d.from.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+n]
		if errors.Is(err, io.EOF) {
			d.exhausted = true
		}
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
