package processor

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
)

// migrator runs migrations; internal/store's DB does.
type migrator interface {
	Migrate(ctx context.Context, migrations fs.FS) error
}

// Prepare makes what the processor needs: Kafka's topics and ClickHouse's tables. It waits for both to be there, tells
// health meanwhile which one it waits for, and fails if what exists does not fit, such as co-partitioned topics of unequal
// partition counts. Health must be served while it waits, so it belongs beside that, not before.
func (p *Processor) Prepare(ctx context.Context, db migrator, migrations fs.FS) error {
	watched, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { _ = p.watchHealth(watched) })
	defer watch.Wait()
	defer cancel()
	if err := EnsureTopics(ctx, p.deps.Stream); err != nil {
		return err
	}
	return p.persist(ctx, "migrate", func(ctx context.Context) error { return db.Migrate(ctx, migrations) })
}

// EnsureTopics makes the topics that are missing, and fails if the co-partitioned ones have unequal partition counts:
// then no instance would own a credential end to end.
func EnsureTopics(ctx context.Context, client *stream.Client) error {
	var single, together []stream.Topic
	for _, topic := range schemas.Topics() {
		t := stream.Topic{Name: topic.Name, Settings: topic.Settings}
		if topic.CoPartitioned {
			together = append(together, t)
			continue
		}
		t.Partitions = 1
		single = append(single, t)
	}
	if err := client.EnsureTopics(ctx, append(single, together[0])); err != nil {
		return fmt.Errorf("make topics: %w", err)
	}
	n, err := client.Partitions(ctx, together[0].Name)
	if err != nil {
		return fmt.Errorf("make topics: %w", err)
	}
	for i := range together {
		together[i].Partitions = n
	}
	if err := client.EnsureTopics(ctx, together[1:]); err != nil {
		return fmt.Errorf("make topics: %w", err)
	}
	return nil
}
