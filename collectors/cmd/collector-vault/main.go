// Command collector-vault reads one Vault audit device and publishes what it tells to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-vault", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config `yaml:"kafka"`
		Collector     vault.Config  `yaml:"vault_collector"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	return collect.Serve(ctx, args, cfg.Common, cfg.Kafka, func(deps collect.Deps) (collect.Runner, error) {
		return vault.New(cfg.Collector, deps)
	})
}
