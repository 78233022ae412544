package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// Parts of the product that run as processes of their own.
const (
	PartUp        = "up"
	PartEngines   = "engines"
	PartCollector = "collector"
	PartProcessor = "processor"
	PartEnforcer  = "enforcer"
)

// RunPart is what a child process does until it is killed: one component, wired as its own binary wires it, or all. It
// ends by itself when its standard input closes, so that no child outlives the parent.
func RunPart(ctx context.Context, part, configFile, issuerURL string) error {
	var cfg allinone.Config
	if err := daemon.Load(configFile, &cfg); err != nil {
		return err
	}
	log, err := daemon.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	env := daemon.NewEnv("crash-"+part, log)
	env.Listen = cfg.Listen
	remote := newRemote(issuerURL)
	targets, channels := map[string]enforcer.Target{targetName: remote}, map[string]enforcer.Channel{ownersChannel: remote}
	switch part {
	case PartUp:
		return allinone.Run(ctx, cfg, env, allinone.Hooks{Notify: channels, Targets: targets})
	case PartEngines:
		return runEngines(ctx, cfg, env)
	case PartCollector:
		return attached(ctx, cfg, env, func(engines *allinone.Engines) (run, error) {
			collector, err := vault.New(cfg.VaultCollector, collect.Deps{Stream: engines.Stream, DataDir: cfg.DataDir, Env: env})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				if err := engines.Stream.EnsureTopics(ctx, collect.Topics()); err != nil {
					return err
				}
				return collector.Run(ctx)
			}, nil
		})
	case PartProcessor:
		rules, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
		if err != nil {
			return err
		}
		return attached(ctx, cfg, env, func(engines *allinone.Engines) (run, error) {
			proc, err := processor.New(cfg.Processor, processor.Deps{Env: env, Stream: engines.Stream, Store: engines.Store,
				Rules: rules.Rules, Catalog: rules.Catalog})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				if err := proc.Prepare(ctx, engines.Store, migrations.FS); err != nil {
					return err
				}
				return daemon.Together(ctx, rules.Run, proc.Run)
			}, nil
		})
	case PartEnforcer:
		return attached(ctx, cfg, env, func(engines *allinone.Engines) (run, error) {
			enforce, err := enforcer.New(cfg.Enforcer, enforcer.Deps{Env: env, Stream: engines.Stream, Targets: targets, Notify: channels})
			if err != nil {
				return nil, err
			}
			return enforce.Run, nil
		})
	default:
		return fmt.Errorf("%w: no part %q", daemon.ErrConfig, part)
	}
}

type run = func(context.Context) error

func runEngines(ctx context.Context, cfg allinone.Config, env daemon.Env) error {
	engines, err := allinone.OpenEngines(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	engines.Writable = true
	return engines.Serve(ctx, &cfg, env)
}

// attached runs a component on the engines of another process.
func attached(ctx context.Context, cfg allinone.Config, env daemon.Env, open func(*allinone.Engines) (run, error)) error {
	engines, err := attach(ctx, cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	component, err := open(engines)
	if err != nil {
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	return daemon.Run(ctx, env, env.Listen, component)
}

// attach waits for the engines to have written down where they are.
func attach(ctx context.Context, cfg allinone.Config, env daemon.Env) (*allinone.Engines, error) {
	for {
		engines, err := allinone.Attach(ctx, &cfg, env)
		if !errors.Is(err, allinone.ErrNotRunning) || !wait(ctx, 50*time.Millisecond) {
			return engines, err
		}
	}
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
