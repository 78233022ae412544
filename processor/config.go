package processor

import (
	"errors"
	"time"
)

// Config of the processor. Zero values mean the defaults named here.
type Config struct {
	// Flush is how long event rows may wait before they are written (default 1s). Up to five times as
	// long while writing takes more than a thirtieth of the time.
	Flush time.Duration `yaml:"flush"`
	// Checkpoint is how long the state of changed credentials may wait before it is written and the offset committed
	// (default 10s). Up to six times as long while writing takes more than a thirtieth of the
	// time. A crash replays at most that much.
	Checkpoint time.Duration `yaml:"checkpoint"`
	// Heartbeat is how often a standing violation is decided and published again (default 1m). The enforcer revokes
	// only on a decision younger than its own limit.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Tick is how exact deadlines are (default 1s).
	Tick time.Duration `yaml:"tick"`
	// Observation is how far back use justifies scope (default 30d): what a credential last used before counts as unused,
	// and is not given back to it.
	Observation time.Duration `yaml:"observation"`
	// RememberedIDs is how many event ids a partition holds in memory to tell repeats (default 1000000); older ones are
	// looked up in ClickHouse.
	RememberedIDs int `yaml:"remembered_ids"`
	// BatchRows is how many event rows are written at the latest (default 50000).
	BatchRows int `yaml:"batch_rows"`
	// Clusters says which Kubernetes cluster an authority speaks for (default: none known), so that a service account that
	// several of them name is known to be one: an auth mount of Vault (vault/INSTANCE/auth/MOUNT), the issuer of the
	// cluster's tokens, a trust domain of SPIRE (spire/DOMAIN, or spire/DOMAIN/CLUSTER as its agents attest).
	Clusters map[string]string `yaml:"clusters"`
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Flush, time.Second)
	set(&c.Checkpoint, 10*time.Second)
	set(&c.Heartbeat, time.Minute)
	set(&c.Tick, time.Second)
	set(&c.Observation, 30*24*time.Hour)
	if c.RememberedIDs == 0 {
		c.RememberedIDs = 1_000_000
	}
	if c.BatchRows == 0 {
		c.BatchRows = 50_000
	}
	return c
}

// Validate refuses values that can not work.
func (c Config) Validate() error {
	switch {
	case c.Flush < 0 || c.Checkpoint < 0 || c.Heartbeat < 0 || c.Tick < 0 || c.Observation < 0:
		return errors.New("a duration is negative; leave it out for its default")
	case c.RememberedIDs < 0 || c.BatchRows < 0:
		return errors.New("a count is negative; leave it out for its default")
	case c.BatchRows > 500_000:
		return errors.New("batch_rows: at most 500000, so that an INSERT stays one block and thereby atomic")
	}
	for authority, cluster := range c.Clusters {
		if authority == "" || cluster == "" {
			return errors.New("clusters: an authority or its cluster is empty; expected such as vault/default/auth/kubernetes: prod")
		}
	}
	return nil
}
