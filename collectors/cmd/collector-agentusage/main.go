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
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config     `yaml:"kafka"`
		Collector     agentusage.Config `yaml:"agentusage_collector"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	return collect.Serve(ctx, args, cfg.Common, cfg.Kafka, func(deps collect.Deps) (collect.Runner, error) {
		return agentusage.New(cfg.Collector, deps)
	})
}
