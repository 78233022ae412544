package certlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/leastwise/leastwise/collectors/collect"
)

// Collector publishes what certificate transparency logs tell. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	feed *feed
}

// New checks the configuration and reads the public keys. It does not touch the logs.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if len(cfg.Logs) == 0 {
		return nil, errors.New("certlog_collector: no logs are configured; set logs to a list of name, url, kind and public_key_file")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("certlog_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	c := &Collector{}
	names := map[string]string{}
	var logs []*log
	for _, one := range cfg.Logs {
		l, err := newLog(one, cfg)
		if err != nil {
			return nil, fmt.Errorf("certlog_collector: log %s: %w", one.Name, err)
		}
		if other, twice := names[l.key.ID()]; twice {
			return nil, fmt.Errorf("certlog_collector: logs %s and %s have the same public key", other, one.Name)
		}
		names[l.key.ID()] = one.Name
		logs = append(logs, l)
	}
	if deps.DataDir == "" {
		return nil, errors.New("certlog_collector: data_dir is not set; the checkpoints need a place that survives restarts")
	}
	decoder := NewDecoder(Options{Instance: cfg.Instance, TrustDomains: cfg.TrustDomains, Domains: cfg.Domains, All: cfg.All, Names: names})
	var err error
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Decoder: decoder, Deps: deps,
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, fmt.Errorf("certlog_collector: %w", err)
	}
	for _, l := range logs {
		l.now = c.Now
	}
	c.feed = newFeed(logs, deps.DataDir, cfg.Instance)
	c.feed.found, c.feed.withdraw = c.Found, c.Withdraw
	return c, nil
}

func newLog(cfg LogConfig, all Config) (*log, error) {
	key, err := loadKey(cfg.PublicKeyFile)
	if err != nil {
		return nil, err
	}
	g, err := newGetter(cfg)
	if err != nil {
		return nil, err
	}
	l := &log{cfg: cfg, key: key, full: all.Verify == VerifyFull, poll: all.Poll, maxAge: all.MaxHeadAge}
	if cfg.Kind == KindStaticCT {
		l.client = newStatic(g, key, cfg.Origin)
	} else {
		l.client = &dynamic{getter: g, key: key}
	}
	return l, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if a checkpoint can not be used. It may be
// called once.
func (c *Collector) Run(ctx context.Context) error {
	if err := c.feed.resume(); err != nil {
		return fmt.Errorf("certlog collector: %w", err)
	}
	return c.Collector.Run(ctx, c.feed)
}
