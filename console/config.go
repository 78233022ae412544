package console

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/signin"
)

const (
	// DefaultListen is where the console answers in `leastwise up` unless told otherwise: to this machine alone.
	DefaultListen = "127.0.0.1:9465"
	// NoListen as an address runs no console.
	NoListen = "none"

	defaultSession = 12 * time.Hour
	defaultRate    = 50
)

// Config is the `console` section of the configuration file.
type Config struct {
	// Listen is host:port of the page and its API, or "none". Default DefaultListen.
	Listen string `yaml:"listen"`
	// URL is the address under which people reach it, where that is not Listen: a proxy's, say.
	URL string `yaml:"url"`
	// TLS, when present, encrypts. It is required beyond loopback, unless URL is a proxy's that does it.
	TLS *TLSConfig `yaml:"tls"`
	// OIDC is where people sign in. Default: with one-time links, on this machine alone.
	OIDC *OIDCConfig `yaml:"oidc"`
	// Roles says who may do what; who is not in it may do nothing.
	Roles []RoleConfig `yaml:"roles"`
	// Session is how long one stays signed in (default 12 h).
	Session time.Duration `yaml:"session"`
	// Rate is how often one session may ask a second (default 50).
	Rate int `yaml:"rate"`
	// ClickHouse is a user that may only read. Default: that of the section clickhouse.
	ClickHouse *ReaderConfig `yaml:"clickhouse"`
}

// TLSConfig names files; no key material sits in the configuration.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile: machines may sign in with certificates of these CAs that carry a SPIFFE ID.
	ClientCAFile string `yaml:"client_ca_file"`
}

// OIDCConfig is an OpenID provider.
type OIDCConfig struct {
	Issuer   string `yaml:"issuer"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFile holds the secret and nothing else. Default none: a public client, by PKCE alone.
	ClientSecretFile string `yaml:"client_secret_file"`
	// Scopes beside openid (default profile, email, groups).
	Scopes []string `yaml:"scopes"`
	// NameClaim is who somebody is (default email, if verified; else the subject).
	NameClaim string `yaml:"name_claim"`
	// GroupsClaim holds a person's groups (default groups).
	GroupsClaim string `yaml:"groups_claim"`
	// CAFile is the CA that signed the provider's certificate (default: the system's roots).
	CAFile string `yaml:"ca_file"`
}

// RoleConfig gives roles to whoever fits it.
type RoleConfig struct {
	Group    string   `yaml:"group"`
	Name     string   `yaml:"name"`
	SPIFFEID string   `yaml:"spiffe_id"`
	Roles    []string `yaml:"roles"`
	// Owners are ids of the catalog: with the role owner, theirs is what these own.
	Owners []string `yaml:"owners"`
}

// ReaderConfig is a user of ClickHouse.
type ReaderConfig struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// Validate reports the first thing that is wrong. It reads no files and opens no connections.
func (c Config) Validate() error {
	if c.Listen != "" && c.Listen != NoListen {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("listen: %q is not host:port", c.Listen)
		}
	}
	u, err := c.url()
	if err != nil {
		return err
	}
	if t := c.TLS; t != nil && (t.CertFile == "" || t.KeyFile == "") {
		return errors.New("tls: cert_file and key_file are both needed")
	}
	if o := c.OIDC; o != nil {
		issuer, err := url.Parse(o.Issuer)
		switch {
		case err != nil || issuer.Host == "" || o.ClientID == "":
			return errors.New("oidc: issuer (a URL) and client_id are both needed")
		case issuer.Scheme != "https" && !loopback(issuer.Host):
			return errors.New("oidc: issuer: it has to be https")
		}
	}
	for i, r := range c.Roles {
		given := 0
		for _, s := range []string{r.Group, r.Name, r.SPIFFEID} {
			if s != "" {
				given++
			}
		}
		if given != 1 {
			return fmt.Errorf("roles[%d]: give one of group, name and spiffe_id", i)
		}
		if len(r.Roles) == 0 {
			return fmt.Errorf("roles[%d]: roles is empty", i)
		}
		for _, role := range r.Roles {
			if !slices.Contains(signin.Roles, role) {
				return fmt.Errorf("roles[%d]: %q; expected %s", i, role, strings.Join(signin.Roles, ", "))
			}
		}
		if r.SPIFFEID != "" && !strings.HasPrefix(r.SPIFFEID, "spiffe://") {
			return fmt.Errorf("roles[%d]: spiffe_id: %q; expected it to begin with spiffe://", i, r.SPIFFEID)
		}
	}
	if c.Session < 0 || c.Rate < 0 {
		return errors.New("session and rate can not be negative")
	}
	if c.ClickHouse != nil && c.ClickHouse.Username == "" {
		return errors.New("clickhouse: username is empty")
	}
	if c.Listen != "" && c.Listen != NoListen && !loopback(c.Listen) {
		if c.TLS == nil && (u == nil || u.Scheme != "https") {
			return errors.New("listen: beyond loopback, give tls, or as url the https address of the proxy before it")
		}
		if c.OIDC == nil && (c.TLS == nil || c.TLS.ClientCAFile == "") {
			return errors.New("listen: beyond loopback, say who may sign in: oidc, or tls.client_ca_file")
		}
	}
	return nil
}

func (c Config) url() (*url.URL, error) {
	if c.URL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("url: %q; expected one such as https://leastwise.example.org, without a path", c.URL)
	}
	return u, nil
}

// loopback tells whether host or host:port is this machine alone.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) grants() []signin.Grant {
	grants := make([]signin.Grant, len(c.Roles))
	for i, r := range c.Roles {
		grants[i] = signin.Grant{Group: r.Group, Name: r.Name, SPIFFEID: r.SPIFFEID, Roles: r.Roles, Owners: r.Owners}
	}
	return grants
}

func (t *TLSConfig) load() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("console: tls: cert_file and key_file: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if t.ClientCAFile != "" {
		if cfg.ClientCAs, err = pool(t.ClientCAFile); err != nil {
			return nil, fmt.Errorf("console: tls: client_ca_file: %w", err)
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

func pool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
}

// options of the sign-in, with the files that the section names.
func (o *OIDCConfig) options(base string, grants []signin.Grant) (signin.OIDCOptions, error) {
	out := signin.OIDCOptions{Issuer: o.Issuer, ClientID: o.ClientID, Redirect: base + "/auth/callback", Scopes: o.Scopes, NameClaim: o.NameClaim,
		GroupsClaim: o.GroupsClaim, Grants: grants}
	if out.Scopes == nil {
		out.Scopes = []string{"profile", "email", "groups"}
	}
	if out.NameClaim == "" {
		out.NameClaim = "email"
	}
	if out.GroupsClaim == "" {
		out.GroupsClaim = "groups"
	}
	if o.ClientSecretFile != "" {
		raw, err := os.ReadFile(o.ClientSecretFile)
		if err != nil {
			return out, fmt.Errorf("console: oidc: client_secret_file: %w", err)
		}
		out.ClientSecret = strings.TrimRight(string(raw), "\r\n")
	}
	if o.CAFile != "" {
		roots, err := pool(o.CAFile)
		if err != nil {
			return out, fmt.Errorf("console: oidc: ca_file: %w", err)
		}
		out.Client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, Proxy: http.ProxyFromEnvironment}}
	}
	return out, nil
}
