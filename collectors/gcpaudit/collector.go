package gcpaudit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Collector publishes what one organization's audit logs tell. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg  Config
	deps collect.Deps
}

// New checks the configuration. It does not touch the log or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg == (Config{}) {
		return nil, errors.New("gcpaudit_collector: the section is missing; set subscription, file or directory")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gcpaudit_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.Subscription == "" && deps.DataDir == "" {
		return nil, errors.New("gcpaudit_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps}
	decoder := NewDecoder(Options{Instance: cfg.Instance, MaxBytes: cfg.MaxRecordBytes, Facts: func(fact *leastwisev1.Fact) {
		c.Tell(collect.FactMessage(factKey(fact), fact))
	}})
	var err error
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Decoder: decoder, Deps: deps,
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, fmt.Errorf("gcpaudit_collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the log can not be read at all.
func (c *Collector) Run(ctx context.Context) error {
	feed, err := c.feed(ctx)
	if err != nil {
		return fmt.Errorf("gcpaudit collector: %w", err)
	}
	if c.cfg.Assets != "" {
		return c.Collector.Run(ctx, feed, c.assets)
	}
	return c.Collector.Run(ctx, feed)
}

func (c *Collector) feed(ctx context.Context) (collect.Feed, error) {
	switch {
	case c.cfg.Subscription != "":
		return subscribe(ctx, c.cfg)
	case c.cfg.Directory != "":
		return newFolder(c.cfg, c.checkpointPath(), c.Now)
	}
	return collect.Follow(source.FollowConfig{Path: c.cfg.File, Checkpoint: c.checkpointPath(),
		Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes, Log: c.deps.Env.Log})
}

func (c *Collector) checkpointPath() string {
	return filepath.Join(c.deps.DataDir, "gcpaudit-"+url.PathEscape(c.cfg.Instance)+".checkpoint.json")
}

// assets publishes what the export says, whenever it changes.
func (c *Collector) assets(ctx context.Context) error {
	var read time.Time
	known := map[string]bool{}
	for {
		err := c.readAssets(ctx, &read, known)
		if ctx.Err() != nil {
			return nil
		}
		c.Say("inventory", err)
		if !collect.Pause(ctx, c.cfg.AssetsInterval) {
			return nil
		}
	}
}

func (c *Collector) readAssets(ctx context.Context, read *time.Time, known map[string]bool) error {
	info, err := os.Stat(c.cfg.Assets)
	if err != nil {
		return fmt.Errorf("assets: %w", err)
	}
	if info.ModTime().Equal(*read) {
		return nil
	}
	file, err := source.Open(c.cfg.Assets)
	if err != nil {
		return fmt.Errorf("assets: %w", err)
	}
	defer file.Close()
	facts, skipped, err := ReadAssets(file, c.cfg.Instance, info.ModTime())
	if err != nil {
		return fmt.Errorf("assets: %w", err)
	}
	if len(facts) == 0 {
		return fmt.Errorf("assets: %s holds no IAM policy; export with `gcloud asset export --content-type=iam-policy`", c.cfg.Assets)
	}
	messages := make([]stream.Message, 0, len(facts))
	now := map[string]bool{}
	for _, fact := range facts {
		now[factKey(fact)] = true
		messages = append(messages, collect.FactMessage(factKey(fact), fact))
	}
	for id := range known {
		if !now[id] {
			gone := withdrawn(id, info.ModTime())
			messages = append(messages, collect.FactMessage(id, gone))
		}
	}
	if err := c.Send(ctx, messages...); err != nil {
		return err
	}
	clear(known)
	for id := range now {
		known[id] = true
	}
	*read = info.ModTime()
	if skipped > 0 {
		return fmt.Errorf("assets: %d lines of %s are no assets, and were left out", skipped, c.cfg.Assets)
	}
	return nil
}
