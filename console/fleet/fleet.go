// Package fleet keeps every credential that lives, or ended lately, in memory as ClickHouse last told of it: its row, the
// newest decision and the newest entry of the enforcer's journal. Lists, pictures and sums are answered from it, so that
// many readers cost ClickHouse no more than one.
//
// Run reads what is new every few seconds, by the rows' own order; nothing is read twice but the last checkpoint of each
// partition. While ClickHouse is away the last known fleet stays, and Problem says so. It writes nothing.
package fleet

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"

	"github.com/leastwise/leastwise/internal/store"
)

// Remembered is how long a credential is kept after its end; older ones are read one by one.
const Remembered = 7 * 24 * time.Hour

// Options of a fleet. Zero values take the defaults.
type Options struct {
	Store *store.DB
	Log   *slog.Logger
	Now   func() time.Time
	// Every is the shortest time between two readings (default 2 s).
	Every time.Duration
	// Changed is told what a reading brought; keys are nil where they are too many to name.
	Changed func(what string, keys []string)
}

// Fleet is the snapshot and what keeps it new.
type Fleet struct {
	opts Options
	now  atomic.Pointer[Snapshot]

	mu      sync.Mutex
	problem error // guarded by mu

	// The rest belongs to Read.
	rows      map[string]*Item
	written   map[uint32]mark             // newest rows of each partition
	offsets   map[string]map[uint32]int64 // newest record of each topic's partitions
	decisions map[string]*pb.Decision     // of credentials whose row was not read yet
	ladders   map[string]*pb.LadderState
	beats     map[string]beat   // by source/instance
	names     map[string]string // one copy of texts that many rows share
	version   uint64
	swept     time.Time
	heard     time.Time
}

// New makes an empty fleet.
func New(opts Options) *Fleet {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Every == 0 {
		opts.Every = 2 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Changed == nil {
		opts.Changed = func(string, []string) {}
	}
	f := &Fleet{opts: opts, rows: map[string]*Item{}, written: map[uint32]mark{}, offsets: map[string]map[uint32]int64{},
		decisions: map[string]*pb.Decision{}, ladders: map[string]*pb.LadderState{}, names: map[string]string{}}
	f.now.Store(&Snapshot{byKey: map[string]*Item{}})
	return f
}

// Snapshot is the fleet as last read. It is never nil.
func (f *Fleet) Snapshot() *Snapshot { return f.now.Load() }

// Problem is why the last reading failed; nil if it did not.
func (f *Fleet) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// Run reads until ctx ends. A reading that takes long is followed by a longer rest, so that a twentieth of the time at most
// is spent.
func (f *Fleet) Run(ctx context.Context) error {
	for {
		begin := time.Now()
		err := f.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		f.mu.Lock()
		if err != nil && f.problem == nil {
			f.opts.Log.Warn("the console can not read ClickHouse; it shows what it last knew", "error", err)
		}
		f.problem = err
		f.mu.Unlock()
		rest := max(f.opts.Every, min(time.Minute, 20*time.Since(begin)))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// Read takes over what is new. It is not for concurrent use.
func (f *Fleet) Read(ctx context.Context) error {
	changed := map[string]bool{}
	laddered := map[string]bool{}
	if err := f.readCredentials(ctx, changed); err != nil {
		return err
	}
	if err := f.readDecisions(ctx, changed); err != nil {
		return err
	}
	if err := f.readLadders(ctx, laddered); err != nil {
		return err
	}
	sources, err := f.readHeard(ctx)
	if err != nil {
		return err
	}
	now := f.opts.Now()
	swept := f.sweep(now)
	if len(changed) > 0 || len(laddered) > 0 || swept || f.version == 0 {
		f.version++
		f.now.Store(&Snapshot{Version: f.version, AsOf: f.heard, Items: slices.Collect(maps.Values(f.rows)), byKey: maps.Clone(f.rows)})
	}
	s := f.now.Load()
	s.heard.Store(f.heard.UnixNano())
	beats := f.beats // the next reading makes another
	s.beats.Store(&beats)
	if len(changed) > 0 {
		f.opts.Changed("fleet", few(changed))
	}
	if len(laddered) > 0 {
		f.opts.Changed("ladders", few(laddered))
	}
	if sources {
		f.opts.Changed("sources", nil)
	}
	return nil
}

// few lists keys, or nothing if they are too many to name.
func few(keys map[string]bool) []string {
	if len(keys) > 100 {
		return nil
	}
	return slices.Sorted(maps.Keys(keys))
}

// sweep forgets what ended long ago.
func (f *Fleet) sweep(now time.Time) bool {
	if now.Sub(f.swept) < 10*time.Minute {
		return false
	}
	f.swept = now
	before, n := now.Add(-Remembered).UnixNano(), len(f.rows)
	maps.DeleteFunc(f.rows, func(_ string, it *Item) bool {
		ended := it.endedAt(now.UnixNano())
		return ended != 0 && ended < before
	})
	return len(f.rows) != n
}

// put takes over a row, and what was read of it before.
func (f *Fleet) put(row Row) {
	old := f.rows[row.Key]
	var decision *pb.Decision
	var ladder *pb.LadderState
	if old != nil {
		decision, ladder = old.Decision, old.Ladder
	} else {
		decision, ladder = f.decisions[row.Key], f.ladders[row.Key]
		delete(f.decisions, row.Key)
		delete(f.ladders, row.Key)
	}
	f.rows[row.Key] = made(row, decision, ladder)
}

// name gives the one copy of a text.
func (f *Fleet) name(text string) string {
	if kept, ok := f.names[text]; ok {
		return kept
	}
	if len(f.names) < 100_000 {
		f.names[text] = text
	}
	return text
}
