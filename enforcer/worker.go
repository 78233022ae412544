package enforcer

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	fetchMax = 500
	// fetchWait is how soon a change of a setting, or a due ladder, is noticed.
	fetchWait = 200 * time.Millisecond
	// stepsAtOnce bounds how far one ladder goes before the others have their
	// turn; it is more than the longest way.
	stepsAtOnce = 40
)

// partition runs the ladders of one partition, in one goroutine.
type partition struct {
	e       *Enforcer
	ladders map[string]*running
	due     wakes
	changes uint64 // e.changes when all ladders were last woken
	denials uint64 // e.denials when watched ladders were last woken
	refused []refused
}

// running is a ladder in memory: the journal's newest entry and what is known
// besides, all of which a restart may lose.
type running struct {
	s       *pb.LadderState
	d       *pb.Decision // newest; nil: none since the start
	without *pb.Decision // the one last acted on: d or the journal's, without what exceptions take away
	wake    time.Time    // zero: only when something changes
	index   int          // in the heap; -1: not in it
	reports int          // tries to tell the outcome; negative: told
	report  time.Time    // when the next may be made
	event   ssf.Event    // what those who accept the credential are told
	sent    bool         // all of them know
	sends   int          // times they were told in vain
	send    time.Time    // when they are told again
	quiet   time.Time    // until when messages wait that the ladder does not wait for
}

func newPartition(e *Enforcer) *partition {
	return &partition{e: e, ladders: map[string]*running{}}
}

// serve is one assignment of a partition: resume from the journal, then take
// decisions and let ladders go on until the partition is taken away.
func (e *Enforcer) serve(ctx context.Context, a *stream.Assignment) error {
	select {
	case <-e.ready:
	case <-ctx.Done():
		return nil
	}
	p := newPartition(e)
	defer p.leave()
	_, err := e.stream.ReadPartition(ctx, schemas.TopicEnforcement, a.Partition, stream.Earliest, func(m stream.Message) error {
		s, err := decodeEntry(m)
		if err != nil {
			e.metrics.invalid.WithLabelValues(schemas.TopicEnforcement).Inc()
			e.log.Error("enforcer: journal entry can not be read", "partition", m.Partition, "offset", m.Offset, "error", err)
			return nil
		}
		p.resume(s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("enforcer: read the journal: %w", err)
	}
	e.env.Health.Set("kafka", nil)
	for ctx.Err() == nil {
		msgs, err := a.Fetch(ctx, fetchMax, p.pause())
		if err != nil {
			return err
		}
		for _, m := range msgs {
			p.take(m)
		}
		// Every decision is in the journal, or needs no entry, before its
		// offset is committed.
		if err := p.tick(ctx); err != nil {
			return err
		}
		if n := len(msgs); n > 0 {
			if err := a.Commit(ctx, msgs[n-1].Offset+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume takes one journal entry; the newest step of a credential wins.
func (p *partition) resume(s *pb.LadderState) {
	r := p.ladders[s.Credential]
	if r == nil {
		r = &running{index: -1}
		p.ladders[s.Credential] = r
	}
	if r.s == nil || s.Step >= r.s.Step {
		p.set(r, s)
		p.wake(r, p.e.now())
	}
}

// take notes a decision and wakes its ladder.
func (p *partition) take(m stream.Message) {
	d := &pb.Decision{}
	if err := d.UnmarshalVT(m.Value); err != nil || d.Credential != string(m.Key) || d.Credential == "" {
		p.e.metrics.invalid.WithLabelValues(schemas.TopicDecisions).Inc()
		p.e.log.Error("enforcer: decision can not be read", "partition", m.Partition, "offset", m.Offset, "error", err)
		return
	}
	p.decide(d)
}

func (p *partition) decide(d *pb.Decision) {
	now := p.e.now()
	p.e.metrics.decisionAge.Observe(max(0, now.Sub(instant(d.DecidedAt)).Seconds()))
	p.denied(d)
	r := p.ladders[d.Credential]
	switch {
	case r == nil && len(d.Violations) == 0:
		return // no ladder, and no reason for one
	case r == nil:
		r = &running{index: -1}
		p.ladders[d.Credential] = r
	case instant(d.DecidedAt).Before(instant(r.d.GetDecidedAt())):
		return // a stale owner of the partition said it late
	}
	r.d = d
	p.wake(r, now)
}

// tick lets every ladder go on whose time has come, or all if a setting or an
// exception changed.
func (p *partition) tick(ctx context.Context) error {
	if err := p.note(ctx); err != nil {
		return err
	}
	if n := p.e.changes.Load(); n != p.changes {
		p.changes = n
		for _, r := range p.ladders {
			p.wake(r, p.e.now())
		}
	}
	// What wakes again at once has its turn in the next tick.
	started := p.e.now()
	var turn []*running
	for len(p.due) > 0 && !p.due[0].wake.After(started) {
		turn = append(turn, heap.Pop(&p.due).(*running))
	}
	for i, r := range turn {
		if err := p.advance(ctx, r); err != nil {
			for _, left := range turn[i:] {
				p.wake(left, started)
			}
			return err
		}
	}
	return nil
}

// advance takes one ladder as far as it can go now.
func (p *partition) advance(ctx context.Context, r *running) error {
	var out *Outcome
	for range stepsAtOnce {
		now := p.e.now()
		in := p.inputs(ctx, now, r, out)
		step := p.e.ladder.Next(now, r.s, in)
		for _, refusal := range step.Refused {
			p.e.metrics.refusals.WithLabelValues(string(refusal.Guard)).Inc()
		}
		if step.Act == Revoke && !p.e.reserve(now, step.Entry, &in.Facts) {
			continue // another partition took the place: the budget guard will say so
		}
		if step.Entry != nil {
			step.Entry.Writer = p.e.cfg.Writer
			if err := p.e.append(ctx, step.Entry); err != nil {
				return err
			}
			p.set(r, step.Entry)
			p.say(step.Entry)
		}
		idle := step.Entry == nil && step.Act == Nothing
		if idle && (out == nil || step.Wake.IsZero() || step.Wake.After(now)) {
			p.wake(r, step.Wake)
			return nil
		}
		out = nil
		if step.Act != Nothing {
			out = p.e.do(ctx, step, r)
			if ctx.Err() != nil {
				// The act may have been done: what the journal intends is asked
				// for again by whoever owns the partition next.
				return context.Cause(ctx)
			}
			p.transmitInstead(ctx, now, in, r, out)
		}
	}
	p.wake(r, p.e.now())
	return nil
}

// say logs an entry: ids and states, no text from outside but cleaned.
func (p *partition) say(s *pb.LadderState) {
	p.e.log.Info("enforcer: ladder", "credential", s.Credential, "ladder", s.LadderId, "step", s.Step,
		"state", s.State.String(), "waiting", s.Waiting, "reason", s.Reason)
}

// pause is how long the worker may wait for decisions.
func (p *partition) pause() time.Duration {
	if len(p.due) == 0 {
		return fetchWait
	}
	return min(fetchWait, max(time.Millisecond, p.due[0].wake.Sub(p.e.now())))
}

// set replaces a ladder's entry and keeps the gauge of states.
func (p *partition) set(r *running, s *pb.LadderState) {
	if r.s != nil {
		p.e.metrics.ladders.WithLabelValues(r.s.State.String()).Dec()
		if r.s.LadderId != s.LadderId || answered(s.Restoration) != answered(r.s.Restoration) {
			r.reports, r.report, r.quiet = 0, time.Time{}, time.Time{}
		}
		if r.s.LadderId != s.LadderId {
			r.sent, r.sends, r.send = false, 0, time.Time{}
		}
	}
	if ended(s) {
		s.Decision = nil // a million credentials that were well again need no decision
	}
	p.e.metrics.ladders.WithLabelValues(s.State.String()).Inc()
	r.s = s
}

// leave takes the partition's ladders out of the gauge.
func (p *partition) leave() {
	for _, r := range p.ladders {
		if r.s != nil {
			p.e.metrics.ladders.WithLabelValues(r.s.State.String()).Dec()
		}
	}
}

func (p *partition) wake(r *running, at time.Time) {
	switch r.wake = at; {
	case at.IsZero() && r.index >= 0:
		heap.Remove(&p.due, r.index)
	case at.IsZero():
	case r.index >= 0:
		heap.Fix(&p.due, r.index)
	default:
		heap.Push(&p.due, r)
	}
}

// wakes is a heap of ladders by the time they want to go on.
type wakes []*running

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].wake.Before(w[j].wake) }
func (w wakes) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push is container/heap's.
func (w *wakes) Push(x any) {
	r := x.(*running)
	r.index = len(*w)
	*w = append(*w, r)
}

// Pop is container/heap's.
func (w *wakes) Pop() any {
	old := *w
	r := old[len(old)-1]
	r.index = -1
	*w = old[:len(old)-1]
	return r
}
