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
	CheckConfig bool `help:"Read the configuration, say what is wrong with it, and end."`
	Probe       bool `help:"Ask the running broker's /readyz, print what fails, and end with 0 if it is ready (for container health checks)."`
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
	switch {
	case c.CheckConfig:
		fmt.Printf("%s: configuration ok\n", c.Config)
		return nil
	case c.Probe:
		return daemon.Probe(ctx, "http", env.Listen)
	}
	inForce, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	// Kafka alone: who holds a token that issues needs no key to the database.
	log, err := allinone.AttachKafka(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer log.Close()
	b, err := broker.New(cfg.Broker, broker.Deps{Env: env, Log: log, Rules: inForce, DataDir: filepath.Join(cfg.DataDir, "broker")})
	if err != nil {
		return fmt.Errorf("%w: broker: %w", daemon.ErrConfig, err)
	}
	listen := env.Listen
	if cfg.Listen == "" {
		listen = "none" // `leastwise up` on this machine has the default one
	}
	return daemon.Run(ctx, env, listen, b.Run, inForce.Run)
}
