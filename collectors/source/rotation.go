package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// candidate is a file that may be (a part of) the log.
type candidate struct {
	path string
	info os.FileInfo
}

// rotated is what rotation appends to a log's name: .1, -20260102, .1.gz, -2026-01-02T15:04:05.gz
var rotated = regexp.MustCompile(`^[.-][0-9][0-9A-Za-z_.:-]*?(\.gz)?$`)

// siblings are the rotated files beside path that were last written to after the given time, the oldest first.
func siblings(path string, after time.Time) []candidate {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	var found []candidate
	for _, entry := range entries {
		suffix, ok := strings.CutPrefix(entry.Name(), filepath.Base(path))
		if !ok || !rotated.MatchString(suffix) {
			continue
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().After(after) {
			found = append(found, candidate{path: filepath.Join(filepath.Dir(path), entry.Name()), info: info})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return found
}

// resume goes back to where the checkpoint says, wherever that file is by now.
func (f *Follower) resume(at *Checkpoint) error {
	f.after = at.Modified
	if at.Inode == 0 && at.FingerprintSize == 0 { // nothing was read yet
		return nil
	}
	here, found := f.find(at.Device, at.Inode, at.Fingerprint, at.FingerprintSize, at.Offset)
	if !found {
		f.gaps++
		f.cfg.Log.Warn("the log file that was read last is gone: records that were only there are lost; reading on with what was written later",
			"path", at.Path, "offset", at.Offset)
		return nil
	}
	if err := f.open(here, at.Offset); err != nil {
		return err
	}
	// Although renamed, a file may still be written to: advance finds out.
	f.cur.finished = f.cur.plain == nil
	return nil
}

// find looks for a file by inode and beginning, then by its beginning alone: a copy, or packed.
func (f *Follower) find(device, inode uint64, print string, size, offset int64) (candidate, bool) {
	all := siblings(f.cfg.Path, time.Time{})
	if info, err := os.Stat(f.cfg.Path); err == nil {
		all = append(all, candidate{path: f.cfg.Path, info: info})
	}
	same := func(c candidate) bool {
		file, err := Open(c.path)
		if err != nil {
			return false
		}
		defer file.Close()
		sum, n, err := fingerprint(file, size)
		return err == nil && n == size && sum == print
	}
	for _, c := range all {
		if d, i := identity(c.info); d == device && i == inode && c.info.Size() >= offset && same(c) {
			return c, true
		}
	}
	if size == 0 { // an empty file is like any other
		return candidate{}, false
	}
	for _, c := range all {
		packed := strings.HasSuffix(c.path, ".gz")
		if (packed || c.info.Size() >= offset) && same(c) {
			return c, true
		}
	}
	return candidate{}, false
}

// open begins to read c at offset.
func (f *Follower) open(c candidate, offset int64) error {
	file, err := Open(c.path)
	if err != nil {
		return err
	}
	cur := &open{path: c.path, file: file, offset: offset, base: offset, modified: c.info.ModTime(), finished: c.path != f.cfg.Path}
	var from io.Reader = file
	if o := file.(*opened); o.plain() {
		cur.plain = o.file
		if _, err := o.file.Seek(offset, io.SeekStart); err != nil {
			file.Close()
			return fmt.Errorf("seek in %s: %w", c.path, err)
		}
		from = o.file
		info, err := o.file.Stat()
		if err != nil {
			file.Close()
			return fmt.Errorf("look at %s: %w", c.path, err)
		}
		cur.device, cur.inode = identity(info)
		cur.refresh()
	} else {
		if cur.print, cur.printed, err = packedPrint(c.path); err != nil {
			file.Close()
			return err
		}
		cur.device, cur.inode = identity(c.info)
		if _, err := io.CopyN(io.Discard, file, offset); err != nil {
			file.Close()
			return fmt.Errorf("skip to %d in %s: %w", offset, c.path, err)
		}
	}
	cur.lines = NewLines(from, f.cfg.MaxLine)
	if f.cur != nil {
		f.cur.file.Close()
	}
	f.cur = cur
	return nil
}

func packedPrint(path string) (string, int64, error) {
	file, err := Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	return fingerprint(file, fingerprintSize)
}

// refresh takes the file's beginning and time again: a short file has grown.
func (o *open) refresh() {
	if o.plain == nil {
		return
	}
	if info, err := o.plain.Stat(); err == nil {
		o.modified = info.ModTime()
	}
	if o.printed < fingerprintSize {
		if sum, n, err := fingerprint(io.NewSectionReader(o.plain, 0, fingerprintSize), fingerprintSize); err == nil {
			o.print, o.printed = sum, n
		}
	}
}

// truncated is whether the file was emptied and perhaps written anew since it was read.
func (o *open) truncated() bool {
	if o.plain == nil {
		return false
	}
	info, err := o.plain.Stat()
	if err != nil {
		return false
	}
	if info.Size() < o.offset {
		return true
	}
	sum, n, err := fingerprint(io.NewSectionReader(o.plain, 0, o.printed), o.printed)
	return err == nil && (n != o.printed || sum != o.print)
}

// advance goes to the next file once the open one has no more. It reports whether there is anything new to read.
func (f *Follower) advance() (bool, error) {
	if f.cur != nil && !f.cur.finished {
		info, err := os.Stat(f.cfg.Path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("look at the log: %w", err)
		}
		// A new file that is still empty: the writer may not have let go of the old one yet.
		if err != nil || info.Size() == 0 {
			return false, nil
		}
		if d, i := identity(info); d == f.cur.device && i == f.cur.inode {
			return false, nil
		}
		f.cur.finished = true
		return true, nil // once more to the end of it
	}
	if f.cur != nil {
		f.cur.refresh()
		f.after = f.cur.modified
	}
	if next, ok := f.next(); ok {
		return f.tryOpen(next)
	}
	info, err := os.Stat(f.cfg.Path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the log: %w", err)
	}
	moved, err := f.tryOpen(candidate{path: f.cfg.Path, info: info})
	if !moved || err != nil {
		return moved, err
	}
	// It may have been rotated since next looked: then another has its name, and what is next comes before it.
	if next, ok := f.next(); ok {
		return f.tryOpen(next)
	}
	return true, nil
}

// next is the oldest rotated file that was written to after all that was read.
func (f *Follower) next() (candidate, bool) {
	for _, c := range siblings(f.cfg.Path, f.after) {
		if d, i := identity(c.info); f.cur == nil || d != f.cur.device || i != f.cur.inode {
			return c, true
		}
	}
	return candidate{}, false
}

// tryOpen opens a file unless it was renamed or packed since it was listed: then it is found under its new name soon.
func (f *Follower) tryOpen(c candidate) (bool, error) {
	err := f.open(c, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// afterTruncation reads the rest from the copy that was made before, if it is there, and then the file from its start.
func (f *Follower) afterTruncation() error {
	old := f.cur
	copied, found := f.find(0, 0, old.print, old.printed, old.offset)
	if found && old.printed > 0 && copied.path != f.cfg.Path {
		f.cfg.Log.Info("the log was truncated; reading the rest from its copy", "copy", copied.path)
		return f.open(copied, old.offset)
	}
	f.cfg.Log.Warn("the log was truncated and no copy of it is beside it: records written just before may be lost", "path", f.cfg.Path)
	f.gaps++
	info, err := os.Stat(f.cfg.Path)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	return f.open(candidate{path: f.cfg.Path, info: info}, 0)
}
