package processor

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
)

// RecorderGroup is the prefix of the consumer groups that copy what was decided and done to ClickHouse, one a topic.
const RecorderGroup = "leastwise-recorder"

// recordHistory copies decisions, the enforcement journal, exceptions, controls and dead letters to ClickHouse. All but
// dead letters also go into a hash chain, so that a row removed or changed shows.
func (p *Processor) recordHistory(ctx context.Context) error {
	var parts []func(context.Context) error
	for _, topic := range []string{schemas.TopicDecisions, schemas.TopicEnforcement, schemas.TopicExceptions,
		schemas.TopicControl, schemas.TopicDeadLetter} {
		parts = append(parts, func(ctx context.Context) error {
			return p.deps.Stream.Consume(ctx, RecorderGroup+"."+topic, topic, p.recordPartition)
		})
	}
	return daemon.Together(ctx, parts...)
}

// recordPartition copies one partition of one topic. The chain goes on where the table ends: rows at or before the
// newest offset are there already. The readable rows are keyed by offset, so writing one again replaces it.
func (p *Processor) recordPartition(ctx context.Context, a *stream.Assignment) error {
	var chain record.Chain
	err := p.persist(ctx, "read the audit chain", func(ctx context.Context) (err error) {
		chain, err = record.LoadChain(ctx, p.deps.Store, a.Topic, a.Partition)
		return err
	})
	if err != nil {
		return nilIfOver(ctx, err)
	}
	if a.Committed > chain.Next() && a.Topic != schemas.TopicDeadLetter {
		a.SeekTo(chain.Next()) // the table lacks what was committed: another database, or rows removed
	}
	for {
		messages, err := a.Fetch(ctx, 5000, time.Second)
		if err != nil {
			return nilIfOver(ctx, err)
		}
		if len(messages) == 0 {
			continue
		}
		history := record.History{Topic: a.Topic, Partition: uint32(a.Partition)}
		for _, m := range messages {
			if len(m.Value) == 0 {
				continue // a tombstone
			}
			if err := history.Add(m.Offset, m.Key, m.Value, m.Time); err != nil {
				p.metrics.rejected.Inc()
				p.log.Warn("record can not be read; kept in the audit log as it is", "topic", m.Topic, "partition", m.Partition,
					"offset", m.Offset, "error", err)
			}
		}
		err = p.persist(ctx, "write "+a.Topic, func(ctx context.Context) error {
			return history.Write(ctx, p.deps.Store, &chain, p.deps.Env.Now())
		})
		if err != nil {
			return nilIfOver(ctx, err)
		}
		p.metrics.recorded.WithLabelValues(a.Topic).Add(float64(len(messages)))
		if a.Topic == schemas.TopicExceptions {
			p.lookAtRoles()
		}
		if err := a.Commit(ctx, messages[len(messages)-1].Offset+1); err != nil {
			return nilIfOver(ctx, err)
		}
	}
}
