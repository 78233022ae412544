package processor

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Every processor reads all links into one graph. Each worker makes links of its partition's events and of the catalog,
// puts them into the graph at once, and publishes those that are news before it commits the offsets of the events that
// they rest on. A crash between the two makes them again, under the same keys.

// claim puts the catalog in force for the links, if it is another than before.
func (w *worker) claim(cat *catalog.Catalog) {
	if w.claimed && cat == w.catalog {
		return
	}
	w.linker.ClaimCatalog(cat, w.p.deps.Env.Now())
	w.catalog, w.claimed = cat, true
}

// holder is who an event's credential was known by until now.
func (w *worker) holder(ev *pb.Event) string {
	if ev.Credential == "" {
		return ""
	}
	if e := w.core.Entry(ev.Credential); e != nil {
		return e.Principal
	}
	return ""
}

// links are the messages that tell the other processors what is new.
func (w *worker) links() ([]stream.Message, error) {
	var messages []stream.Message
	for _, said := range w.linker.News() {
		m, err := linkMessage(said.Key, said.Link)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func linkMessage(key string, link *pb.Link) (stream.Message, error) {
	value, err := (&pb.Fact{Fact: &pb.Fact_Link{Link: link}}).MarshalVT()
	if err != nil {
		return stream.Message{}, fmt.Errorf("link %s of %s: %w", link.Id, link.From, err)
	}
	return stream.Message{Topic: schemas.TopicIdentity, Key: []byte(key), Value: value}, nil
}

// followLink takes a link that somebody told. What others must not lose of it, because this statement is older than what
// this processor has seen itself and did not tell, or because it took the place of an earlier one in the topic, is told
// again.
func (p *Processor) followLink(ctx context.Context, key string, link *pb.Link) error {
	p.graph.Put(link)
	select {
	case <-p.ready:
	default:
		return nil // the answer may stand further on in the topic
	}
	key, again := p.graph.Answer(key, link)
	if again == nil {
		return nil
	}
	m, err := linkMessage(key, again)
	if err != nil {
		return err
	}
	return p.deps.Stream.Publish(ctx, m)
}

// identitiesEvery is how often identities are written to ClickHouse at most, while they change.
const identitiesEvery = 2 * time.Second

// recordIdentities keeps the tables of identities and their findings up to the graph. It compares all of it, so it takes
// a thirtieth of the time at most. Every processor writes the same rows, which replace each other.
func (p *Processor) recordIdentities(ctx context.Context) error {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil
	}
	var ledger identity.Ledger
	standing, err := []string(nil), error(nil)
	err = p.persist(ctx, "read findings of identities", func(ctx context.Context) error {
		standing, err = record.StandingFindings(ctx, p.deps.Store)
		return err
	})
	if err != nil {
		return nilIfOver(ctx, err)
	}
	ledger.Stood(standing)
	told := uint64(0)
	pause := identitiesEvery
	for first := true; ; first = false {
		if revision := p.graph.Revision(); first || revision != told {
			told = revision
			began := time.Now()
			identities, findings := ledger.Changes(p.graph)
			p.metrics.identities(ledger.Totals())
			err := p.persist(ctx, "write identities", func(ctx context.Context) error {
				return record.Identities(ctx, p.deps.Store, identities, findings, p.deps.Env.Now())
			})
			if err != nil {
				return nilIfOver(ctx, err)
			}
			pause = max(identitiesEvery, 30*time.Since(began))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}
