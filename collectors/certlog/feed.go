package certlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
)

// feed joins the logs. Each is read in its own goroutine, one batch ahead.
type feed struct {
	logs   []*log
	dir    string
	prefix string
	// found and withdraw tell of findings, in the goroutine that reads.
	found    func(collect.Found)
	withdraw func(kind, subject string)

	// All that follows belongs to the goroutine that reads.
	out     chan found
	cancel  context.CancelFunc
	running sync.WaitGroup
	half    *found // given in part
	given   int    // of its records
	trouble map[string]error
	unsaved map[string]*state
	raised  int
}

func newFeed(logs []*log, dir, instance string) *feed {
	return &feed{logs: logs, dir: dir, prefix: "certlog-" + url.PathEscape(instance) + "-",
		out: make(chan found), trouble: map[string]error{}, unsaved: map[string]*state{}}
}

func (f *feed) path(name string) string {
	return filepath.Join(f.dir, f.prefix+url.PathEscape(name)+".checkpoint.json")
}

// resume takes up each log where it was left.
func (f *feed) resume() error {
	for _, l := range f.logs {
		at, err := loadState(f.path(l.cfg.Name))
		if err != nil {
			return err
		}
		if at == nil {
			l.tree = ranges.NewEmptyRange(0)
			continue
		}
		if at.Log != l.key.ID() {
			return fmt.Errorf("checkpoint %s is of a log with another public key; remove it if the log of this name was replaced", f.path(l.cfg.Name))
		}
		l.trusted = at.Head
		if l.tree, err = at.tree(); err != nil {
			return err // was checked when it was loaded
		}
	}
	return nil
}

// Read implements collect.Feed.
func (f *feed) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	if f.cancel == nil {
		f.start(ctx)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	total := 0
	for total < limit && f.next(ctx, timer.C, total > 0 && len(f.trouble) == 0) {
		n := min(limit-total, len(f.half.records)-f.given)
		for _, rec := range f.half.records[f.given : f.given+n] {
			take(rec, nil)
		}
		total, f.given = total+n, f.given+n
		if f.given == len(f.half.records) {
			f.finish()
		}
		if n > 0 && len(f.trouble) > 0 {
			// After an error Read is not called again for a while: the other logs get their turn now.
			timer.Reset(wait)
		}
	}
	return total, f.commit(), f.troubles()
}

func (f *feed) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	for _, l := range f.logs {
		f.running.Go(func() { l.run(ctx, f.out) })
	}
}

// next waits for a batch, or takes what is at hand if there has been one.
func (f *feed) next(ctx context.Context, over <-chan time.Time, some bool) bool {
	if f.half != nil {
		return true
	}
	var got found
	if some {
		select {
		case got = <-f.out:
		default:
			return false
		}
	} else {
		select {
		case got = <-f.out:
		case <-over:
			return false
		case <-ctx.Done():
			return false
		}
	}
	f.half, f.given = &got, 0
	return true
}

// finish takes over what a batch says beside its records.
func (f *feed) finish() {
	name := f.half.log.cfg.Name
	if f.half.state != nil {
		f.unsaved[name] = f.half.state
	}
	var a *Alarm
	switch {
	case errors.As(f.half.trouble, &a):
		if len(f.half.records) > 0 {
			f.raised++
			f.found(a.found(name))
		}
	case f.half.trouble == nil: // it answers as it should
		for _, one := range findings {
			f.withdraw(one.kind, name)
		}
	}
	if f.half.trouble != nil {
		f.trouble[name] = f.half.trouble
	} else {
		delete(f.trouble, name)
	}
	f.half = nil
}

func (f *feed) commit() func() error {
	if len(f.unsaved) == 0 {
		return nil
	}
	states := f.unsaved
	f.unsaved = map[string]*state{}
	return func() error {
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(states)) {
			errs = append(errs, states[name].save(f.path(name)))
		}
		return errors.Join(errs...)
	}
}

func (f *feed) troubles() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(f.trouble)) {
		errs = append(errs, f.trouble[name])
	}
	return errors.Join(errs...)
}

// Gaps counts alarms.
func (f *feed) Gaps() int { return f.raised }

// Close implements collect.Feed.
func (f *feed) Close() error {
	if f.cancel != nil {
		f.cancel()
		f.running.Wait()
	}
	return nil
}
