// Package filewatch tells when files below some directories may have changed.
//
// It promises to tell at least once after the last change, soon after the files have come to rest, and to survive what
// editors and Kubernetes do to directories: rename, replace, remove and make again. It may tell without need; whoever
// listens compares the content. Where the operating system loses an event, the next poll finds it.
package filewatch

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// Rest is how long the files have to lie still before the change is told.
	Rest = 150 * time.Millisecond
	// patience is how long a stream of changes may put off the telling.
	patience = 2 * time.Second
	// poll is how often it is told without any event.
	poll = 30 * time.Second
)

// Resting says whether a file last modified at that time may be taken for completely written. Whoever reads files because
// Watch told him asks it afterwards with the newest time of all, and comes again later if they are not.
func Resting(modified time.Time) bool {
	age := time.Since(modified)
	return age >= Rest || age <= -Rest // a clock that is off must not keep a file from ever being read
}

// Watch calls changed until ctx ends, and then returns nil. Calls never overlap; one that returns false is called again
// after Rest. Files may be given as well as directories. The directory above each path is watched too, so that a path
// replaced by a rename is seen. It fails only where the operating system gives no watcher at all.
func Watch(ctx context.Context, paths []string, changed func() bool) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer w.Close()
	cleaned := make([]string, 0, len(paths))
	for _, p := range paths {
		cleaned = append(cleaned, filepath.Clean(p))
	}
	follow(w, cleaned)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	rest := time.NewTimer(0) // tells once at the start, for what changed between load and watch
	defer rest.Stop()
	var since time.Time // of the first event not yet told
	stir := func() {
		if since.IsZero() {
			since = time.Now()
		}
		rest.Reset(max(0, min(Rest, patience-time.Since(since))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.Events:
			if concerns(event.Name, cleaned) {
				stir()
			}
		case <-w.Errors: // an overflow of the queue: something changed, nobody knows what
			stir()
		case <-ticker.C:
			rest.Reset(0)
		case <-rest.C:
			since = time.Time{}
			follow(w, cleaned) // directories made since, and those made again
			if !changed() {
				rest.Reset(Rest)
			}
		}
	}
}

// concerns leaves out what happens beside the paths in the directories above them, which may be as busy as /tmp.
func concerns(name string, paths []string) bool {
	for _, p := range paths {
		if name == p || strings.HasPrefix(name, p+string(filepath.Separator)) {
			return true
		}
		// A file given by a link, as Kubernetes mounts it: the swap happens beside it.
		if strings.HasPrefix(filepath.Base(name), "..") && filepath.Dir(name) == filepath.Dir(p) {
			return true
		}
	}
	return false
}

// follow adds the paths and the directories below them. What can not be added now is tried again after the next event or
// poll; adding twice does no harm.
func follow(w *fsnotify.Watcher, paths []string) {
	for _, path := range paths {
		_ = w.Add(filepath.Dir(path))
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			continue
		}
		_ = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
			if err == nil && (e.IsDir() || p == path) {
				_ = w.Add(p)
			}
			return nil
		})
	}
}
