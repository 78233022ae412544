package spire

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// What is done about SVIDs, and about agents.
const (
	// Shorten cuts the TTL of the entry that an SVID was issued by.
	Shorten = "shorten"
	// Delete deletes that entry.
	Delete = "delete"
	// Evict deletes an agent: it has to attest again.
	Evict = "evict"
	// Ban keeps an agent from attesting again.
	Ban = "ban"
)

// Config of one SPIRE server, or of the servers of one trust domain.
type Config struct {
	// Instance is the name in credential keys; default "default". It has to be
	// the collector's.
	Instance string `yaml:"instance"`
	// Address of the server: unix:///PATH of its admin socket, or HOST:PORT.
	Address string `yaml:"address"`
	// TrustDomain of the server, which has to show
	// spiffe://TRUST_DOMAIN/spire/server. Needed with HOST:PORT.
	TrustDomain string `yaml:"trust_domain"`
	// WorkloadAPI is the socket of the SPIRE agent that gives the enforcer its
	// SVID: unix:///PATH. Needed with HOST:PORT. The SVID has to be an
	// administrator's.
	WorkloadAPI string `yaml:"workload_api"`
	// SVID says what is done about a workload's SVID: shorten (default) or
	// delete.
	SVID string `yaml:"svid"`
	// ShortenX509TTL and ShortenJWTTTL are what TTLs are cut to. Default 1h, 5m.
	ShortenX509TTL time.Duration `yaml:"shorten_x509_ttl"`
	ShortenJWTTTL  time.Duration `yaml:"shorten_jwt_ttl"`
	// Agent says what is done about an agent's SVID: evict (default) or ban.
	Agent string `yaml:"agent"`
	// DefaultX509TTL and DefaultJWTTTL are the server's default_x509_svid_ttl
	// and default_jwt_svid_ttl, which its API does not tell. Default: unknown.
	DefaultX509TTL time.Duration `yaml:"default_x509_svid_ttl"`
	DefaultJWTTTL  time.Duration `yaml:"default_jwt_svid_ttl"`
	// Slack is added to computed times of exposure: for how long the server
	// may yet issue by what was deleted (its cache_reload_interval, 5s), and
	// by how much clocks differ. Default 1m.
	Slack time.Duration `yaml:"slack"`
	// RotationPause is how long the steps of a rotation wait for agents and
	// workloads to follow. Default 10m.
	RotationPause time.Duration `yaml:"rotation_pause"`
	// Timeout of one request. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// InstanceName is Instance with its default.
func (c Config) InstanceName() string {
	if c.Instance == "" {
		return "default"
	}
	return c.Instance
}

// Validate says which key is wrong.
func (c Config) Validate() error {
	for name, d := range map[string]time.Duration{"shorten_x509_ttl": c.ShortenX509TTL, "shorten_jwt_ttl": c.ShortenJWTTTL,
		"default_x509_svid_ttl": c.DefaultX509TTL, "default_jwt_svid_ttl": c.DefaultJWTTTL, "slack": c.Slack,
		"rotation_pause": c.RotationPause, "timeout": c.Timeout} {
		if d < 0 {
			return fmt.Errorf("%s: %s is negative", name, d)
		}
	}
	for name, d := range map[string]time.Duration{"shorten_x509_ttl": c.ShortenX509TTL, "shorten_jwt_ttl": c.ShortenJWTTTL} {
		if d%time.Second != 0 || d > 1<<31*time.Second-time.Second {
			return fmt.Errorf("%s: %s is not a whole number of seconds that SPIRE can hold", name, d)
		}
	}
	switch {
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance %q holds a slash", c.Instance)
	case c.SVID != "" && c.SVID != Shorten && c.SVID != Delete:
		return fmt.Errorf("svid: %q is neither shorten nor delete", c.SVID)
	case c.Agent != "" && c.Agent != Evict && c.Agent != Ban:
		return fmt.Errorf("agent: %q is neither evict nor ban", c.Agent)
	}
	if path, ok := strings.CutPrefix(c.Address, "unix://"); ok {
		switch {
		case path == "" || path[0] != '/':
			return fmt.Errorf("address: %q has no absolute path after unix://", c.Address)
		case c.WorkloadAPI != "":
			return errors.New("workload_api is for HOST:PORT; the admin socket needs no SVID")
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %q is neither unix:///PATH (the server's admin socket) nor HOST:PORT", c.Address)
	}
	switch {
	case c.TrustDomain == "":
		return errors.New("trust_domain: set the server's trust domain, such as example.org")
	case c.WorkloadAPI == "":
		return errors.New("workload_api: set the socket of the SPIRE agent that gives the enforcer its SVID, unix:///PATH")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Instance = c.InstanceName()
	if c.SVID == "" {
		c.SVID = Shorten
	}
	if c.Agent == "" {
		c.Agent = Evict
	}
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.ShortenX509TTL, time.Hour)
	set(&c.ShortenJWTTTL, 5*time.Minute)
	set(&c.Slack, time.Minute)
	set(&c.RotationPause, 10*time.Minute)
	set(&c.Timeout, 10*time.Second)
	return c
}
