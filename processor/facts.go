package processor

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// followFacts keeps grants and identities current, and copies facts to ClickHouse. Partitions start only after all facts that
// were there are known, so that no scope is taken for unknown because of a restart.
func (p *Processor) followFacts(ctx context.Context) error {
	var batch record.Facts
	flushed := p.deps.Env.Now()
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
		}
		if link := fact.GetLink(); link != nil {
			if err := p.followLink(ctx, link); err != nil {
				return err
			}
		}
		if beat := fact.GetHeartbeat(); beat != nil {
			p.metrics.heartbeat(beat)
			p.silence.Beat(beat)
		}
		batch.Add(&fact)
		now := p.deps.Env.Now()
		select {
		case <-p.ready: // live: facts are few, so each is written as it comes
		default:
			if batch.Len() < 10_000 && now.Sub(flushed) < time.Second {
				return nil
			}
		}
		flushed = now
		return p.persist(ctx, "write facts", func(ctx context.Context) error { return batch.Flush(ctx, p.deps.Store) })
	})
}
