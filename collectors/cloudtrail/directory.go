package cloudtrail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
)

// settled is how long a file that ends within a record is waited for after it was last written to.
const settled = time.Minute

// directory finds new files below a directory, or one file. A file that grew is read again from its start: its records
// keep their ids. Digest files are left out, and hidden ones.
type directory struct {
	root string
	poll time.Duration
	read *readFiles
	now  func() time.Time

	pending []found
	looked  time.Time // the last round

	mu    sync.Mutex // guards given: commits come from another goroutine
	given map[string]bool
}

type found struct {
	path     string
	size     int64
	modified time.Time
}

func (d *directory) Close() error { return d.read.Close() }

func (d *directory) next(ctx context.Context, wait time.Duration) (*file, error) {
	if len(d.pending) == 0 {
		if left := d.poll - time.Since(d.looked); left > 0 {
			collect.Pause(ctx, min(left, wait))
			if left > wait || ctx.Err() != nil {
				return nil, nil
			}
		}
		d.looked = time.Now()
		if err := d.look(); err != nil || len(d.pending) == 0 {
			return nil, err
		}
	}
	one := d.pending[0]
	d.pending = d.pending[1:]
	d.mark(one.path, true)
	return &file{
		name: one.path,
		open: func(context.Context) (io.ReadCloser, error) { return os.Open(one.path) },
		done: func(context.Context) error {
			defer d.mark(one.path, false)
			return d.read.add(one.path, one.size)
		},
		again:   func(context.Context) { d.mark(one.path, false) },
		growing: func() bool { return d.grows(one) },
	}, nil
}

func (d *directory) mark(path string, given bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if given {
		d.given[path] = true
	} else {
		delete(d.given, path)
	}
}

// grows is whether a file was written to a moment ago, or since it was found.
func (d *directory) grows(one found) bool {
	info, err := os.Stat(one.path)
	return err == nil && (info.Size() != one.size || d.now().Sub(info.ModTime()) < settled)
}

// look lists the files that were not read, the oldest first.
func (d *directory) look() error {
	root, err := filepath.EvalSymlinks(d.root)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is not there (yet)", d.root)
	}
	if err != nil {
		return fmt.Errorf("look into %s: %w", d.root, err)
	}
	there := map[string]bool{}
	d.mu.Lock()
	defer d.mu.Unlock()
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // removed while we look
			return nil
		}
		if err != nil {
			return err
		}
		if path != root && strings.HasPrefix(entry.Name(), ".") || entry.IsDir() && entry.Name() == digestFolder {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		there[path] = true
		info, err := entry.Info()
		if err == nil && info.Size() > 0 && !d.given[path] && !d.read.has(path, info.Size()) {
			d.pending = append(d.pending, found{path, info.Size(), info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look into %s: %w", d.root, err)
	}
	slices.SortFunc(d.pending, func(a, b found) int {
		return cmp.Or(a.modified.Compare(b.modified), strings.Compare(a.path, b.path))
	})
	return d.read.forget(func(path string) bool { return there[path] })
}
