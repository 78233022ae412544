package processor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/decode"
	"github.com/leastwise/leastwise/processor/dedup"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrTopicRecreated says that ClickHouse holds events past the end of the Kafka topic.
var ErrTopicRecreated = errors.New("the topic leastwise.events ends before the newest event in ClickHouse: it was made anew, or this is another cluster's; use an empty ClickHouse database, or restore the topic")

const fetchBatch = 10_000

// worker owns one partition for one generation of the consumer group.
type worker struct {
	p          *Processor
	a          *stream.Assignment
	core       *core.Core
	linker     *identity.Linker
	catalog    *catalog.Catalog // that the linker has claimed by, once claimed
	claimed    bool
	seen       *dedup.Memory
	events     decode.Events
	batch      []incoming // reused
	rows       record.Events
	newest     int64 // offset of the newest event row in the table
	next       int64 // offset to read after what was applied
	committed  int64
	lastFlush  time.Time
	lastCommit time.Time
	// How long the last writes took.
	flushTook, stateTook time.Duration
}

// partition is the life of a worker. Recovery is the ordinary path: load state and newest row, read from the committed
// offset, apply to each credential only what lies past its own offset, write only rows past the newest.
//
// The order of a checkpoint is what makes a crash at any line harmless:
//
//	event rows        a crash before: read again. After: their offsets are known, they are not written twice.
//	derived, decided  published before the state that says they were; a crash between publishes derived events again,
//	                  harmlessly. What was decided is read back from its topic: history may have gone on when it is read
//	                  again, and what would not be decided any more still has to be taken back.
//	state rows        each with its own offset; a part of them written is as good as none or all.
//	commit            a crash before: the span is read again and recognised.
func (p *Processor) partition(ctx context.Context, a *stream.Assignment) error {
	w := &worker{p: p, a: a, linker: identity.NewLinker(p.graph, identity.Options{Clusters: p.cfg.Clusters})}
	return nilIfOver(ctx, w.run(ctx))
}

func (w *worker) run(ctx context.Context) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	for {
		w.core.Rules(w.p.deps.Rules())
		agents := w.p.deps.Catalog()
		w.claim(agents) // before the core, or its owners would contradict the old links
		w.core.Catalog(agents)
		w.core.Silence(w.p.silence.Silent(w.p.deps.Env.Now()))
		messages, err := w.a.Fetch(ctx, fetchBatch, w.patience())
		if err != nil {
			return err
		}
		if err := w.apply(ctx, messages); err != nil {
			return err
		}
		now := w.p.deps.Env.Now()
		if err := w.core.Settle(ctx, now.UnixNano()); err != nil {
			return err
		}
		if err := w.publish(ctx); err != nil {
			return err
		}
		if err := w.write(ctx, now, len(messages) == 0); err != nil {
			return err
		}
		w.p.metrics.lagOf(w.a.Partition).Set(float64(max(0, w.a.HighWater()-w.next)))
	}
}

// load brings back the partition as the last owner left it.
func (w *worker) load(ctx context.Context) error {
	began := time.Now()
	partition := w.a.Partition
	var horizon int64
	err := w.p.persist(ctx, "load state", func(ctx context.Context) error {
		w.core = core.New(core.Options{Grants: w.p.grants, Identities: w.p.graph, Heartbeat: w.p.cfg.Heartbeat, Tick: w.p.cfg.Tick, Observation: w.p.cfg.Observation,
			OnDecision: w.p.metrics.decision})
		w.seen = dedup.NewMemory(w.p.cfg.RememberedIDs)
		var err error
		if w.newest, err = record.NewestOffset(ctx, w.p.deps.Store, partition); err != nil {
			return err
		}
		if err = record.LoadCredentials(ctx, w.p.deps.Store, partition, func(cred *lifecycle.Credential) {
			w.core.Load(cred)
			w.linker.Meet(cred.Principal)
		}); err != nil {
			return err
		}
		horizon, err = record.RecentIDs(ctx, w.p.deps.Store, partition, w.p.cfg.RememberedIDs*3/4, w.seen.Remember)
		return err
	})
	if err != nil {
		return err
	}
	w.seen.Forgotten(horizon)
	w.seen.Written(w.newest)
	if err := w.recallDecisions(ctx); err != nil {
		return err
	}
	_, err = w.p.deps.Stream.ReadPartition(ctx, schemas.TopicEvents, partition, w.newest+1, func(stream.Message) error { return errStop })
	if err != nil && !errors.Is(err, errStop) {
		if errors.Is(err, stream.ErrPastEnd) {
			return fmt.Errorf("partition %d, newest row %d: %w", partition, w.newest, ErrTopicRecreated)
		}
		return fmt.Errorf("partition %d: %w", partition, err)
	}
	w.next, w.committed = max(0, w.a.Committed), w.a.Committed
	if w.newest < 0 && w.a.Committed > 0 {
		w.p.log.Warn("the consumer group has read events that ClickHouse does not hold; reading the topic from its start",
			"partition", partition, "committed", w.a.Committed)
		w.next = 0
		w.a.SeekTo(stream.Earliest)
	}
	w.lastFlush, w.lastCommit = w.p.deps.Env.Now(), w.p.deps.Env.Now()
	w.p.log.Info("partition taken over", "partition", partition, "credentials", w.core.Len(), "remembered_ids", w.seen.Len(),
		"newest_row", w.newest, "committed", w.a.Committed, "took", time.Since(began).String())
	return nil
}

// recallDecisions reads what was last said of each credential: keyed state, in a compacted topic.
func (w *worker) recallDecisions(ctx context.Context) error {
	_, err := w.p.deps.Stream.ReadPartition(ctx, schemas.TopicDecisions, w.a.Partition, stream.Earliest, func(m stream.Message) error {
		if len(m.Value) == 0 {
			return nil // a tombstone
		}
		var d pb.Decision
		if err := d.UnmarshalVT(m.Value); err != nil || d.Credential != string(m.Key) || d.DecidedAt == nil {
			w.p.metrics.rejected.Inc()
			w.p.log.Warn("message is no decision; passed over", "partition", m.Partition, "offset", m.Offset)
			return nil
		}
		w.core.Published(&d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("partition %d: recall decisions: %w", w.a.Partition, err)
	}
	return nil
}

var errStop = errors.New("stop")

// patience is how long a fetch may wait before a deadline or a flush wants attention.
func (w *worker) patience() time.Duration {
	wait := 200 * time.Millisecond
	if next := w.core.Next(); next != 0 {
		wait = min(wait, max(time.Millisecond, time.Duration(next-w.p.deps.Env.Now().UnixNano())))
	}
	return wait
}

type incoming struct {
	ev     *pb.Event
	id     dedup.ID
	at     int64
	offset int64
	answer dedup.Answer
}

// apply reads the events of messages and applies them. The events are done with when it returns; the rows keep pieces of
// the messages until they are written, and nothing else does.
func (w *worker) apply(ctx context.Context, messages []stream.Message) error {
	w.events.Reset()
	batch := w.batch[:0]
	var ask []int
	for _, m := range messages {
		w.next = m.Offset + 1
		ev, err := w.events.Read(m.Value)
		if err != nil || len(ev.Id) != 16 {
			if err := w.reject(ctx, m, err); err != nil {
				return err
			}
			continue
		}
		in := incoming{ev: ev, id: dedup.ID(ev.Id), offset: m.Offset}
		if ev.OccurredAt != nil {
			in.at = ev.OccurredAt.Seconds*1e9 + int64(ev.OccurredAt.Nanos)
		}
		if in.answer = w.seen.Seen(in.id, in.at, in.offset); in.answer == dedup.Ask {
			ask = append(ask, len(batch))
		}
		batch = append(batch, in)
	}
	w.batch = batch
	if len(ask) > 0 {
		if err := w.askStore(ctx, batch, ask); err != nil {
			return err
		}
	}
	for i := range batch {
		in := &batch[i]
		counted := in.answer == dedup.New
		w.linker.Event(in.ev, w.holder(in.ev))
		w.core.Apply(in.ev, in.offset, counted)
		if counted {
			if in.offset > w.newest {
				w.rows.Append(in.ev, in.offset)
			}
			w.p.metrics.eventsBy(in.ev.Kind).Inc()
		} else {
			w.p.metrics.duplicates.Inc()
		}
	}
	return nil
}

// askStore settles the ids that are older than what memory holds. Rows that wait to be written are not in the store
// yet, but their ids are in memory.
func (w *worker) askStore(ctx context.Context, batch []incoming, ask []int) error {
	credentials := make([]string, 0, len(ask))
	ids := make([][]byte, 0, len(ask))
	for _, i := range ask {
		credentials = append(credentials, batch[i].ev.Credential)
		ids = append(ids, batch[i].ev.Id)
	}
	var found map[dedup.ID]int64
	err := w.p.persist(ctx, "look up old event ids", func(ctx context.Context) (err error) {
		found, err = record.FirstOffsets(ctx, w.p.deps.Store, w.a.Partition, credentials, ids)
		return err
	})
	if err != nil {
		return err
	}
	w.p.metrics.lookups.Add(float64(len(ask)))
	for _, i := range ask {
		in := &batch[i]
		first, ok := found[in.id]
		in.answer = w.seen.Resolve(in.id, in.at, in.offset, first, ok)
	}
	return nil
}

// reject puts a message that is no event into the dead-letter topic.
func (w *worker) reject(ctx context.Context, m stream.Message, cause error) error {
	detail := "the value is no Event message"
	if cause == nil {
		detail = "the event has no 16-byte id"
	}
	w.p.metrics.rejected.Inc()
	w.p.log.Warn("message is no event; dead-lettered", "partition", m.Partition, "offset", m.Offset, "detail", detail)
	return w.p.deps.Stream.Publish(ctx, deadLetter(m, detail))
}

// publish sends what follows from the events. Doing it again after a crash is harmless.
func (w *worker) publish(ctx context.Context) error {
	var messages []stream.Message
	for _, ev := range w.core.Derived() {
		m, err := eventMessage(ev)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	for _, d := range w.core.Decisions() {
		value, err := d.MarshalVT()
		if err != nil {
			return fmt.Errorf("decision on %s: %w", d.Credential, err)
		}
		messages = append(messages, stream.Message{Topic: schemas.TopicDecisions, Key: []byte(d.Credential), Value: value})
		w.p.metrics.decisions(len(d.Violations) > 0).Inc()
	}
	links, err := w.links()
	if err != nil {
		return err
	}
	if messages = append(messages, links...); len(messages) == 0 {
		return nil
	}
	return w.p.deps.Stream.Publish(ctx, messages...)
}

// write flushes rows when it is time, and makes a checkpoint when it is time for that. idle says that there is nothing to
// read: then what waits is not kept waiting for more.
func (w *worker) write(ctx context.Context, now time.Time, idle bool) error {
	// Writes that take long come less often, so that they take a thirtieth of the time. Who is behind writes yet more at
	// once: a row costs a third less in an INSERT of 50,000 than in one of 10,000.
	flush := min(max(w.p.cfg.Flush, 30*w.flushTook), 5*w.p.cfg.Flush)
	switch {
	case idle:
		flush = w.p.cfg.Flush
	case w.a.HighWater()-w.next > int64(w.p.cfg.BatchRows):
		flush = 10 * w.p.cfg.Flush
	}
	every := min(max(w.p.cfg.Checkpoint, 30*w.stateTook), 6*w.p.cfg.Checkpoint)
	checkpoint := now.Sub(w.lastCommit) >= every
	if !checkpoint && now.Sub(w.lastFlush) < flush && w.rows.Len() < w.p.cfg.BatchRows {
		return nil
	}
	began := time.Now()
	if err := w.flushRows(ctx, now); err != nil {
		return err
	}
	w.lastFlush, w.flushTook = now, time.Since(began)
	if !checkpoint {
		return nil
	}
	began = time.Now()
	dirty := w.core.Dirty()
	for begin := 0; begin < len(dirty); begin += stateBatch {
		part := dirty[begin:min(begin+stateBatch, len(dirty))]
		err := w.p.persist(ctx, "write credentials", func(ctx context.Context) error {
			return record.Credentials(ctx, w.p.deps.Store, uint32(w.a.Partition), part, now.UnixNano())
		})
		if err != nil {
			return err
		}
	}
	w.p.metrics.credentialsOf(w.a.Partition).Set(float64(w.core.Len()))
	w.lastCommit, w.stateTook = now, time.Since(began)
	w.core.Pack(now.UnixNano())
	if w.next == w.committed {
		return nil
	}
	if err := w.a.Commit(ctx, w.next); err != nil {
		return err
	}
	w.committed = w.next
	return nil
}

const stateBatch = 20_000

// flushRows writes the waiting event rows as one INSERT. An INSERT that failed may have been carried out all the same,
// so the newest row is asked for before it is tried again.
func (w *worker) flushRows(ctx context.Context, now time.Time) error {
	failed := false
	err := w.p.persist(ctx, "write events", func(ctx context.Context) error {
		if failed {
			newest, err := record.NewestOffset(ctx, w.p.deps.Store, w.a.Partition)
			if err != nil {
				return err
			}
			w.rows.Drop(newest)
		}
		failed = true
		return w.rows.Insert(ctx, w.p.deps.Store, uint32(w.a.Partition), now)
	})
	if err != nil {
		return err
	}
	if n := w.rows.Len(); n > 0 {
		w.newest = max(w.newest, w.rows.Last())
	}
	w.rows.Reset()
	w.seen.Written(w.newest)
	return nil
}

// nilIfOver forgives errors of a partition that goes to its next owner, who reads from the last commit.
func nilIfOver(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, stream.ErrGenerationOver) {
		return nil
	}
	return err
}
