package processor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/processor/reach"
	"github.com/leastwise/leastwise/processor/record"
)

// What a leak of each live credential would lead to stands in the table reach. It is worked out anew when grants, roles,
// the catalog or what was seen change, and then for all starts, since any of them may lead further now; rows are written
// for those whose answer changed. Every processor writes the same rows, which replace each other.

const (
	// reachSlice is how long starts are answered at a time; what is left waits for the next.
	reachSlice = 10 * time.Second
	// reachIdle is how many times as long it waits at most while nothing is news.
	reachIdle = 24
	// usedEvery is how often the events are asked who used a sensitive thing.
	usedEvery = time.Hour
	// reachKept is after how long an answer that has not changed is written again, so that the table does not forget it.
	reachKept = 30 * 24 * time.Hour
)

// reacher keeps the table reach up to what is known.
type reacher struct {
	p       *Processor
	known   map[uint64]record.ReachedBefore // what the table tells, by start; nil: not read yet
	used    map[string]map[string]string
	usedAt  time.Time
	usedFor string // of which sensitive things

	told     [sha256.Size]byte // what the answers rest on
	paths    *reach.Map
	answered map[uint64]bool      // by what is told
	last     map[uint64]time.Time // when each start was answered last
}

// watchReach takes a thirtieth of the time at most, and looks less and less often while nothing is news.
func (p *Processor) watchReach(ctx context.Context) error {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil
	}
	r := reacher{p: p, last: map[uint64]time.Time{}}
	pause := time.Duration(0)
	for {
		began := time.Now()
		news, err := r.round(ctx)
		if err != nil {
			return nilIfOver(ctx, err)
		}
		if pause = min(2*pause, p.reachEvery*reachIdle); news || pause == 0 {
			pause = p.reachEvery
		}
		timer := time.NewTimer(max(pause, p.reachRest*time.Since(began)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// round answers for what is not answered yet, for as long as a slice. A crash at any line leaves rows that are true as of
// when they were written, and the next round goes on from them. It reports whether there was news, or more waits.
func (r *reacher) round(ctx context.Context) (more bool, err error) {
	now := r.p.deps.Env.Now()
	var starts []record.ReachStart
	var beyond bool
	err = r.p.persist(ctx, "read what leaks lead through", func(ctx context.Context) (err error) {
		if r.known == nil {
			if r.known, err = record.ReachedStarts(ctx, r.p.deps.Store); err != nil {
				return err
			}
		}
		if starts, beyond, err = record.ReachStarts(ctx, r.p.deps.Store); err != nil {
			return err
		}
		return r.look(ctx, now)
	})
	if err != nil {
		return false, err
	}
	news, waiting := r.answer(ctx, starts, now)
	if beyond {
		waiting++ // at least one is not looked at
	}
	run := record.ReachRun{At: now, Starts: len(starts), Waiting: waiting, Principals: r.paths.Principals(), Sensitive: len(r.paths.Sensitive)}
	err = r.p.persist(ctx, "tell what leaks lead to", func(ctx context.Context) error {
		if err := record.InsertReached(ctx, r.p.deps.Store, news, now); err != nil {
			return err
		}
		return record.InsertReachRun(ctx, r.p.deps.Store, run)
	})
	if err != nil {
		return false, err
	}
	for i := range news {
		r.known[news[i].ID] = record.ReachedBefore{Hash: news[i].Hash(), Since: news[i].Since, WrittenAt: now}
	}
	return len(news)+waiting > 0, nil
}

// answer gives what is to be written, and how many starts wait for the next round.
func (r *reacher) answer(ctx context.Context, starts []record.ReachStart, now time.Time) (news []record.Reached, waiting int) {
	// Whoever was answered least recently comes first, so that none waits for ever where much changes.
	slices.SortStableFunc(starts, func(a, b record.ReachStart) int { return r.last[a.ID].Compare(r.last[b.ID]) })
	until := time.Now().Add(reachSlice)
	last := make(map[uint64]time.Time, len(starts))
	for _, s := range starts {
		before, told := r.known[s.ID]
		stale := !told || now.Sub(before.WrittenAt) > reachKept
		if !r.answered[s.ID] || stale {
			if time.Now().After(until) || ctx.Err() != nil {
				waiting++
				last[s.ID] = r.last[s.ID]
				continue
			}
			answer := record.Reached{ReachStart: s, Answer: r.paths.From(s.Start), Since: now}
			same := told && before.Hash == answer.Hash()
			if same {
				answer.Since = before.Since
			}
			if !same || stale {
				news = append(news, answer)
			}
			r.answered[s.ID], r.last[s.ID] = true, now
		}
		last[s.ID] = r.last[s.ID]
	}
	r.last = last // of live credentials alone
	return news, waiting
}

// look reads what paths lead through, and forgets who was answered if it is another than before.
func (r *reacher) look(ctx context.Context, now time.Time) error {
	db, sensitive := r.p.deps.Store, record.SensitiveOf(r.p.deps.Catalog())
	revision := r.p.grants.Revision() // before the map is made: what changes meanwhile is a change for the next round
	around, err := record.ReachAround(ctx, db, sensitive)
	if err != nil {
		return err
	}
	if things := fmt.Sprintf("%q", sensitive); things != r.usedFor || now.Sub(r.usedAt) >= usedEvery {
		if r.used, err = record.UsersOf(ctx, db, sensitive, now); err != nil {
			return err
		}
		r.usedAt, r.usedFor = now, things
	}
	around.Used = r.used
	told := sha256.Sum256([]byte(fmt.Sprint(revision, "\n", around.Told())))
	if told == r.told {
		return nil
	}
	r.told, r.paths, r.answered = told, around.Map(r.p.grants), map[uint64]bool{}
	return nil
}
