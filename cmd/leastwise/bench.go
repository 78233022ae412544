package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/figures"
	"github.com/leastwise/leastwise/cmd/leastwise/figures/page"
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
	stop, err := profile(c.CPUProfile)
	if err != nil {
		return err
	}
	defer stop()
	ok, err := figures.Run(ctx, figures.Options{Dir: dir, Credentials: c.Credentials, Calls: c.Calls, Only: c.Only,
		Progress: progress}, os.Stdout)
	if err != nil {
		return err
	}
	if !ok {
		return exit(exitFailed)
	}
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// profile writes a processor profile, if a file is named, until it is stopped.
func profile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("write the processor profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write the processor profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // a profile that was cut off says so when it is read
	}, nil
}

type benchPageCommand struct {
	Seed        int           `help:"Of the fleet: the same seed gives the same." default:"1"`
	Credentials int           `help:"Credentials of the fleet." default:"100000"`
	Events      int           `help:"Events in ClickHouse." default:"5000000"`
	Users       int           `help:"Readers at once." default:"20"`
	For         time.Duration `help:"How long they read." default:"1m"`
	Only        []string      `help:"Measure these parts alone." enum:"browser,api" placeholder:"PART,..."`
	Web         string        `help:"The folder console/web of a checkout: the browser's part lies there." default:"console/web" type:"path"`
	Serve       bool          `help:"Measure nothing: print a link to the page, and serve until interrupted."`
	CPUProfile  string        `name:"cpuprofile" help:"Write a processor profile to this file, for go tool pprof." placeholder:"FILE"`
}

// Run makes the fleet in a directory that is gone afterwards, and measures the page on it.
func (c *benchPageCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "leastwise-bench-page-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer os.RemoveAll(dir)
	stop, err := profile(c.CPUProfile)
	if err != nil {
		return err
	}
	defer stop()
	ok, err := figures.RunPage(ctx, page.Options{Dir: dir, Web: c.Web, Seed: c.Seed, Credentials: c.Credentials, Events: c.Events, Users: c.Users, For: c.For,
		Only: c.Only, Serve: c.Serve, Progress: progress}, os.Stdout)
	if err != nil {
		return err
	}
	if !ok && !c.Serve {
		return exit(exitFailed)
	}
	return nil
}
