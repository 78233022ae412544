package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// Open opens a log file for reading, and unpacks it if its first bytes are gzip's, whatever it is called. Several gzip
// members one after another are read as one stream, as log rotation by concatenation leaves them.
func Open(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		return nil, fmt.Errorf("open log: %s is a directory; name the files in it", path)
	}
	reader, packed, err := Unpack(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &opened{Reader: reader, file: file, packed: packed}, nil
}

// Unpack is what r holds, unpacked if it is gzip.
func Unpack(r io.Reader) (unpacked io.Reader, packed bool, err error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	magic, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		return buffered, false, nil
	}
	unzip, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, false, fmt.Errorf("gzip: %w", err)
	}
	return unzip, true, nil
}

type opened struct {
	io.Reader
	file   *os.File
	packed bool
}

func (o *opened) Close() error { return o.file.Close() }

// plain is whether the file is read as it is, so that offsets in it are offsets in the log.
func (o *opened) plain() bool { return !o.packed }
