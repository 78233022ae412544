package cloudtrail

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// readFiles remembers which files were read, by name and size: the checkpoint. It is a file with one line for each, to
// which lines are added. A crash leaves at most half a line at its end, which is dropped: that file is read again.
type readFiles struct {
	path string
	mu   sync.Mutex // guards what follows: commits come from another goroutine
	size map[string]int64
	file *os.File
}

func openReadFiles(path string) (*readFiles, error) {
	r := &readFiles{path: path, size: map[string]int64{}}
	text, err := os.Open(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if err == nil {
		defer text.Close()
		if err := r.load(bufio.NewReader(text)); err != nil {
			return nil, fmt.Errorf("checkpoint %s is damaged (%w); remove it to read all files again, which is safe: events are counted once", path, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("write checkpoint: %w", err)
	}
	return r, r.rewrite()
}

func (r *readFiles) load(from *bufio.Reader) error {
	for n := 1; ; n++ {
		line, err := from.ReadString('\n')
		if err != nil { // a last line without an end was being written
			return nil
		}
		digits, quoted, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		size, bad := strconv.ParseInt(digits, 10, 64)
		name, worse := strconv.Unquote(quoted)
		if !ok || bad != nil || worse != nil {
			return fmt.Errorf("line %d is not a size and a name", n)
		}
		r.size[name] = size
	}
}

// rewrite replaces the checkpoint by one without what was forgotten, all or nothing.
func (r *readFiles) rewrite() error {
	next, err := os.CreateTemp(filepath.Dir(r.path), filepath.Base(r.path)+".new-*")
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	out := bufio.NewWriter(next)
	for _, name := range slices.Sorted(maps.Keys(r.size)) {
		fmt.Fprintf(out, "%d %s\n", r.size[name], strconv.Quote(name))
	}
	err = errors.Join(out.Flush(), next.Sync())
	if err == nil {
		err = os.Rename(next.Name(), r.path)
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", errors.Join(err, next.Close(), os.Remove(next.Name())))
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file = next
	return nil
}

func (r *readFiles) has(name string, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, ok := r.size[name]
	return ok && was == size
}

// add remembers a file, and returns when that is on disk.
func (r *readFiles) add(name string, size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return errors.New("the checkpoint is closed")
	}
	if _, err := fmt.Fprintf(r.file, "%d %s\n", size, strconv.Quote(name)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	r.size[name] = size
	return nil
}

// forget drops what keep does not want, if that is enough to be worth the writing.
func (r *readFiles) forget(keep func(name string) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []string
	for name := range r.size {
		if !keep(name) {
			gone = append(gone, name)
		}
	}
	if r.file == nil || len(gone) < 100 && 2*len(gone) < len(r.size) || len(gone) == 0 {
		return nil
	}
	for _, name := range gone {
		delete(r.size, name)
	}
	return r.rewrite()
}

// names are those remembered, sorted.
func (r *readFiles) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.size))
}

func (r *readFiles) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
