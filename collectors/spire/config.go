package spire

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Config is the section spire_collector. One collector reads the log of one SPIRE server; the servers of one trust
// domain's cluster share an instance name.
type Config struct {
	// Instance names the SPIRE server or cluster in keys: spire/INSTANCE/x509_svid/... Default "default".
	Instance string `yaml:"instance"`
	// File is the path of the server's log (log_file in its configuration), in JSON or text. Set audit_log_enabled = true
	// there, and log_level = "DEBUG" for serials. Rotated siblings are found by themselves.
	File string `yaml:"file"`
	// Backlog reads rotated siblings too at the very first start. Default false.
	Backlog bool `yaml:"backlog"`
	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Inventory asks the server itself for what the log does not say. Optional.
	Inventory *InventoryConfig `yaml:"inventory"`
}

// InventoryConfig says how to ask the server. Over the admin socket everything may be read; over TLS the collector's
// SPIFFE ID has to be an administrator's: an entry with admin: true, or one of the server's admin_ids.
type InventoryConfig struct {
	// Address of the server: unix:///PATH of its admin socket, or HOST:PORT.
	Address string `yaml:"address"`
	// TrustDomain of the server, which has to show spiffe://TRUST_DOMAIN/spire/server. Needed with HOST:PORT.
	TrustDomain string `yaml:"trust_domain"`
	// WorkloadAPI is the socket of the SPIRE agent that gives the collector its SVID: unix:///PATH. Or an SVID in files,
	// which are read anew for each connection, with the trust domain's bundle.
	WorkloadAPI string `yaml:"workload_api"`
	CertFile    string `yaml:"cert_file"`
	KeyFile     string `yaml:"key_file"`
	BundleFile  string `yaml:"bundle_file"`
	// Interval between rounds. Default 10m. Timeout of one round. Default 2m.
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
}

func (c Config) withDefaults() Config {
	fallback(&c.Instance, "default")
	fallback(&c.BatchRecords, 10_000)
	fallback(&c.BatchWait, 200*time.Millisecond)
	fallback(&c.Heartbeat, 30*time.Second)
	if c.Inventory != nil {
		inventory := *c.Inventory
		fallback(&inventory.Interval, 10*time.Minute)
		fallback(&inventory.Timeout, 2*time.Minute)
		c.Inventory = &inventory
	}
	return c
}

func fallback[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	if c == (Config{}) { // the section is missing: New says so if the collector is wanted
		return nil
	}
	if c.File == "" {
		return errors.New("file: set the path of the SPIRE server's log (log_file in its configuration)")
	}
	if c.MaxRecordBytes < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0 {
		return errors.New("max_record_bytes, batch_records, batch_wait and heartbeat must not be negative")
	}
	if c.Inventory != nil {
		if err := c.Inventory.validate(); err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
	}
	return nil
}

func (c InventoryConfig) validate() error {
	if c.Interval < 0 || c.Timeout < 0 {
		return errors.New("interval and timeout must not be negative")
	}
	if path, ok := strings.CutPrefix(c.Address, "unix://"); ok {
		if path == "" || path[0] != '/' {
			return fmt.Errorf("address: %q has no absolute path after unix://", c.Address)
		}
		if c.TrustDomain != "" || c.WorkloadAPI != "" || c.CertFile != "" || c.KeyFile != "" || c.BundleFile != "" {
			return errors.New("trust_domain, workload_api and the files are for HOST:PORT; the admin socket needs none of them")
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %q is neither unix:///PATH (the server's admin socket) nor HOST:PORT", c.Address)
	}
	files := 0
	for _, file := range []string{c.CertFile, c.KeyFile, c.BundleFile} {
		if file != "" {
			files++
		}
	}
	switch {
	case c.TrustDomain == "":
		return errors.New("trust_domain: set the server's trust domain, such as example.org")
	case c.WorkloadAPI != "" && files > 0 || c.WorkloadAPI == "" && files != 3:
		return errors.New("set either workload_api, or cert_file, key_file and bundle_file")
	}
	return nil
}
