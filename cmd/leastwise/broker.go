package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/broker"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor"
)

type brokerCommand struct {
	configFlag
}

// Run issues until it is told to end. It runs beside `leastwise up`, whose Kafka it uses: it holds a token that issues.
func (c *brokerCommand) Run(ctx context.Context) error {
	cfg, env, err := c.load("broker", "")
	if err != nil {
		return err
	}
	if cfg.Broker.Listen == "" {
		return fmt.Errorf("%w: %s: broker.listen is missing; see docs/issue.md", daemon.ErrConfig, c.Config)
	}
	inForce, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	engines, err := allinone.Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	b, err := broker.New(cfg.Broker, broker.Deps{Env: env, Log: engines.Stream, Rules: inForce, DataDir: filepath.Join(cfg.DataDir, "broker")})
	if err != nil {
		return fmt.Errorf("%w: broker: %w", daemon.ErrConfig, err)
	}
	listen := env.Listen
	if cfg.Listen == "" {
		listen = "none" // `leastwise up` on this machine has the default one
	}
	return daemon.Run(ctx, env, listen, b.Run, inForce.Run)
}
