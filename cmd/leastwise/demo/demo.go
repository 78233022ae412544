// Package demo shows the whole loop on a real Vault: a fleet of agents, some of which hold too much for too long, and
// Leastwise finding them, telling their owners, waiting out the grace period, revoking at Vault, and giving back a
// credential with the scope that was used. One of the agents lives in other sources too: the demo ends with who it is,
// over all of them, and with the gate's word on two agents' manifests.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	vaultlog "github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/enforcer"
	vaulttarget "github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	site "github.com/leastwise/leastwise/simulator/demo"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// Options of a demo.
type Options struct {
	// Once ends after every ladder has reached its expected end, the sources agree on who the steady agent is, and the
	// gate has answered; it prints one JSON line a step.
	Once bool
	// Limit is how long Once waits at the most, and Quiet for how long of that nothing may happen; zero: for ever.
	Limit, Quiet time.Duration
	Dir          string // everything the demo writes; kept
	Out          io.Writer
	Seed         uint64
	// Listen is where metrics and health are served; ClickHouseListen where the embedded engine can be read; Page where the
	// page is, empty for none.
	Listen, ClickHouseListen, Page string
}

// Run runs the demo until ctx ends, or with Once until all is as it is expected to be. With Once the error names each
// agent that is not where it should be in time, or what is wrong with the identity or the gate's answer.
func Run(ctx context.Context, opts Options) error {
	board := newBoard(opts)
	logFile, err := os.OpenFile(filepath.Join(opts.Dir, "leastwise.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer logFile.Close()
	if board.live {
		restore, err := divertStderr(filepath.Join(opts.Dir, "stderr.log"))
		if err != nil {
			return err
		}
		defer restore()
	}

	servers, err := startServers(ctx, opts, board)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer servers.stop()
	server := servers.vault
	vault, err := fleet.Setup(ctx, fleet.SetupOptions{Addr: server.Addr, RootToken: server.RootToken, AuditFile: server.AuditFile,
		Dir: filepath.Join(opts.Dir, "approle"), Day: site.Day,
		EnforcerPolicy: ""})
	if err != nil {
		return unlessEnded(ctx, fmt.Errorf("set up the demo's Vault: %w", err))
	}
	if err := site.Write(filepath.Join(opts.Dir, "site")); err != nil {
		return err
	}

	env := daemon.NewEnv("leastwise", slog.New(slog.NewJSONHandler(logFile, nil)))
	env.Listen = opts.Listen
	cfg := Config(opts, vault)
	cfg.Console.Listen = opts.Page
	if err := os.MkdirAll(cfg.Enforcer.Vault[0].Reissue.Directory, 0o700); err != nil {
		return fmt.Errorf("make the delivery directory: %w", err)
	}
	if err := collect(&cfg, servers.sources); err != nil {
		return fmt.Errorf("collect from the demo's sources: %w", err)
	}
	if err := writeConfig(opts.Dir, cfg); err != nil {
		return err
	}
	watch := newWatcher(board, vault, servers.sources, opts)
	board.intro(opts, env.Listen, servers.sources)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = allinone.Run(ctx, cfg, env, allinone.Hooks{
		Demo:    fmt.Sprintf("a day of the policies passes in %s.", site.Day),
		Console: func(_, link string) { board.say("Open the page (the link works once): %s", link) },
		Notify: map[string]enforcer.Channel{site.OwnersChannel: &screen{board, site.OwnersChannel},
			site.SecurityChannel: &screen{board, site.SecurityChannel}},
		Ready: func(engines *allinone.Engines) {
			go func() { cancel(watch.run(ctx, engines)) }()
		},
	})
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errReached):
		return nil
	case err != nil && (cause == nil || errors.Is(cause, context.Canceled)):
		return err
	case errors.Is(cause, context.Canceled):
		return nil
	default:
		return cause
	}
}

// unlessEnded is err, or nothing if the reader has ended the demo, which cuts off whatever is being done.
func unlessEnded(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// Config is that of `leastwise up` for a Vault that fleet.Setup has made, with a day scaled to site.Day. Of opts it takes
// Dir, which is to hold what site.Write writes in "site", and ClickHouseListen.
func Config(opts Options, vault *fleet.Site) allinone.Config {
	at := func(parts ...string) string { return filepath.Join(append([]string{opts.Dir}, parts...)...) }
	return allinone.Config{
		Common:     daemon.Common{DataDir: at("data")},
		Kafka:      stream.Config{Embedded: true, SyncWrites: true, Partitions: 4},
		ClickHouse: store.Config{Embedded: true, Listen: opts.ClickHouseListen},
		VaultCollector: vaultlog.Config{File: vault.AuditFile, BatchWait: 100 * time.Millisecond, Heartbeat: 2 * time.Second,
			Inventory: &vaultlog.InventoryConfig{Address: vault.Addr, Device: fleet.AuditDevice, Interval: 2 * time.Second, Rate: 500,
				AppRole: &vaultlog.AppRole{RoleIDFile: vault.Collector.RoleIDFile, SecretIDFile: vault.Collector.SecretIDFile}}},
		Processor: processor.Config{Flush: 200 * time.Millisecond, Checkpoint: time.Second, Heartbeat: 2 * time.Second,
			Tick: 100 * time.Millisecond, Observation: 4 * site.Day},
		Policies: processor.PoliciesConfig{Dir: at("site", site.PoliciesDir)},
		Catalog:  processor.CatalogConfig{Path: at("site", site.CatalogFile)},
		Enforcer: enforcer.Config{Mode: "enforce", Budget: "100/h 100%", MaxDecisionAge: 10 * time.Second,
			NotifyDeadline: 3 * time.Second, Escalation: []string{site.SecurityChannel}, RetryMin: 200 * time.Millisecond,
			HoldEvery: 500 * time.Millisecond, LogDeadline: 30 * time.Second,
			Vault: []vaulttarget.Config{{Address: vault.Addr, AuditDevice: fleet.AuditDevice,
				AppRole: &vaulttarget.AppRole{RoleIDFile: vault.Enforcer.RoleIDFile, SecretIDFile: vault.Enforcer.SecretIDFile},
				Reissue: vaulttarget.ReissueConfig{Directory: at("delivery"), MaxTTL: 10 * time.Minute, WrapTTL: 5 * time.Minute}}}},
	}
}
