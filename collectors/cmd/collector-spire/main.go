// Command collector-spire reads the log of one SPIRE server and publishes what it tells to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-spire", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common  `yaml:",inline"`
		Kafka          stream.Config `yaml:"kafka"`
		SpireCollector spire.Config  `yaml:"spire_collector"`
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
	collector, err := spire.New(cfg.SpireCollector, collect.Deps{Stream: client, DataDir: cfg.DataDir, Env: env})
	if err != nil {
		return err
	}
	return collect.Serve(ctx, env, client, collector)
}
