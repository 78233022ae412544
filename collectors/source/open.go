package source

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
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
	buffered := bufio.NewReaderSize(file, 1<<16)
	magic, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		return &opened{Reader: buffered, file: file}, nil
	}
	unzip, err := gzip.NewReader(buffered)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read %s as gzip: %w", path, err)
	}
	return &opened{Reader: unzip, file: file}, nil
}

type opened struct {
	io.Reader
	file *os.File
}

func (o *opened) Close() error { return o.file.Close() }

// plain is whether the file is read as it is, so that offsets in it are offsets in the log.
func (o *opened) plain() bool {
	_, packed := o.Reader.(*gzip.Reader)
	return !packed
}
