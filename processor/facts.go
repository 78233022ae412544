package processor

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// followFacts keeps grants and identities current, and copies facts to ClickHouse. Partitions start only after all facts that
// were there are known, so that no scope is taken for unknown because of a restart.
func (p *Processor) followFacts(ctx context.Context) error {
	writer := factWriter{p: p}
	return daemon.Together(ctx, writer.run, func(ctx context.Context) error { return p.readFacts(ctx, &writer) })
}

func (p *Processor) readFacts(ctx context.Context, writer *factWriter) error {
	return p.deps.Stream.Follow(ctx, schemas.TopicIdentity, func() { close(p.ready) }, func(m stream.Message) error {
		if len(m.Value) == 0 {
			return nil // a tombstone of compaction
		}
		var fact pb.Fact
		if err := fact.UnmarshalVT(m.Value); err != nil {
			p.log.Warn("message is no fact; passed over", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset)
			p.metrics.rejected.Inc()
			return nil
		}
		if grant := fact.GetGrant(); grant != nil && p.grants.Put(grant) {
			p.log.Debug("grant changed", "grant", grant.Id, "rules", len(grant.Rules))
			if strings.HasPrefix(grant.Id, "vault/") {
				p.lookAtRoles()
			}
		}
		if link := fact.GetLink(); link != nil {
			if err := p.followLink(ctx, string(m.Key), link); err != nil {
				return err
			}
		}
		if beat := fact.GetHeartbeat(); beat != nil {
			p.metrics.heartbeat(beat)
			p.silence.Beat(beat)
		}
		return writer.add(ctx, &fact)
	})
}

// factWriter copies facts to ClickHouse. A crash before it loses nothing: the topic is read from its start.
type factWriter struct {
	p     *Processor
	mu    sync.Mutex // guards what follows
	batch record.Facts
	pause time.Duration // until the next flush
}

// Facts are written a few times a second; while writing takes long, less often, so that it takes a thirtieth of the time:
// few large INSERTs cost ClickHouse much less than many small ones.
const (
	factsEvery  = 250 * time.Millisecond
	factsAtMost = 50_000
	factsPause  = 5 * time.Second
)

// add queues a fact, and writes at once when enough wait: that is the back-pressure.
func (w *factWriter) add(ctx context.Context, fact *pb.Fact) error {
	w.mu.Lock()
	w.batch.Add(fact)
	full := w.batch.Len() >= factsAtMost
	w.mu.Unlock()
	if full {
		return w.flush(ctx)
	}
	return nil
}

func (w *factWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.batch.Len() == 0 {
		w.pause = 0
		return nil
	}
	began := time.Now()
	defer func() { w.pause = min(30*time.Since(began), factsPause) }()
	return w.p.persist(ctx, "write facts", func(ctx context.Context) error { return w.batch.Flush(ctx, w.p.deps.Store) })
}

func (w *factWriter) run(ctx context.Context) error {
	for {
		w.mu.Lock()
		timer := time.NewTimer(max(factsEvery, w.pause))
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			timer.Stop()
			// Tried once more: what is said of a link anew before the next start takes the place of this in the topic.
			_ = w.flush(ctx)
			return nil
		case <-timer.C:
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
}
