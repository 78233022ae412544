package collect

import (
	"context"
	"errors"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

// Runner is a collector.
type Runner interface {
	Run(ctx context.Context) error
}

// Serve is the life of a collector's process: it opens Kafka, builds the collector, waits for Kafka, and says so, makes the
// topics that are missing, and runs the collector until ctx ends.
func Serve(ctx context.Context, args daemon.Args, common daemon.Common, kafka stream.Config, build func(Deps) (Runner, error)) error {
	env, err := args.Env(common)
	if err != nil {
		return err
	}
	client, err := stream.Open(ctx, kafka, env.Log)
	if err != nil {
		return err
	}
	defer client.Close()
	collector, err := build(Deps{Stream: client, DataDir: common.DataDir, Env: env})
	if err != nil {
		return err
	}
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
