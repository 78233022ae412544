// Command collector-gcpaudit reads Google Cloud audit logs and publishes what they tell to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-gcpaudit", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config   `yaml:"kafka"`
		Collector     gcpaudit.Config `yaml:"gcpaudit_collector"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	return collect.Serve(ctx, args, cfg.Common, cfg.Kafka, func(deps collect.Deps) (collect.Runner, error) {
		return gcpaudit.New(cfg.Collector, deps)
	})
}
