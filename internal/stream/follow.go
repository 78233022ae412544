package stream

import (
	"context"
	"sync"
)

// Follow hands fn every message of every partition of topic, from the earliest
// on, and goes on until ctx ends (nil), fn returns an error (that error), or
// the topic is unusable. caughtUp, if not nil, is called once, when everything
// that was there at the start has been handed over.
//
// Messages of one partition come in order. fn and caughtUp are never called
// concurrently.
func (c *Client) Follow(ctx context.Context, topic string, caughtUp func(), fn func(Message) error) error {
	outer := ctx
	ctx, cancel := c.bind(ctx)
	defer cancel()
	n, err := c.waitPartitions(ctx, topic)
	if err != nil {
		if outer.Err() != nil {
			return nil
		}
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &follower{fn: fn, caughtUp: caughtUp, behind: n}
	var wg sync.WaitGroup
	for p := range n {
		wg.Go(func() {
			r := &partitionReader{c: c, topic: topic, partition: p, next: Earliest}
			defer r.close()
			stop(f.run(ctx, r)) // the first error is the one reported
		})
	}
	wg.Wait()
	if outer.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

type follower struct {
	mu       sync.Mutex // serialises fn and caughtUp
	fn       func(Message) error
	caughtUp func()
	behind   int // partitions that have not reached their end of the start
}

// run reads one partition until something ends it, and returns what did.
func (f *follower) run(ctx context.Context, r *partitionReader) error {
	end, err := r.end(ctx)
	if err != nil {
		return err
	}
	reached := false
	for {
		if !reached && r.next >= end {
			reached = true
			f.arrived()
		}
		ch, err := r.read(ctx)
		if err != nil {
			return err
		}
		if err := f.hand(ctx, ch.msgs); err != nil {
			return err
		}
	}
}

func (f *follower) hand(ctx context.Context, msgs []Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range msgs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f.fn(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) arrived() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind--
	if f.behind == 0 && f.caughtUp != nil {
		f.caughtUp()
	}
}
