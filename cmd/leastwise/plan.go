package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/internal/daemon"
)

type planCommand struct {
	configFlag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run reads journal, decisions and settings, and asks the targets by look-ups alone.
func (c *planCommand) Run(ctx context.Context) error {
	return c.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		_, env, err := c.load("leastwise", "error")
		if err != nil {
			return err
		}
		history := &allinone.History{Store: engines.Store, Observation: cfg.Processor.Observation, Now: time.Now, Log: env.Log}
		e, err := enforcer.New(cfg.Enforcer, enforcer.Deps{Env: env, Stream: engines.Stream, Channels: cfg.Channels,
			AWS: history.AWS(), SPIREIssued: history.SPIREIssued})
		if err != nil {
			return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
		}
		plan, err := e.Plan(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			out := json.NewEncoder(os.Stdout)
			out.SetIndent("", "  ")
			return out.Encode(plan)
		}
		return plan.Write(os.Stdout)
	})
}
