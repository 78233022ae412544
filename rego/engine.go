package rego

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/rego/filewatch"
)

// Options say where policies and bundle are.
type Options struct {
	// PolicyDir holds the YAML policies and free-form Rego; "" means none.
	PolicyDir string
	// BundleDir overrides the embedded bundle; "" means the embedded one.
	BundleDir string
	Log       *slog.Logger
	Now       func() time.Time
}

// Engine holds the policy set in force and replaces it when the files change.
type Engine struct {
	opts    Options
	current atomic.Pointer[Set]
	loaded  atomic.Pointer[[32]byte] // hash of the snapshot in force
}

// New loads the policies and the bundle. A bad one is an error: there is no last good set to keep yet.
func New(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	e := &Engine{opts: opts}
	snap, err := takeSnapshot(opts)
	if err != nil {
		return nil, err
	}
	return e, e.adopt(ctx, &snap)
}

// Current is the set in force.
func (e *Engine) Current() *Set { return e.current.Load() }

func (e *Engine) adopt(ctx context.Context, snap *snapshot) error {
	set, err := snap.build(ctx)
	if err != nil {
		return err
	}
	hash := snap.hash()
	e.current.Store(set)
	e.loaded.Store(&hash)
	return nil
}

// Watch replaces the set when the files change, until ctx ends; it blocks. changed is called with each new set, never
// with one that means the same as before. A bad file leaves the last good set in force and calls failed, once for each
// state of the files; failed(nil) tells that they are good again. Both run on Watch's goroutine.
func (e *Engine) Watch(ctx context.Context, changed func(*Set), failed func(error)) error {
	var paths []string
	for _, dir := range []string{e.opts.PolicyDir, e.opts.BundleDir} {
		if dir != "" {
			paths = append(paths, dir)
		}
	}
	if len(paths) == 0 {
		<-ctx.Done()
		return nil
	}
	var refused *[32]byte // the state of the files that was last told to be bad
	var unreadable string
	return filewatch.Watch(ctx, paths, func() {
		snap, err := takeSnapshot(e.opts)
		if err != nil {
			if unreadable != err.Error() {
				unreadable = err.Error()
				e.opts.Log.Error("policies can not be read; the last good set stays in force", "error", err)
				failed(err)
			}
			return
		}
		hash := snap.hash()
		if refused != nil && *refused == hash {
			return
		}
		recovered := refused != nil || unreadable != ""
		unreadable = ""
		if hash == *e.loaded.Load() {
			refused = nil
			if recovered {
				failed(nil)
			}
			return
		}
		before := e.Current().Revision()
		if err := e.adopt(ctx, &snap); err != nil {
			refused = &hash
			e.opts.Log.Error("policies refused; the last good set stays in force", "revision", before, "error", err)
			failed(err)
			return
		}
		refused = nil
		if recovered {
			failed(nil)
		}
		if set := e.Current(); set.Revision() != before {
			e.opts.Log.Info("policies replaced", "revision", set.Revision(), "before", before, "policies", len(set.Policies()))
			changed(set)
		}
	})
}
