package jwtregistry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
)

// Collector publishes what one registry tells. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg  Config
	deps collect.Deps
	keys *KeySet // nil if none is configured
	// forgers are the issuers and keys that findings of their own were made of. Only in the goroutine that reads records.
	forgers map[string]bool
}

// New checks the configuration and reads the files that it names. It does not touch the registry or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg.empty() {
		return nil, errors.New("jwtregistry_collector: the section is missing; set file, api or topic")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("jwtregistry_collector: %w", err)
	}
	cfg.Instance = cmp.Or(cfg.Instance, "default")
	if cfg.Topic == nil && deps.DataDir == "" {
		return nil, errors.New("jwtregistry_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps, forgers: map[string]bool{}}
	opts := Options{Instance: cfg.Instance, Issuer: cfg.Issuer, KeycloakURL: cfg.KeycloakURL, VaultInstance: cfg.VaultInstance,
		MaxBytes: cfg.MaxRecordBytes}
	var err error
	if cfg.JWKS != nil {
		if c.keys, err = NewKeySet(*cfg.JWKS, deps.Env.Now, deps.Env.Log); err != nil {
			return nil, fmt.Errorf("jwtregistry_collector: jwks: %w", err)
		}
		opts.Keys = c.keys
	}
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Decoder: NewDecoder(opts), Deps: deps,
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat, Notice: c.unverified})
	if err != nil {
		return nil, fmt.Errorf("jwtregistry_collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the registry can not be read at all.
func (c *Collector) Run(ctx context.Context) error {
	feed, err := c.feed(ctx)
	if err != nil {
		return fmt.Errorf("jwtregistry collector: %w", err)
	}
	if c.cfg.Introspection != nil {
		if feed, err = c.introspecting(feed); err != nil {
			return fmt.Errorf("jwtregistry collector: introspection: %w", err)
		}
	}
	if c.keys != nil && c.cfg.JWKS.URL != "" {
		return c.Collector.Run(ctx, feed, c.refreshKeys)
	}
	return c.Collector.Run(ctx, feed)
}

func (c *Collector) feed(ctx context.Context) (collect.Feed, error) {
	switch {
	case c.cfg.API != nil:
		return newAPIFeed(*c.cfg.API, c.checkpointPath(), c.cfg.MaxRecordBytes, c.Now)
	case c.cfg.Topic != nil:
		client, close, err := c.consumer(ctx)
		if err != nil {
			return nil, err
		}
		return newTopicFeed(ctx, client, *c.cfg.Topic, c.cfg.Instance, close), nil
	}
	return collect.Follow(source.FollowConfig{Path: c.cfg.File, Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes,
		Checkpoint: c.checkpointPath(), Log: c.deps.Env.Log})
}

// consumer is the client of the registry's cluster: its own, or the one that events go to.
func (c *Collector) consumer(ctx context.Context) (consumer, func(), error) {
	if cfg := c.cfg.Topic.Kafka; cfg != nil {
		client, err := stream.Open(ctx, *cfg, c.deps.Env.Log)
		if err != nil {
			return nil, nil, err
		}
		return client, func() { client.Close() }, nil
	}
	client, ok := c.deps.Stream.(consumer)
	if !ok {
		return nil, nil, errors.New("topic: this process has no Kafka client that can read; set topic.kafka")
	}
	return client, func() {}, nil
}

func (c *Collector) checkpointPath() string {
	return filepath.Join(c.deps.DataDir, "jwtregistry-"+url.PathEscape(c.cfg.Instance)+".checkpoint.json")
}

// refreshKeys keeps the issuer's keys up to date.
func (c *Collector) refreshKeys(ctx context.Context) error {
	for {
		wait := c.keys.cfg.Refresh
		err := c.keys.Refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if c.Say("jwks", err); err != nil {
			wait = min(wait, time.Minute)
		}
		if !collect.Pause(ctx, wait) {
			return nil
		}
	}
}
