// Command collector-jwtregistry reads one registry of issued tokens and publishes what it tells to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-jwtregistry", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common        `yaml:",inline"`
		Kafka                stream.Config      `yaml:"kafka"`
		JwtregistryCollector jwtregistry.Config `yaml:"jwtregistry_collector"`
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
	collector, err := jwtregistry.New(cfg.JwtregistryCollector, collect.Deps{Stream: client, DataDir: cfg.DataDir, Env: env})
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
