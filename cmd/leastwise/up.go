package main

import (
	"context"
	"fmt"
	"os"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/internal/daemon"
)

// configFlag is the configuration file of commands that need one.
type configFlag struct {
	Config string `help:"Configuration file." default:"leastwise.yaml" type:"path" placeholder:"FILE"`
}

// load reads the file and makes the environment. Logs go to standard error.
func (c *configFlag) load(name, level string) (allinone.Config, daemon.Env, error) {
	var cfg allinone.Config
	if err := daemon.Load(c.Config, &cfg); err != nil {
		return cfg, daemon.Env{}, err
	}
	if level == "" {
		level = cfg.Log.Level
	}
	log, err := daemon.NewLogger(os.Stderr, level, cfg.Log.Format)
	if err != nil {
		return cfg, daemon.Env{}, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	env := daemon.NewEnv(name, log)
	if cfg.Listen != "" {
		env.Listen = cfg.Listen
	}
	return cfg, env, nil
}

type upCommand struct {
	configFlag
	ClickhouseListen string `help:"Let other programs of this machine, such as Grafana, read the embedded ClickHouse at this host:port." placeholder:"ADDR"`
	CheckConfig      bool   `help:"Read the configuration, say what is wrong with it, and end."`
}

func (c *upCommand) Run(ctx context.Context) error {
	cfg, env, err := c.load("leastwise", "")
	if err != nil {
		return err
	}
	if c.CheckConfig {
		fmt.Printf("%s: configuration ok\n", c.Config)
		return nil
	}
	if c.ClickhouseListen != "" {
		cfg.ClickHouse.Listen = c.ClickhouseListen
	}
	if cfg.Console.Listen == "" {
		cfg.Console.Listen = console.DefaultListen
	}
	return allinone.Run(ctx, cfg, env, allinone.Hooks{Console: openPage, Ready: func(*allinone.Engines) {
		env.Log.Info("all components run", "health", "http://"+env.Listen+"/readyz")
	}})
}
