package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Options of a run.
type Options struct {
	Dir   string // everything the run writes
	Seed  uint64
	Kills int
	Out   io.Writer
	// Verbose prints a line a kill.
	Verbose bool
}

func (o *Options) say(format string, args ...any) {
	if o.Verbose {
		fmt.Fprintf(o.Out, format+"\n", args...)
	}
}

// shown is how many differences are printed.
const shown = 20

// Run kills, compares and prints the verdict. ok is false if anything is not as promised.
func Run(ctx context.Context, opts Options) (ok bool, err error) {
	began := time.Now()
	random := rand.New(rand.NewPCG(opts.Seed, 0xc4a5))
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return false, fmt.Errorf("make the run's directory: %w", err)
	}
	fmt.Fprintf(opts.Out, "crash: seed %d, %d kills (--seed %d --kills %d repeats this), files in %s\n", opts.Seed, opts.Kills, opts.Seed, opts.Kills, opts.Dir)
	h, err := write(filepath.Join(opts.Dir, "whole.log"), opts.Seed)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var d differences
	killed, killing, err := killedRun(ctx, cancel, opts, h, random, &d)
	if err != nil {
		return false, err
	}
	whole, resting, err := wholeRun(ctx, opts, h, &d)
	if err != nil {
		return false, err
	}
	h.checkTruth(&d, "killed", killed)
	h.checkTruth(&d, "uninterrupted", whole)
	checkSame(&d, killed, whole)
	ladders := h.checkLadders(&d, "killed", killed, killing)
	h.checkLadders(&d, "uninterrupted", whole, resting)
	verdict := "ok"
	if len(d.list) > 0 {
		verdict = fmt.Sprintf("%d DIFFERENCES", len(d.list))
	}
	for i, text := range d.list {
		if i == shown {
			fmt.Fprintf(opts.Out, "  … and %d more\n", len(d.list)-shown)
			break
		}
		fmt.Fprintf(opts.Out, "  %s\n", text)
	}
	fmt.Fprintf(opts.Out, "crash: seed %d, %d kills, %d events (%d told again), %d dead letters, %d ladders, %d revoked, %d failures by the issuer, %s: %s\n",
		opts.Seed, opts.Kills, len(killed.events)+len(killed.derived), killed.told-len(killed.events)-len(killed.derived), total(killed.letters), ladders, len(killing.revocations()),
		killing.failures(), time.Since(began).Round(time.Second), verdict)
	return len(d.list) == 0, nil
}

// killedRun is the run in which everything is killed.
func killedRun(ctx context.Context, cancel context.CancelCauseFunc, opts Options, h *history, random *rand.Rand, d *differences) (*snapshot, *issuer, error) {
	dir := filepath.Join(opts.Dir, "killed")
	path := filepath.Join(dir, "log", "audit.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the log's directory: %w", err)
	}
	at, err := startIssuer(ctx, h.keys, h.children, rand.New(rand.NewPCG(opts.Seed, 0x155)))
	if err != nil {
		return nil, nil, err
	}
	s, err := newSite(dir, path, 200, h, at)
	if err != nil {
		return nil, nil, err
	}
	f := &feeder{whole: h.file, path: path, size: h.size, rand: rand.New(rand.NewPCG(opts.Seed, 0xfeed)),
		ended: func(accessor []byte) { at.end(keyOf(string(accessor))) }}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if err := f.run(ctx); err != nil {
			cancel(err)
		}
	}()
	k := &killer{site: s, opts: opts, rand: random, feed: f}
	defer k.close()
	if err := k.run(ctx); err != nil {
		return nil, nil, err
	}
	f.goOn(1, 0)
	<-fed
	opts.say("left alone: %d of %d kills, %d calls failed by the issuer", k.done, opts.Kills, at.failures())
	began := time.Now()
	snap, err := settle(ctx, s, h, d, "killed")
	opts.say("caught up after %s", time.Since(began).Round(time.Second))
	if err == nil {
		err = k.alive()
	}
	return snap, at, err
}

// wholeRun is the run in which nothing is killed: the same log, in one file.
func wholeRun(ctx context.Context, opts Options, h *history, d *differences) (*snapshot, *issuer, error) {
	at, err := startIssuer(ctx, h.keys, h.children, nil)
	if err != nil {
		return nil, nil, err
	}
	for key, c := range h.tokens {
		if c.Ended == "revoked" {
			at.end(key)
		}
	}
	s, err := newSite(filepath.Join(opts.Dir, "uninterrupted"), h.file, 5000, h, at)
	if err != nil {
		return nil, nil, err
	}
	up, err := s.start(PartUp)
	if err != nil {
		return nil, nil, err
	}
	snap, err := settle(ctx, s, h, d, "uninterrupted")
	opts.say("uninterrupted run: %s", time.Since(up.began).Round(time.Second))
	return snap, at, errors.Join(err, up.kill())
}

func total[K comparable](rows map[K]int) (n int) {
	for _, count := range rows {
		n += count
	}
	return n
}
