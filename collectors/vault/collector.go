package vault

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

// Collector publishes what one audit device tells. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg     Config
	deps    collect.Deps
	decoder *Decoder
	// inventory is nil if none is configured.
	inventory *inventory
}

// New checks the configuration. It does not touch the log or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg == (Config{}) {
		return nil, errors.New("vault_collector: the section is missing; set file to the path of Vault's audit log")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("vault_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.File != "" && deps.DataDir == "" {
		return nil, errors.New("vault_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps}
	opts := Options{Instance: cfg.Instance, Prefix: cfg.Prefix, MaxBytes: cfg.MaxRecordBytes, Pairing: true}
	var notice func(*leastwisev1.Event)
	var err error
	if cfg.Inventory != nil {
		if c.inventory, err = newInventory(*cfg.Inventory, c); err != nil {
			return nil, fmt.Errorf("vault_collector: inventory: %w", err)
		}
		opts.Resolve, opts.RoleOrphan = c.inventory.resolve, c.inventory.roleOrphan
		notice = c.inventory.notice
	}
	c.decoder = NewDecoder(opts)
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Decoder: c.decoder, Deps: deps,
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat, Notice: notice})
	if err != nil {
		return nil, fmt.Errorf("vault_collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the log can not be followed at all.
func (c *Collector) Run(ctx context.Context) error {
	feed, err := c.feed(ctx)
	if err != nil {
		return fmt.Errorf("vault collector: %w", err)
	}
	if c.inventory != nil {
		return c.Collector.Run(ctx, feed, c.inventory.run)
	}
	return c.Collector.Run(ctx, feed)
}

func (c *Collector) feed(ctx context.Context) (collect.Feed, error) {
	if c.cfg.Socket != "" {
		return c.listen(ctx)
	}
	return collect.Follow(source.FollowConfig{Path: c.cfg.File, Checkpoint: c.checkpointPath(),
		Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes, Log: c.deps.Env.Log})
}

func (c *Collector) checkpointPath() string {
	return filepath.Join(c.deps.DataDir, "vault-"+url.PathEscape(c.cfg.Instance)+".checkpoint.json")
}
