// Command collector-agentusage takes what agents log of themselves, from a file or over OTLP, and publishes it to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-agentusage", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common       `yaml:",inline"`
		Kafka               stream.Config     `yaml:"kafka"`
		AgentusageCollector agentusage.Config `yaml:"agentusage_collector"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	env, err := args.Env(cfg.Common)
	if err != nil {
		return err
	}
	client, err := stream.Open(ctx, cfg.Kafka, env.Log)
	if err != nil {
		return err
	}
	defer client.Close()
	collector, err := agentusage.New(cfg.AgentusageCollector, collect.Deps{Stream: client, DataDir: cfg.DataDir, Env: env})
	if err != nil {
		return err
	}
	return daemon.Run(ctx, env, env.Listen, func(ctx context.Context) error {
		if err := client.EnsureTopics(ctx, collect.Topics()); err != nil {
			return err
		}
		return collector.Run(ctx)
	})
}
