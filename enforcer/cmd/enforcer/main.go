// Command enforcer runs the graded ladder of Leastwise: it takes decisions from
// Kafka and revokes and re-issues credentials at their issuers.
package main

import (
	"context"

	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("enforcer", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config   `yaml:"kafka"`
		Enforcer      enforcer.Config `yaml:"enforcer"`
		Channels      notify.Section  `yaml:"channels"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	env, err := args.Env(cfg.Common)
	if err != nil {
		return err
	}
	kafka, err := stream.Open(ctx, cfg.Kafka, env.Log)
	if err != nil {
		return err
	}
	defer kafka.Close()
	e, err := enforcer.New(cfg.Enforcer, enforcer.Deps{Stream: kafka, Env: env, Channels: cfg.Channels})
	if err != nil {
		return err
	}
	return daemon.Run(ctx, env, env.Listen, e.Run)
}
