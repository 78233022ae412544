package ssf

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config is the `enforcer.ssf` section. Without receivers nothing is sent.
type Config struct {
	// Issuer is the URL that tokens are signed as, and under which the
	// configuration and the keys are served: https, but for loopback.
	Issuer string `yaml:"issuer"`
	// KeyFile is the PEM of the signing key: P-256 (ES256) or RSA of 2048 bits
	// and more (RS256).
	KeyFile string `yaml:"key_file"`
	// FormerKeyFiles are PEMs of keys that were in use before; they are served
	// and sign nothing.
	FormerKeyFiles []string `yaml:"former_key_files"`
	// Listen is where /.well-known/ssf-configuration, the keys and the poll
	// endpoints are served. Empty: not served.
	Listen string `yaml:"listen"`
	// TLSCertFile and TLSKeyFile serve it over TLS. Without them Listen has to
	// be loopback, behind a proxy.
	TLSCertFile string `yaml:"tls_cert_file"`
	TLSKeyFile  string `yaml:"tls_key_file"`
	// Receivers of events.
	Receivers []Receiver `yaml:"receivers"`
	// Timeout of one push. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// GiveUp is how long a receiver may take to accept an event. Default 24h.
	GiveUp time.Duration `yaml:"give_up"`
}

// Receiver is one stream: push or poll.
type Receiver struct {
	// Name of the receiver: letters, digits, dash and dot. Part of the poll
	// endpoint's path.
	Name string `yaml:"name"`
	// Audience is the `aud` of its tokens.
	Audience string `yaml:"audience"`
	// Events it gets: session-revoked, credential-change. Default both.
	Events []string `yaml:"events"`
	Push   *Push    `yaml:"push"`
	Poll   *Poll    `yaml:"poll"`
}

// Push delivers by RFC 8935.
type Push struct {
	// URL of the receiver: https, but for loopback.
	URL string `yaml:"url"`
	// AuthorizationFile holds the whole Authorization header, such as
	// "Bearer …". Read before each push. Empty: none is sent.
	AuthorizationFile string `yaml:"authorization_file"`
	// CAFile is the PEM of the receiver's CA. Empty: the system's roots.
	CAFile string `yaml:"ca_file"`
}

// Poll delivers by RFC 8936.
type Poll struct {
	// BearerFile holds the token by which the receiver shows itself. Read at
	// each poll.
	BearerFile string `yaml:"bearer_file"`
}

var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// Validate says which key is wrong; it reads no files.
func (c Config) Validate() error {
	if len(c.Receivers) == 0 {
		if c.Issuer != "" || c.KeyFile != "" || c.Listen != "" {
			return errors.New("receivers: give at least one, or leave the section out")
		}
		return nil
	}
	if err := secureURL(c.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	switch {
	case strings.ContainsAny(c.Issuer, "?#"):
		return fmt.Errorf("issuer %q: no query and no fragment belong there", c.Issuer)
	case c.KeyFile == "":
		return errors.New("key_file is missing: make one with `openssl ecparam -name prime256v1 -genkey -noout`")
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		return errors.New("tls_cert_file and tls_key_file go together")
	case c.Timeout < 0 || c.GiveUp < 0:
		return errors.New("timeout and give_up can not be negative")
	case c.Listen != "" && c.TLSCertFile == "" && !loopback(c.Listen):
		return fmt.Errorf("listen %q: give tls_cert_file and tls_key_file, or a loopback address behind a proxy", c.Listen)
	}
	seen := map[string]bool{}
	for i, r := range c.Receivers {
		if err := r.validate(c.Listen); err != nil {
			return fmt.Errorf("receivers[%d]: %w", i, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("receivers[%d]: name %q is there twice", i, r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

func (r Receiver) validate(listen string) error {
	switch {
	case !names.MatchString(r.Name):
		return fmt.Errorf("name %q: want letters, digits, dashes and dots", r.Name)
	case r.Audience == "":
		return errors.New("audience is missing")
	case (r.Push == nil) == (r.Poll == nil):
		return errors.New("give one of push and poll")
	case r.Poll != nil && r.Poll.BearerFile == "":
		return errors.New("poll: bearer_file is missing")
	case r.Poll != nil && listen == "":
		return errors.New("poll: give ssf.listen, where the receiver asks")
	}
	for _, e := range r.Events {
		if !slices.Contains(shortNames, e) {
			return fmt.Errorf("events: %q is none of %s", e, strings.Join(shortNames, ", "))
		}
	}
	if r.Push != nil {
		if err := secureURL(r.Push.URL); err != nil {
			return fmt.Errorf("push.url: %w", err)
		}
	}
	return nil
}

func secureURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q: want https://host", text)
	case u.User != nil:
		return errors.New("no password belongs there")
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		return fmt.Errorf("%q: http is for loopback alone", text)
	}
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) withDefaults() Config {
	c.Issuer = strings.TrimSuffix(c.Issuer, "/")
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.GiveUp == 0 {
		c.GiveUp = 24 * time.Hour
	}
	return c
}
