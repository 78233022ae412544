// Package allinone runs every component in one process, on embedded engines or on the site's Kafka and ClickHouse: the
// very components that the separate binaries run.
package allinone

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// Hooks let a caller take part. The zero value takes none.
type Hooks struct {
	// Ready is called when all components have been started.
	Ready func(*Engines)
	// Notify are channels beside those of the configuration.
	Notify map[string]enforcer.Channel
	// Targets are issuers beside those of the configuration.
	Targets map[string]enforcer.Target
	// Console is called with the console's address and a one-time link, once it answers; the link is empty where people sign
	// in elsewhere.
	Console func(base, link string)
	// Demo is one sentence about scaled time, in a demonstration.
	Demo string
}

// Run runs until ctx ends or a component fails for good. It returns ErrConfig for what the configuration gets wrong.
func Run(ctx context.Context, cfg Config, env daemon.Env, hooks Hooks) error {
	rules, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	engines, err := OpenEngines(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	proc, err := processor.New(cfg.Processor, processor.Deps{Env: env, Stream: engines.Stream, Store: engines.Store,
		Rules: rules.Rules, Catalog: rules.Catalog})
	if err != nil {
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	parts := []func(context.Context) error{rules.Run, proc.Run,
		func(ctx context.Context) error { return engines.Serve(ctx, &cfg, env) }}
	collecting, err := cfg.collectors(collect.Deps{Stream: engines.Stream, DataDir: cfg.DataDir, Env: env})
	if err != nil {
		return err
	}
	parts = append(parts, collecting...)
	history := &History{Store: engines.Store, Catalog: rules.Catalog, Observation: cfg.Processor.Observation, Now: time.Now, Log: env.Log}
	enforce, err := enforcer.New(cfg.Enforcer, enforcer.Deps{Env: env, Stream: engines.Stream, Channels: cfg.Channels,
		Notify: hooks.Notify, Targets: hooks.Targets, AWS: history.AWS(), SPIREIssued: history.SPIREIssued})
	if err != nil {
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	parts = append(parts, enforce.Run)
	beside, err := consoleOf(&cfg, env, engines, rules, hooks)
	if err != nil {
		return err
	}
	if hooks.Ready != nil {
		parts = append(parts, func(ctx context.Context) error {
			hooks.Ready(engines)
			<-ctx.Done()
			return nil
		})
	}
	// Health is served from the first moment: a Kafka or ClickHouse that is away at the start is waited for, and named.
	return daemon.Run(ctx, env, env.Listen, append(beside, func(ctx context.Context) error {
		if err := proc.Prepare(ctx, engines.Store, migrations.FS); err != nil {
			return err
		}
		return daemon.Together(ctx, parts...)
	})...)
}
