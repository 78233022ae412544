package scan

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// scratch is a file without a name: it is gone when it is closed, and when the process ends, however that ends. It lies
// in the directory that TMPDIR names, so that the user can say which disk it fills.
func scratch() (*os.File, error) {
	file, err := os.CreateTemp("", "leastwise-scan-")
	if err != nil {
		return nil, fmt.Errorf("scratch file: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, fmt.Errorf("scratch file: %w", err)
	}
	return file, nil
}

// spool keeps texts in the order in which they came: the first of them in memory, all on disk when they are many.
type spool struct {
	held []byte
	most int // bytes held
	file *os.File
	size int64 // of file
	n    int
}

func newSpool(most int) *spool { return &spool{most: most} }

// put appends a text made of parts and gives its place.
func (s *spool) put(parts ...[]byte) (place int64, err error) {
	place = s.size + int64(len(s.held))
	s.n++
	for _, part := range parts {
		s.held = binary.AppendUvarint(s.held, uint64(len(part)))
		s.held = append(s.held, part...)
	}
	if len(s.held) < s.most {
		return place, nil
	}
	return place, s.flush()
}

// flush writes what is held to disk.
func (s *spool) flush() error {
	if s.file == nil {
		file, err := scratch()
		if err != nil {
			return err
		}
		s.file = file
	}
	if _, err := s.file.WriteAt(s.held, s.size); err != nil {
		return fmt.Errorf("scratch file: %w", err)
	}
	s.size += int64(len(s.held))
	s.held = s.held[:0]
	return nil
}

// from reads texts from a place on, buffer bytes at a time. What is put while it reads must not be put here.
func (s *spool) from(place int64, buffer int) *spoolReader {
	var in io.Reader = bytes.NewReader(s.held[max(0, place-s.size):])
	if place < s.size {
		in = io.MultiReader(io.NewSectionReader(s.file, place, s.size-place), in)
	}
	return &spoolReader{in: bufio.NewReaderSize(in, buffer)}
}

// close gives back what is held, and the disk.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
	*s = spool{most: s.most}
}

type spoolReader struct {
	in  *bufio.Reader
	buf []byte
	at  int64 // from where reading began
}

// next text; io.EOF after the last. It is valid until the next call.
func (r *spoolReader) next() ([]byte, error) {
	n, err := binary.ReadUvarint(r.in)
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err == nil {
		if uint64(cap(r.buf)) < n {
			r.buf = make([]byte, n+n/2)
		}
		r.buf = r.buf[:n]
		_, err = io.ReadFull(r.in, r.buf)
		r.at += int64(len(binary.AppendUvarint(nil, n))) + int64(n)
	}
	if err != nil {
		return nil, fmt.Errorf("read the scratch file: %w", err)
	}
	return r.buf, nil
}
