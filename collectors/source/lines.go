package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// DefaultMaxLine is the longest line that is held in memory.
const DefaultMaxLine = 8 << 20

// Line is one line of a log, without its end.
type Line struct {
	// Bytes is valid until the next call of Next; nil if TooLong.
	Bytes []byte
	// Offset of the line's first byte, and of the first byte after its end, from where reading began.
	Offset, End int64
	// TooLong lines were skipped; SHA256 and Length tell which one it was.
	TooLong bool
	SHA256  [sha256.Size]byte
	Length  int64
	// Partial is the last line when no line end follows it: cut, or not written whole yet.
	Partial bool
}

// Malformed says what was skipped; nil if the line can be decoded.
func (l *Line) Malformed() *Malformed {
	if !l.TooLong {
		return nil
	}
	return &Malformed{Reason: ReasonTooLong, SHA256: bytes.Clone(l.SHA256[:]), Length: l.Length,
		Detail: fmt.Sprintf("a line of %d bytes is longer than the limit; it was skipped", l.Length)}
}

// Lines reads lines within bounded memory. Empty lines are skipped.
//
// At the end of the input Next returns io.EOF, with the line that has no end yet, if there is one, marked Partial.
// Next may be called again after io.EOF: if the file has grown, the partial line is read on, so a follower just waits
// and asks again, and a reader of a finished file takes the partial line as the last one.
type Lines struct {
	from   io.Reader
	max    int
	buf    []byte
	start  int // of the current line in buf
	search int // bytes of buf[start:] known to hold no line end
	offset int64
	skip   hash.Hash // not nil: inside a line that is too long
	length int64     // of that line so far
}

// NewLines reads from r. Lines longer than max bytes are skipped; 0 is DefaultMaxLine.
func NewLines(r io.Reader, max int) *Lines {
	if max <= 0 {
		max = DefaultMaxLine
	}
	return &Lines{from: r, max: max, buf: make([]byte, 0, min(max+2, 256<<10))}
}

// Next returns the next line. An error other than io.EOF is the reader's; the lines before it have been returned.
func (l *Lines) Next() (Line, error) {
	empty := 0
	for {
		if at := bytes.IndexByte(l.buf[l.start+l.search:], '\n'); at >= 0 {
			if line, ok := l.take(l.start + l.search + at); ok {
				return line, nil
			}
			continue
		}
		l.search = len(l.buf) - l.start
		if l.search > l.max {
			l.swallow()
		}
		n, err := l.fill()
		if n > 0 {
			empty = 0
			continue
		}
		if empty++; err == nil && empty > 100 {
			err = io.ErrNoProgress
		}
		if errors.Is(err, io.EOF) {
			return l.partial(), io.EOF
		}
		if err != nil {
			return Line{}, err
		}
	}
}

// take ends the current line at buf[end], which is its line feed.
func (l *Lines) take(end int) (Line, bool) {
	text := l.buf[l.start:end]
	line := Line{Offset: l.offset, End: l.offset + l.length + int64(end-l.start) + 1}
	l.start, l.search, l.offset = end+1, 0, line.End
	if l.skip != nil || len(text) > l.max {
		if l.skip == nil {
			l.skip = sha256.New()
		}
		l.skip.Write(text)
		line.TooLong, line.Length = true, l.length+int64(len(text))
		copy(line.SHA256[:], l.skip.Sum(nil)) // not into the line: it would be memory of its own
		l.skip, l.length = nil, 0
		return line, true
	}
	text = bytes.TrimSuffix(text, []byte{'\r'})
	line.Bytes, line.Length = text, int64(len(text))
	return line, len(text) > 0
}

// swallow forgets what is there of a line that is too long.
func (l *Lines) swallow() {
	if l.skip == nil {
		l.skip = sha256.New()
	}
	l.skip.Write(l.buf[l.start:])
	l.length += int64(len(l.buf) - l.start)
	l.buf, l.start, l.search = l.buf[:0], 0, 0
}

func (l *Lines) fill() (int, error) {
	if l.start > 0 && (l.start == len(l.buf) || cap(l.buf)-len(l.buf) < 4<<10) {
		l.buf = l.buf[:copy(l.buf, l.buf[l.start:])]
		l.start = 0
	}
	if len(l.buf) == cap(l.buf) {
		grown := make([]byte, len(l.buf), min(2*cap(l.buf), l.max+64<<10)+1)
		copy(grown, l.buf)
		l.buf = grown
	}
	n, err := l.from.Read(l.buf[len(l.buf):cap(l.buf)])
	l.buf = l.buf[:len(l.buf)+n]
	return n, err
}

func (l *Lines) partial() Line {
	text := l.buf[l.start:]
	line := Line{Offset: l.offset, End: l.offset + l.length + int64(len(text)), Length: l.length + int64(len(text))}
	if line.Length == 0 {
		return line
	}
	line.Partial = true
	if l.skip != nil {
		// The hash goes on if the line does: Sum does not end it.
		line.TooLong = true
		l.skip.Write(text)
		l.length += int64(len(text))
		l.buf, l.start, l.search = l.buf[:0], 0, 0
		copy(line.SHA256[:], l.skip.Sum(nil))
		return line
	}
	line.Bytes = text
	return line
}
