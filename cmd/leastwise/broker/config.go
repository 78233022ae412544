package broker

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is the `broker` section of the configuration file.
type Config struct {
	// Listen is host:port of POST /v1/issue.
	Listen string `yaml:"listen"`
	// CertFile and KeyFile are its own certificate (PEM).
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// TrustBundleFile holds the authorities (PEM) of the trust domain whose SVIDs are taken.
	TrustBundleFile string `yaml:"trust_bundle_file"`
	TrustDomain     string `yaml:"trust_domain"`
	// OIDC takes bearer tokens, too.
	OIDC  *OIDCConfig `yaml:"oidc"`
	Vault VaultConfig `yaml:"vault"`
	// WrapTTL is how long a wrapped answer waits to be unwrapped (default 2m).
	WrapTTL time.Duration `yaml:"wrap_ttl"`
	// ApproveWithin is how long a request waits for approval (default 24h).
	ApproveWithin time.Duration `yaml:"approve_within"`
	// Offers say what each agent may ask for at all.
	Offers []Offer `yaml:"offers"`
}

// OIDCConfig names who signs bearer tokens.
type OIDCConfig struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// Claim that holds what the catalog has as agent_id (default sub).
	Claim string `yaml:"claim"`
}

// VaultConfig is the Vault that issues.
type VaultConfig struct {
	Instance  string `yaml:"instance"` // in keys (default "default")
	Address   string `yaml:"address"`
	CAFile    string `yaml:"ca_file"`
	Namespace string `yaml:"namespace"`
	// TokenFile holds the broker's own token; it is read at each request, so that another program may renew it.
	TokenFile string `yaml:"token_file"`
	// TokenRole is the token role by which tokens are made.
	TokenRole string `yaml:"token_role"`
	// PKIMount is where certificates are issued (default pki).
	PKIMount string `yaml:"pki_mount"`
}

// Offer is what some agents may ask for.
type Offer struct {
	// Agents by the catalog's ids; "*" for all that the catalog knows.
	Agents []string `yaml:"agents"`
	// Policies of Vault that they may hold.
	Policies []string `yaml:"policies"`
	// Rules below which a policy may be written for them.
	Rules []Rule `yaml:"rules"`
	// Certificates that they may have.
	Certificates []Certificate `yaml:"certificates"`
}

// Rule is a path of Vault, with * at its end for everything below, and what may be done there.
type Rule struct {
	Path         string   `yaml:"path" json:"path"`
	Capabilities []string `yaml:"capabilities" json:"capabilities"`
}

// Certificate is a role of the PKI and the names that may be asked of it.
type Certificate struct {
	Role  string   `yaml:"role"`
	Names []string `yaml:"names"`
}

// Validate refuses what can not be meant.
func (c *Config) Validate() error {
	if c.Listen == "" {
		return nil // there is no broker
	}
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(c.CertFile != "" && c.KeyFile != "", "cert_file and key_file: missing; tokens never travel in plain text")
	need(c.TrustBundleFile != "" || c.OIDC != nil, "trust_bundle_file or oidc: missing; nobody could sign in")
	need((c.TrustBundleFile == "") == (c.TrustDomain == ""), "trust_bundle_file and trust_domain: expected both or none")
	if c.OIDC != nil {
		need(c.OIDC.Issuer != "" && c.OIDC.Audience != "", "oidc: expected issuer and audience")
	}
	u, err := url.Parse(c.Vault.Address)
	need(err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http"), "vault.address: expected http(s)://host:port")
	need(c.Vault.TokenFile != "", "vault.token_file: missing")
	need(c.WrapTTL >= 0 && c.ApproveWithin >= 0, "wrap_ttl, approve_within: expected durations above 0")
	need(len(c.Offers) > 0, "offers: missing; nobody could ask for anything")
	for i, o := range c.Offers {
		need(len(o.Agents) > 0, "offers[%d].agents: missing", i)
		need(!slices.Contains(o.Policies, "root"), "offers[%d].policies: root is never issued", i)
		need(len(o.Policies)+len(o.Rules) == 0 || c.Vault.TokenRole != "", "offers[%d]: vault.token_role is missing; tokens are made by it", i)
		for _, r := range o.Rules {
			need(r.Path != "" && len(r.Capabilities) > 0 && !strings.ContainsAny(r.Path, "+{}\"\\\n") && !strings.Contains(strings.TrimSuffix(r.Path, "*"), "*"),
				"offers[%d].rules: expected a path with at most one * at its end, and capabilities", i)
		}
		for _, x := range o.Certificates {
			need(x.Role != "" && len(x.Names) > 0, "offers[%d].certificates: expected role and names", i)
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.WrapTTL == 0 {
		c.WrapTTL = 2 * time.Minute
	}
	if c.ApproveWithin == 0 {
		c.ApproveWithin = 24 * time.Hour
	}
	if c.Vault.Instance == "" {
		c.Vault.Instance = "default"
	}
	if c.Vault.PKIMount == "" {
		c.Vault.PKIMount = "pki"
	}
	if c.OIDC != nil && c.OIDC.Claim == "" {
		oidc := *c.OIDC
		oidc.Claim = "sub"
		c.OIDC = &oidc
	}
	return c
}
