package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/demo"
	"github.com/leastwise/leastwise/console"
)

type demoCommand struct {
	Once             bool          `help:"End when every ladder has reached its expected end and who and gate have answered as expected (exit 0), print one JSON line a step."`
	Limit            time.Duration `help:"How long --once waits at the most (exit 1)." default:"15m"`
	Quiet            time.Duration `help:"How long --once waits while nothing happens (exit 1)." default:"3m"`
	Dir              string        `help:"Where the demo keeps its files (default: a new temporary directory)." placeholder:"DIR"`
	Seed             uint64        `help:"Seed of what the agents leave to chance." default:"1"`
	Listen           string        `help:"Address of /metrics, /healthz and /readyz; none for none." default:"127.0.0.1:9464"`
	Page             string        `help:"Address of the page; none for none. With --once there is none unless it is given." placeholder:"ADDR"`
	ClickhouseListen string        `help:"Address at which the embedded ClickHouse can be read, such as 127.0.0.1:8123." placeholder:"ADDR"`
}

func (c *demoCommand) Run(ctx context.Context) error {
	dir := c.Dir
	if dir == "" {
		made, err := os.MkdirTemp("", "leastwise-demo-")
		if err != nil {
			return fmt.Errorf("make the demo's directory: %w", err)
		}
		dir = made
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	if c.Page == "" && !c.Once {
		c.Page = console.DefaultListen
	}
	return demo.Run(ctx, demo.Options{Once: c.Once, Limit: c.Limit, Quiet: c.Quiet, Dir: dir, Out: os.Stdout, Seed: c.Seed,
		Listen: c.Listen, ClickHouseListen: c.ClickhouseListen, Page: c.Page})
}
