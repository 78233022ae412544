package spire

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Collector publishes what one SPIRE server tells. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg  Config
	deps collect.Deps
	// inventory is nil if none is configured.
	inventory *inventory
}

// New checks the configuration. It does not touch the log or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg == (Config{}) {
		return nil, errors.New("spire_collector: the section is missing; set file to the path of the SPIRE server's log")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("spire_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	if deps.DataDir == "" {
		return nil, errors.New("spire_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps}
	var notice func(*leastwisev1.Event)
	if cfg.Inventory != nil {
		c.inventory = newInventory(*cfg.Inventory, c)
		notice = c.inventory.notice
	}
	var err error
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Deps: deps, Notice: notice,
		Decoder:      NewDecoder(Options{Instance: cfg.Instance, MaxBytes: cfg.MaxRecordBytes}),
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, fmt.Errorf("spire_collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the log can not be followed at all.
func (c *Collector) Run(ctx context.Context) error {
	feed, err := collect.Follow(source.FollowConfig{Path: c.cfg.File, Checkpoint: c.statePath("checkpoint"),
		Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes, Log: c.deps.Env.Log})
	if err != nil {
		return fmt.Errorf("spire collector: %w", err)
	}
	if c.inventory != nil {
		return c.Collector.Run(ctx, feed, c.inventory.run)
	}
	return c.Collector.Run(ctx, feed)
}

func (c *Collector) statePath(what string) string {
	return filepath.Join(c.deps.DataDir, "spire-"+url.PathEscape(c.cfg.Instance)+"."+what+".json")
}
