package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/internal/daemon"
)

type consoleCommand struct {
	configFlag
	CheckConfig bool `help:"Read the configuration, say what is wrong with it, and end."`
	Probe       bool `help:"Ask the running console's /readyz, print what fails, and end with 0 if it is ready (for container health checks)."`
}

// Run runs the page and its API alone: for those who run the components apart.
func (c *consoleCommand) Run(ctx context.Context) error {
	cfg, env, err := c.load("console", "")
	if err != nil {
		return err
	}
	switch {
	case c.CheckConfig:
		fmt.Printf("%s: configuration ok\n", c.Config)
		return nil
	case c.Probe:
		return daemon.Probe(ctx, "http", env.Listen)
	}
	if cfg.Console.Listen == "" {
		cfg.Console.Listen = console.DefaultListen
	}
	return allinone.RunConsole(ctx, cfg, env, allinone.Hooks{Console: openPage})
}

// openPage tells how to open the page. It goes to standard output: logs, which others keep, never hold the link.
func openPage(base, link string) {
	if link == "" {
		fmt.Printf("Leastwise's page: %s\n", base)
		return
	}
	fmt.Printf("Open Leastwise's page with this link. It works once, within a quarter of an hour; `leastwise link` prints another.\n\n    %s\n\n", link)
}

type linkCommand struct {
	configFlag
	Name  string   `help:"Whose link it is." placeholder:"NAME"`
	Role  []string `help:"viewer, owner, approver, security or admin; more than one with commas. Default: all but owner." placeholder:"ROLE"`
	Owner []string `help:"With the role owner: ids of the catalog's owners that this person is." placeholder:"ID"`
}

// Run asks the running console for a one-time link.
func (c *linkCommand) Run(ctx context.Context) error {
	cfg, _, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	if c.Name == "" {
		if c.Name, err = (&by{}).name(); err != nil {
			return err
		}
	}
	dir := cfg.DataDir
	if dir == "" {
		dir = allinone.DefaultDataDir
	}
	link, err := console.AskLink(ctx, filepath.Join(dir, console.SocketFile), c.Name, c.Role, c.Owner)
	if err != nil {
		return usageIf(err, console.ErrRefused)
	}
	_, err = fmt.Fprintln(os.Stdout, link)
	return err
}
