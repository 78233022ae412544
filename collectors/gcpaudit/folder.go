package gcpaudit

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// folder is the feed of a directory into which files are put. It remembers files, not places in them: after a crash in
// the middle of a file it is read again from its start, which changes nothing, since the ids are the same.
type folder struct {
	cfg        Config
	checkpoint string
	now        func() time.Time
	done       map[string]stamp // files that were given whole
	queue      []found
	current    *reading
	looked     time.Time
}

// stamp tells whether a file changed.
type stamp struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

type found struct {
	path string // relative
	stamp
}

type reading struct {
	found
	file    io.Closer
	records source.Reader
}

func newFolder(cfg Config, checkpoint string, now func() time.Time) (*folder, error) {
	f := &folder{cfg: cfg, checkpoint: checkpoint, now: now, done: map[string]stamp{}}
	text, err := os.ReadFile(checkpoint)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f.done)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s is damaged (%w); remove it to read the directory from its start again, which is safe: events are counted once", checkpoint, err)
	}
	return f, nil
}

// Read implements collect.Feed.
func (f *folder) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	given, finished := 0, false
	for given < limit && ctx.Err() == nil {
		if f.current == nil {
			if ok, err := f.next(); err != nil {
				return given, f.commit(finished), err
			} else if !ok {
				break
			}
		}
		n, ended, err := f.read(limit-given, take)
		given += n
		if ended {
			finished = true
			f.done[f.current.path] = f.current.stamp
			f.drop()
		}
		if err != nil {
			f.drop()
			return given, f.commit(finished), err
		}
	}
	if given == 0 && !finished {
		collect.Pause(ctx, wait)
		return 0, nil, nil
	}
	return given, f.commit(finished), nil
}

// next opens the next file, if there is one.
func (f *folder) next() (bool, error) {
	if len(f.queue) == 0 {
		if now := f.now(); now.Sub(f.looked) < f.cfg.Poll {
			return false, nil
		} else if err := f.look(now); err != nil {
			return false, err
		}
	}
	if len(f.queue) == 0 {
		return false, nil
	}
	file := f.queue[0]
	f.queue = f.queue[1:]
	opened, err := source.Open(filepath.Join(f.cfg.Directory, file.path))
	if err != nil {
		return false, err
	}
	f.current = &reading{found: file, file: opened, records: Records(opened, f.cfg.MaxRecordBytes)}
	return true, nil
}

// read gives records of the current file.
func (f *folder) read(limit int, take collect.Take) (n int, ended bool, err error) {
	for n < limit {
		line, err := f.current.records.Next()
		if damaged(err) { // what follows in it can not be read by anybody
			sum := sha256.Sum256([]byte(f.current.path))
			take(source.Record{Position: f.current.path + ":" + strconv.FormatInt(line.Offset, 10)}, &source.Malformed{
				Reason: source.ReasonTruncated, SHA256: sum[:], Length: f.current.Size,
				Detail: "the file is damaged or was cut off while it was packed; the records after the last whole one are lost"})
			return n + 1, true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return n, false, fmt.Errorf("read %s: %w", f.current.path, err)
		}
		if line.Length > 0 {
			take(source.Record{Bytes: line.Bytes, Position: f.current.path + ":" + strconv.FormatInt(line.Offset, 10)}, line.Malformed())
			n++
		}
		if err != nil {
			return n, true, nil
		}
	}
	return n, false, nil
}

// damaged is whether the packed file itself is at fault.
func damaged(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.As(err, &corrupt)
}

// look lists the files that are new or changed, the oldest first, and forgets those that are gone.
func (f *folder) look(now time.Time) error {
	f.looked = now
	there := map[string]bool{}
	err := filepath.WalkDir(f.cfg.Directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		name, err := filepath.Rel(f.cfg.Directory, path)
		if err != nil {
			return err
		}
		there[name] = true
		at := stamp{Size: info.Size(), Modified: info.ModTime().UTC()}
		if known, ok := f.done[name]; (!ok || known.Size != at.Size || !known.Modified.Equal(at.Modified)) && now.Sub(info.ModTime()) >= f.cfg.Settle {
			f.queue = append(f.queue, found{path: name, stamp: at})
		}
		return nil
	})
	if err != nil {
		f.queue = nil
		return fmt.Errorf("list directory: %w", err)
	}
	maps.DeleteFunc(f.done, func(name string, _ stamp) bool { return !there[name] })
	slices.SortFunc(f.queue, func(a, b found) int {
		if c := a.Modified.Compare(b.Modified); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	return nil
}

// commit remembers the files that have been given whole by now; nil if there are no new ones.
func (f *folder) commit(finished bool) func() error {
	if !finished {
		return nil
	}
	done := maps.Clone(f.done)
	return func() error {
		text, err := json.Marshal(done)
		if err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		if err := source.ReplaceFile(f.checkpoint, text); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		return nil
	}
}

func (f *folder) drop() {
	if f.current != nil {
		f.current.file.Close()
		f.current = nil
	}
}

// Close implements collect.Feed.
func (f *folder) Close() error { f.drop(); return nil }
