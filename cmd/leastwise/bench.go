package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/leastwise/leastwise/cmd/leastwise/figures"
)

type benchCommand struct {
	Credentials int `help:"Credentials in the generated log." default:"100000"`
	Calls       int `help:"Calls in the generated log." default:"900000"`

	Only []string `help:"Measure these parts alone." enum:"normalise,graph,decide,memory,scan,pipeline" placeholder:"PART,..."`

	CPUProfile string `name:"cpuprofile" help:"Write a processor profile to this file, for go tool pprof." placeholder:"FILE"`
}

func (c *benchCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "leastwise-bench-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if c.CPUProfile != "" {
		file, err := os.Create(c.CPUProfile)
		if err != nil {
			return fmt.Errorf("write the processor profile: %w", err)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("write the processor profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	ok, err := figures.Run(ctx, figures.Options{Dir: dir, Credentials: c.Credentials, Calls: c.Calls, Only: c.Only,
		Progress: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}, os.Stdout)
	if err != nil {
		return err
	}
	if !ok {
		return exit(exitFailed)
	}
	return nil
}
