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
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// Rest is how long the files have to lie still before the change is told.
	Rest = 150 * time.Millisecond
	// Poll is how often it is told without any event.
	Poll = 30 * time.Second
)

// Watch calls changed until ctx ends, and then returns nil. Calls never overlap. Files may be given as well as
// directories; a file's directory is watched, so that a file replaced by a rename is seen. It fails only where watching
// can not begin.
func Watch(ctx context.Context, paths []string, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer w.Close()
	add := func() {
		for _, p := range paths {
			follow(w, p)
		}
	}
	add()
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return fmt.Errorf("watch files: %w", err)
		}
	}
	poll := time.NewTicker(Poll)
	defer poll.Stop()
	rest := time.NewTimer(0) // tells once at the start, for what changed between load and watch
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			rest.Reset(Rest)
		case <-w.Errors: // an overflow of the queue: something changed, nobody knows what
			rest.Reset(Rest)
		case <-poll.C:
			rest.Reset(0)
		case <-rest.C:
			add() // directories made since, and those made again
			changed()
		}
	}
}

// follow adds a path and the directories below it. What can not be added now is tried again after the next event or poll.
func follow(w *fsnotify.Watcher, path string) {
	_ = w.Add(filepath.Dir(filepath.Clean(path))) // sees the path itself replaced
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return
	}
	_ = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && (e.IsDir() || p == path) {
			_ = w.Add(p)
		}
		return nil
	})
}
