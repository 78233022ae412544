package collect

import (
	"context"
	"errors"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

// Serve is the life of a collector's process: it waits for Kafka, and says so, makes the topics that are missing, and runs
// the collector until ctx ends.
func Serve(ctx context.Context, env daemon.Env, client *stream.Client, collector interface{ Run(context.Context) error }) error {
	return daemon.Run(ctx, env, env.Listen, func(ctx context.Context) error {
		env.Health.Set("kafka", errors.New("not reached yet"))
		if err := client.EnsureTopics(ctx, Topics()); err != nil {
			env.Health.Set("kafka", err)
			return err
		}
		env.Health.Set("kafka", nil)
		return collector.Run(ctx)
	})
}
