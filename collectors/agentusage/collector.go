package agentusage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// Collector publishes what agents log. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg  Config
	deps collect.Deps
	// otlp is nil unless it is configured.
	otlp *receiver
}

// New checks the configuration and reads the files that it names. It does not touch the log or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg.empty() {
		return nil, errors.New("agentusage_collector: the section is missing; set file or otlp")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agentusage_collector: %w", err)
	}
	cfg.Instance = cmp.Or(cfg.Instance, "default")
	if cfg.File != "" && deps.DataDir == "" {
		return nil, errors.New("agentusage_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	opts := Options{Instance: cfg.Instance, Credentials: cfg.Credentials, BedrockAgent: cfg.BedrockAgent, MaxBytes: cfg.MaxRecordBytes}
	var err error
	if cfg.MappingFile != "" {
		if opts.Mapping, err = LoadMapping(cfg.MappingFile); err != nil {
			return nil, fmt.Errorf("agentusage_collector: mapping_file: %w", err)
		}
	}
	c := &Collector{cfg: cfg, deps: deps}
	if cfg.OTLP != nil {
		if c.otlp, err = newReceiver(*cfg.OTLP); err != nil {
			return nil, fmt.Errorf("agentusage_collector: otlp: %w", err)
		}
	}
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Decoder: NewDecoder(opts), Deps: deps,
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, fmt.Errorf("agentusage_collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the log can not be followed, or an
// address not be listened on.
func (c *Collector) Run(ctx context.Context) error {
	if c.otlp != nil {
		if err := c.otlp.listen(ctx); err != nil {
			return fmt.Errorf("agentusage collector: %w", err)
		}
		return c.Collector.Run(ctx, c.otlp)
	}
	feed, err := collect.Follow(source.FollowConfig{Path: c.cfg.File, Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes,
		Checkpoint: filepath.Join(c.deps.DataDir, "agentusage-"+url.PathEscape(c.cfg.Instance)+".checkpoint.json"), Log: c.deps.Env.Log})
	if err != nil {
		return fmt.Errorf("agentusage collector: %w", err)
	}
	return c.Collector.Run(ctx, feed)
}

// Addresses are those that the receiver listens on, once Run has begun; empty if there is none.
func (c *Collector) Addresses() (http, grpc string) {
	if c.otlp == nil {
		return "", ""
	}
	return c.otlp.addresses()
}
