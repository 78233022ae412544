package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Collector publishes what one organisation's trails tell. See the package's documentation for what it promises.
type Collector struct {
	*collect.Collector
	cfg  Config
	deps collect.Deps
	iam  *awsiam.Inventory // nil if none is configured
}

// New checks the configuration. It does not touch the log or the network.
func New(cfg Config, deps collect.Deps) (*Collector, error) {
	if cfg == (Config{}) {
		return nil, errors.New("cloudtrail_collector: the section is missing; set path, bucket or queue to where the trail's log files are")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cloudtrail_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.Queue == nil && deps.DataDir == "" {
		return nil, errors.New("cloudtrail_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps}
	var err error
	c.Collector, err = collect.New(collect.Options{Source: System, Instance: cfg.Instance, Deps: deps,
		Decoder: NewDecoder(Options{Instance: cfg.Instance, MaxBytes: cfg.MaxRecordBytes, Facts: func(fact *leastwisev1.Fact) {
			c.Tell(collect.FactMessage(fact.GetGrant().GetId(), fact))
		}}),
		BatchRecords: cfg.BatchRecords, BatchWait: cfg.BatchWait, Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, fmt.Errorf("cloudtrail_collector: %w", err)
	}
	if cfg.IAM != nil {
		iam := *cfg.IAM
		iam.Instance = cfg.Instance
		if c.iam, err = awsiam.New(iam, c.Collector); err != nil {
			return nil, fmt.Errorf("cloudtrail_collector: iam: %w", err)
		}
	}
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if it can not begin: its checkpoint is
// damaged, or there is no configuration of AWS to be found.
func (c *Collector) Run(ctx context.Context) error {
	from, err := c.finder(ctx)
	if err != nil {
		return fmt.Errorf("cloudtrail collector: %w", err)
	}
	feed := newFeed(from, c.cfg.MaxRecordBytes)
	if c.iam != nil {
		return c.Collector.Run(ctx, feed, c.iam.Run)
	}
	return c.Collector.Run(ctx, feed)
}

func (c *Collector) finder(ctx context.Context) (finder, error) {
	if c.cfg.Path != "" {
		read, err := openReadFiles(c.checkpointPath())
		if err != nil {
			return nil, err
		}
		return &directory{root: c.cfg.Path, poll: c.cfg.Poll, read: read, now: c.Now, given: map[string]bool{}}, nil
	}
	cloud, err := openCloud(ctx, c.cfg.AWS)
	if err != nil {
		return nil, err
	}
	var digests *digests
	if c.cfg.Digests != nil {
		digests = newDigests(c.cfg.Digests.PublicKeysFile, cloud)
		digests.say = func(err error) { c.Say("digests", err) }
	}
	if c.cfg.Queue != nil {
		return newQueue(cloud, *c.cfg.Queue, digests, func(err error) { c.Say("queue", err) }), nil
	}
	read, err := openReadFiles(c.checkpointPath())
	if err != nil {
		return nil, err
	}
	return newBucket(cloud, *c.cfg.Bucket, c.cfg.Poll, read, digests), nil
}

func (c *Collector) checkpointPath() string {
	return filepath.Join(c.deps.DataDir, "cloudtrail-"+url.PathEscape(c.cfg.Instance)+".read")
}
