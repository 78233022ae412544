package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/leastwise/leastwise/cmd/leastwise/crash"
)

type crashCommand struct {
	Run  crashRun  `cmd:"" default:"withargs" help:"Kill every component at random moments, then compare with an uninterrupted run."`
	Part crashPart `cmd:"" hidden:"" help:"Run one part of the product, to be killed."`
}

type crashRun struct {
	Seed    uint64 `help:"Repeat the run of this seed (default: a new one)."`
	Kills   int    `help:"How often something is killed." default:"50"`
	Dir     string `help:"Where the run keeps its files (default: a temporary directory, removed if all is well)." placeholder:"DIR"`
	Verbose bool   `short:"v" help:"Print a line a kill."`
}

func (c *crashRun) Run(ctx context.Context) error {
	if c.Kills < 2 {
		return fmt.Errorf("%w: --kills: at least 2, one of the all-in-one process and one of a component", errUsage)
	}
	if c.Seed == 0 {
		c.Seed = 1 + rand.Uint64N(1_000_000)
	}
	dir := c.Dir
	if dir == "" {
		made, err := os.MkdirTemp("", "leastwise-crash-")
		if err != nil {
			return fmt.Errorf("make a scratch directory: %w", err)
		}
		dir = made
	}
	ok, err := crash.Run(ctx, crash.Options{Dir: dir, Seed: c.Seed, Kills: c.Kills, Out: os.Stdout, Verbose: c.Verbose})
	if err != nil {
		return fmt.Errorf("%w (seed %d, files in %s)", err, c.Seed, dir)
	}
	if !ok {
		return exit(exitFailed)
	}
	if c.Dir == "" {
		return os.RemoveAll(dir)
	}
	return nil
}

type crashPart struct {
	configFlag
	Part   string `arg:"" help:"up, engines, collector, processor or enforcer."`
	Issuer string `help:"URL of the issuer at which credentials are revoked." required:""`
}

func (c *crashPart) Run(ctx context.Context) error {
	return crash.RunPart(ctx, c.Part, c.Config, c.Issuer)
}
