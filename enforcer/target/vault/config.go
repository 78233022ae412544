package vault

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config of one Vault or OpenBao. Secrets come from files.
type Config struct {
	// Instance is the name in credential keys; default "default". It has to be
	// the collector's.
	Instance string `yaml:"instance"`
	// Address such as https://vault.example:8200.
	Address string `yaml:"address"`
	// Namespace of Vault Enterprise; empty: root.
	Namespace string `yaml:"namespace"`
	// CAFile is the PEM of the server's CA; empty: the system's roots.
	CAFile string `yaml:"ca_file"`
	// TokenFile holds a Vault token; it is read again when the token ends.
	TokenFile string `yaml:"token_file"`
	// AppRole logs in instead of TokenFile.
	AppRole *AppRole `yaml:"approle"`
	// AuditDevice is the path of the audit device whose log the collector
	// reads, such as "file" (default). Hashed accessors are looked up with it.
	AuditDevice string `yaml:"audit_device"`
	// HashesPerSecond bounds calls of sys/audit-hash. Default 500.
	HashesPerSecond int `yaml:"hashes_per_second"`
	// PKIMounts at which certificates may be revoked. Default: pki.
	PKIMounts []string `yaml:"pki_mounts"`
	// CertificateDirectory holds certificates of roles with no_store, which
	// Vault can revoke with their PEM alone: one file SERIAL.pem each, such as
	// 4d-4f-9a.pem, mode 0600. Empty: such certificates can not be revoked.
	CertificateDirectory string `yaml:"certificate_directory"`
	// AppRoleMounts whose roles may be narrowed. Default: approle.
	AppRoleMounts []string `yaml:"approle_mounts"`
	// RoleTTLs are other roles whose TTLs may be brought within policy. Default:
	// none.
	RoleTTLs RoleTTLs `yaml:"role_ttls"`
	// Reissue says how right-sized credentials are given back.
	Reissue ReissueConfig `yaml:"reissue"`
	// Timeout of one request. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// RoleTTLs names roles that have no path for each setting, as AppRole's have.
// The policy lets the enforcer write nothing but their TTLs all the same.
type RoleTTLs struct {
	// PKIMounts are mounts of PKI, DatabaseMounts those of databases.
	PKIMounts      []string `yaml:"pki_mounts"`
	DatabaseMounts []string `yaml:"database_mounts"`
	// Token roles: auth/token/roles.
	Token bool `yaml:"token"`
}

// AppRole is where the enforcer's own login comes from.
type AppRole struct {
	Mount        string `yaml:"mount"` // default approle
	RoleIDFile   string `yaml:"role_id_file"`
	SecretIDFile string `yaml:"secret_id_file"`
}

// ReissueConfig is how new credentials are made and delivered. Without a
// delivery nothing is re-issued: a credential nobody receives is a risk only.
type ReissueConfig struct {
	// TokenRole is the token role that new tokens are created through; it has
	// to allow policies leastwise-* only and to make orphans (the doctor prints
	// the command). Default "leastwise".
	TokenRole string `yaml:"token_role"`
	// MaxTTL bounds the TTL of new tokens. Default 1h.
	MaxTTL time.Duration `yaml:"max_ttl"`
	// WrapTTL is how long the receiver has to unwrap. Default 1h.
	WrapTTL time.Duration `yaml:"wrap_ttl"`
	// Directory gets one file <agent>.json (mode 0600) with the wrapping token.
	Directory string `yaml:"directory"`
	// WebhookURLFile holds a URL that gets the same JSON by POST, instead of
	// Directory. https only, but for loopback.
	WebhookURLFile string `yaml:"webhook_url_file"`
}

// InstanceName is Instance with its default.
func (c Config) InstanceName() string {
	if c.Instance == "" {
		return "default"
	}
	return c.Instance
}

// Validate says which key is wrong; it reads no files.
func (c Config) Validate() error {
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("address %q: want http://host:port or https://host:port", c.Address)
	case u.User != nil:
		return errors.New("address: no password belongs there")
	case (c.TokenFile == "") == (c.AppRole == nil):
		return errors.New("give one of token_file and approle")
	case c.AppRole != nil && (c.AppRole.RoleIDFile == "" || c.AppRole.SecretIDFile == ""):
		return errors.New("approle: give role_id_file and secret_id_file")
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance %q holds a slash", c.Instance)
	case c.HashesPerSecond < 0:
		return errors.New("hashes_per_second is negative")
	case c.Timeout < 0 || c.Reissue.MaxTTL < 0 || c.Reissue.WrapTTL < 0:
		return errors.New("timeout, reissue.max_ttl and reissue.wrap_ttl can not be negative")
	case c.Reissue.Directory != "" && c.Reissue.WebhookURLFile != "":
		return errors.New("reissue: give one of directory and webhook_url_file")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Instance = c.InstanceName()
	if c.AuditDevice == "" {
		c.AuditDevice = "file"
	}
	c.AuditDevice = strings.Trim(c.AuditDevice, "/")
	if c.HashesPerSecond == 0 {
		c.HashesPerSecond = 500
	}
	if len(c.PKIMounts) == 0 {
		c.PKIMounts = []string{"pki"}
	}
	if len(c.AppRoleMounts) == 0 {
		c.AppRoleMounts = []string{"approle"}
	}
	c.PKIMounts, c.AppRoleMounts = trimmed(c.PKIMounts), trimmed(c.AppRoleMounts)
	c.RoleTTLs.PKIMounts, c.RoleTTLs.DatabaseMounts = trimmed(c.RoleTTLs.PKIMounts), trimmed(c.RoleTTLs.DatabaseMounts)
	if c.Reissue.TokenRole == "" {
		c.Reissue.TokenRole = "leastwise"
	}
	if c.Reissue.MaxTTL == 0 {
		c.Reissue.MaxTTL = time.Hour
	}
	if c.Reissue.WrapTTL == 0 {
		c.Reissue.WrapTTL = time.Hour
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.AppRole != nil && c.AppRole.Mount == "" {
		own := *c.AppRole
		own.Mount = "approle"
		c.AppRole = &own
	}
	return c
}

func trimmed(mounts []string) []string {
	list := make([]string, len(mounts))
	for i, m := range mounts {
		list[i] = strings.TrimPrefix(strings.Trim(m, "/"), "auth/")
	}
	return list
}
