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
	r := reloader{engine: e, changed: changed, failed: failed}
	return filewatch.Watch(ctx, paths, func() bool { return r.reload(ctx) })
}

// reloader remembers what Watch has told.
type reloader struct {
	engine  *Engine
	changed func(*Set)
	failed  func(error)
	// refused is the state of the files that was last told to be bad, as hash or as error text; "" if none was.
	refused string
}

// reload reports whether the files had come to rest; where not, it has done nothing.
func (r *reloader) reload(ctx context.Context) bool {
	e := r.engine
	snap, err := takeSnapshot(e.opts)
	if err != nil {
		r.refuse(err.Error(), err)
		return true
	}
	if !snap.resting() {
		return false
	}
	hash := snap.hash()
	if hash == *e.loaded.Load() {
		r.recover()
		return true
	}
	if state := string(hash[:]); state != r.refused {
		before := e.Current()
		if err := e.adopt(ctx, &snap); err != nil {
			r.refuse(state, err)
			return true
		}
		r.recover()
		if set := e.Current(); set.Revision() != before.Revision() {
			e.opts.Log.Info("policies replaced", "revision", set.Revision(), "before", before.Revision(), "policies", len(set.Policies()))
			r.changed(set)
		}
	}
	return true
}

func (r *reloader) refuse(state string, err error) {
	if r.refused == state {
		return
	}
	r.refused = state
	r.engine.opts.Log.Error("policies refused; the last good set stays in force", "revision", r.engine.Current().Revision(), "error", err)
	r.failed(err)
}

func (r *reloader) recover() {
	if r.refused != "" {
		r.refused = ""
		r.failed(nil)
	}
}
