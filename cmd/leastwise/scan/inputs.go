package scan

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"github.com/leastwise/leastwise/collectors/source"
)

// each calls fn for every log that a file holds: the file itself, unpacked if it is gzip, or each file of a tar or zip
// archive, known by content. Names of files in an archive follow the archive's, after a slash.
func each(name string, fn func(name string, content io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer file.Close()
	magic := make([]byte, 4)
	if n, _ := io.ReadFull(file, magic); n == 4 && string(magic) == "PK\x03\x04" {
		return eachZipped(file, name, fn)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return unpacked(file, name, fn)
}

// unpacked looks through gzip and tar.
func unpacked(r io.Reader, name string, fn func(string, io.Reader) error) error {
	content, _, err := source.Unpack(r)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	buffered := bufio.NewReaderSize(content, 64<<10)
	if head, _ := buffered.Peek(262); len(head) < 262 || string(head[257:262]) != "ustar" {
		return fn(name, buffered)
	}
	archive := tar.NewReader(buffered)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s as tar: %w", name, err)
		}
		if header.Typeflag != tar.TypeReg || hidden(header.Name) {
			continue
		}
		if err := unpacked(archive, name+"/"+header.Name, fn); err != nil {
			return err
		}
	}
}

func eachZipped(file *os.File, name string, fn func(string, io.Reader) error) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	archive, err := zip.NewReader(file, info.Size())
	if err != nil {
		return fmt.Errorf("read %s as zip: %w", name, err)
	}
	for _, entry := range archive.File {
		if entry.FileInfo().IsDir() || hidden(entry.Name) {
			continue
		}
		content, err := entry.Open()
		if err != nil {
			return fmt.Errorf("read %s/%s: %w", name, entry.Name, err)
		}
		err = unpacked(content, name+"/"+entry.Name, fn)
		content.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func hidden(name string) bool { return path.Base(name)[0] == '.' }

// ahead reads on while what was read is worked on: unpacking takes one processor, decoding another.
type ahead struct {
	chunks <-chan chunk
	free   chan []byte
	stop   chan struct{}
	now    chunk
	at     int
}

type chunk struct {
	bytes []byte
	err   error
}

const (
	chunkBytes  = 256 << 10
	chunksAhead = 4
)

// chunkPool keeps chunks for the next file: logs come as thousands of small ones.
var chunkPool = sync.Pool{New: func() any { return make([]byte, chunkBytes) }}

func readAhead(r io.Reader) *ahead {
	chunks, free := make(chan chunk, chunksAhead), make(chan []byte, chunksAhead+1)
	a := &ahead{chunks: chunks, free: free, stop: make(chan struct{})}
	for range chunksAhead + 1 {
		free <- chunkPool.Get().([]byte)
	}
	go func() {
		defer close(chunks)
		for {
			var buf []byte
			select {
			case <-a.stop:
				return
			case buf = <-free:
			}
			n, err := fill(r, buf)
			select {
			case <-a.stop:
				return
			case chunks <- chunk{buf[:n], err}:
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

// fill reads until buf is full, or to an error. io.ReadFull would call a stream that was cut and one that is just short the
// same.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for a.at == len(a.now.bytes) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.bytes != nil {
			a.free <- a.now.bytes[:chunkBytes]
		}
		a.now, a.at = <-a.chunks, 0
	}
	n := copy(p, a.now.bytes[a.at:])
	a.at += n
	return n, nil
}

// Close ends the reading. The reader it reads from may be closed when chunks is drained.
func (a *ahead) Close() {
	close(a.stop)
	for c := range a.chunks { // until the goroutine is gone
		a.giveBack(c.bytes)
	}
	a.giveBack(a.now.bytes)
	a.now = chunk{err: io.ErrClosedPipe}
	for {
		select {
		case buf := <-a.free:
			a.giveBack(buf)
		default:
			return
		}
	}
}

func (a *ahead) giveBack(buf []byte) {
	if cap(buf) >= chunkBytes {
		chunkPool.Put(buf[:chunkBytes]) //nolint:staticcheck // a slice header more or less
	}
}
