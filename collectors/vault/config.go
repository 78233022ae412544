package vault

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Config is the section vault_collector. One collector reads one audit device of one Vault node; the nodes of a cluster
// share an instance name.
type Config struct {
	// Instance names the Vault cluster in keys: vault/INSTANCE/token/... Default "default".
	Instance string `yaml:"instance"`
	// File is the path of the audit log (device type "file", format json). Rotated siblings are found by themselves.
	File string `yaml:"file"`
	// Backlog reads rotated siblings too at the very first start. Default false.
	Backlog bool `yaml:"backlog"`
	// Socket listens for an audit device of type "socket": tcp://HOST:PORT or unix:///PATH. Records that Vault sends
	// while the collector is down are lost: use it beside a file device.
	Socket string `yaml:"socket"`
	// Prefix is the device's option of that name. Default none.
	Prefix string `yaml:"prefix"`
	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Inventory asks Vault itself for what the log does not say. Optional.
	Inventory *InventoryConfig `yaml:"inventory"`
}

// InventoryConfig says how to ask Vault. Its token needs: sudo and list on auth/token/accessors, update on
// auth/token/lookup-accessor and on sys/audit-hash/DEVICE; read on sys/policies/acl/* for scope; read on sys/auth, sys/mounts
// and sys/mounts/*, and list and read on the roles of each mount that issues by roles; list on identity/entity-alias/id for
// identities; sudo and list on sys/leases/lookup/* for leases. What it may not read it names.
type InventoryConfig struct {
	// Address of Vault, such as https://vault.example.org:8200. CAFile verifies it; default the system's.
	Address string `yaml:"address"`
	CAFile  string `yaml:"ca_file"`
	// Namespace for Vault Enterprise. Default the root namespace.
	Namespace string `yaml:"namespace"`
	// TokenFile holds a token, read anew before each round. Or AppRole logs in with two files.
	TokenFile string   `yaml:"token_file"`
	AppRole   *AppRole `yaml:"approle"`
	// Device is the name of the audit device that File or Socket belongs to, as `vault audit list` shows it without the
	// slash. Needed where the device hashes accessors.
	Device string `yaml:"device"`
	// HMACAccessor is the device's option: true, false, or auto (default): told by the first accessor in the log.
	HMACAccessor string `yaml:"hmac_accessor"`
	// Interval between rounds. Default 1h. Rate bounds calls of Vault a second. Default 50.
	Interval time.Duration `yaml:"interval"`
	Rate     int           `yaml:"rate"`
	// Leases lists leases too; needs sudo. Default false.
	Leases bool `yaml:"leases"`
	// SecretIDs lists the secret ids of AppRoles, by accessor, as credentials of their own; needs list on
	// auth/MOUNT/role/+/secret-id and update on auth/MOUNT/role/+/secret-id-accessor/lookup. Default false.
	SecretIDs bool `yaml:"secret_ids"`
	// AppRoleMounts are mounts of AppRole, without auth/: their roles are listed even if the token may not ask which mounts
	// there are. Default: approle.
	AppRoleMounts []string `yaml:"approle_mounts"`
	// OwnRoles are roles whose changes of roles and policies are right: the enforcer's. Default: enforcer-of-leastwise.
	OwnRoles []string `yaml:"own_roles"`
	// Accepted are changed roles and policies that somebody looked at: NAME@FINGERPRINT, as the finding says it.
	Accepted []string `yaml:"accepted"`
}

// AppRole logs in with a role.
type AppRole struct {
	// Mount of the auth method. Default "approle".
	Mount        string `yaml:"mount"`
	RoleIDFile   string `yaml:"role_id_file"`
	SecretIDFile string `yaml:"secret_id_file"`
}

func (c Config) withDefaults() Config {
	c.Instance = cmp.Or(c.Instance, "default")
	c.BatchRecords = cmp.Or(c.BatchRecords, 10_000)
	c.BatchWait = cmp.Or(c.BatchWait, 200*time.Millisecond)
	c.Heartbeat = cmp.Or(c.Heartbeat, 30*time.Second)
	if c.Inventory != nil {
		inventory := *c.Inventory
		inventory.HMACAccessor = cmp.Or(inventory.HMACAccessor, "auto")
		inventory.Interval = cmp.Or(inventory.Interval, time.Hour)
		inventory.Rate = cmp.Or(inventory.Rate, 50)
		if len(inventory.AppRoleMounts) == 0 {
			inventory.AppRoleMounts = []string{"approle"}
		}
		mounts := make([]string, len(inventory.AppRoleMounts))
		for n, mount := range inventory.AppRoleMounts {
			mounts[n] = strings.TrimPrefix(strings.Trim(mount, "/"), "auth/")
		}
		inventory.AppRoleMounts = mounts
		if len(inventory.OwnRoles) == 0 {
			inventory.OwnRoles = []string{"enforcer-of-leastwise"}
		}
		c.Inventory = &inventory
	}
	return c
}

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	if c == (Config{}) { // the section is missing: New says so if the collector is wanted
		return nil
	}
	if c.File == "" && c.Socket == "" {
		return errors.New("set file (path of the audit log) or socket (tcp://HOST:PORT or unix:///PATH)")
	}
	if c.File != "" && c.Socket != "" {
		return errors.New("set file or socket, not both: one collector reads one audit device")
	}
	if c.Socket != "" {
		if _, _, err := socketAddress(c.Socket); err != nil {
			return err
		}
	}
	if len(c.Prefix) > 128 {
		return fmt.Errorf("prefix: has %d bytes, at most 128", len(c.Prefix))
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
	switch {
	case c.Address == "":
		return errors.New("address: set the URL of Vault, such as https://vault.example.org:8200")
	case (c.TokenFile == "") == (c.AppRole == nil):
		return errors.New("set either token_file or approle")
	case c.AppRole != nil && (c.AppRole.RoleIDFile == "" || c.AppRole.SecretIDFile == ""):
		return errors.New("approle: set role_id_file and secret_id_file")
	case c.HMACAccessor != "" && c.HMACAccessor != "auto" && c.HMACAccessor != "true" && c.HMACAccessor != "false":
		return fmt.Errorf("hmac_accessor: %q is not one of auto, true, false", c.HMACAccessor)
	case c.HMACAccessor == "true" && c.Device == "":
		return errors.New("device: set the name of the audit device, which hashes accessors")
	case c.Interval < 0 || c.Rate < 0:
		return errors.New("interval and rate must not be negative")
	}
	return nil
}

func socketAddress(text string) (network, address string, err error) {
	network, address, ok := strings.Cut(text, "://")
	switch {
	case ok && network == "unix" && address != "":
		return network, address, nil
	case ok && network == "tcp":
		if _, _, err := net.SplitHostPort(address); err == nil {
			return network, address, nil
		}
	}
	return "", "", fmt.Errorf("socket: %q is not tcp://HOST:PORT or unix:///PATH", text)
}
