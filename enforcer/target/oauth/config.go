package oauth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/vault/kv"
)

// Ways in which a client shows itself.
const (
	authBasic = "client_secret_basic" // RFC 6749, section 2.3.1
	authJWT   = "private_key_jwt"     // RFC 7523, section 2.2
	authTLS   = "tls_client_auth"     // RFC 8705, section 2
)

// Config of one authorization server. Secrets come from files.
type Config struct {
	// Instance is the name in credential keys, jwtregistry/INSTANCE/…; it has
	// to be the collector's. Default "default".
	Instance string `yaml:"instance"`
	// Issuer is the server's issuer identifier: https, but for loopback. Its
	// metadata is read from there (RFC 8414, else OpenID Connect Discovery).
	Issuer string `yaml:"issuer"`
	// RevocationEndpoint, IntrospectionEndpoint and JWKSURI win over the
	// metadata, for servers that have none.
	RevocationEndpoint    string `yaml:"revocation_endpoint"`
	IntrospectionEndpoint string `yaml:"introspection_endpoint"`
	JWKSURI               string `yaml:"jwks_uri"`
	// Client as which the enforcer asks and revokes.
	Client Client `yaml:"client"`
	// Clients that may revoke their own tokens alone, as RFC 7009, section 2.1
	// wants it: the one that the token was issued to is used for its tokens.
	Clients []Client `yaml:"clients"`
	// TokenSource is where tokens are found by id.
	TokenSource TokenSource `yaml:"token_source"`
	// CAFile is the PEM of the server's CA; empty: the system's roots.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the PEMs of the enforcer's own certificate.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Timeout of one request. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Client of the authorization server.
type Client struct {
	ID string `yaml:"id"`
	// Auth is client_secret_basic (default), private_key_jwt or
	// tls_client_auth.
	Auth string `yaml:"auth"`
	// SecretFile holds the secret; read at each request.
	SecretFile string `yaml:"secret_file"`
	// PrivateKeyFile is the PEM of the key that signs assertions: P-256
	// (ES256) or RSA (RS256).
	PrivateKeyFile string `yaml:"private_key_file"`
	// KeyID is the assertion's kid. Empty: none.
	KeyID string `yaml:"key_id"`
	// AssertionAudience is the assertion's aud. Default: the issuer.
	AssertionAudience string `yaml:"assertion_audience"`
}

// TokenSource is where a token is found by its id: one of the three.
type TokenSource struct {
	// Directory holds one file a credential: TYPE/HASH, where TYPE is jwt or
	// refresh_token and HASH the SHA-256 of its id in hex. Mode 0600.
	Directory string `yaml:"directory"`
	// Vault holds the same below a KV version 2 prefix.
	Vault *kv.Config `yaml:"vault"`
	// ID: the issuer takes the id itself in place of the token. Never where
	// whoever knows the id can use the token.
	ID bool `yaml:"id"`
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
	if err := secureURL(c.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	for name, text := range map[string]string{"revocation_endpoint": c.RevocationEndpoint, "introspection_endpoint": c.IntrospectionEndpoint, "jwks_uri": c.JWKSURI} {
		if text == "" {
			continue
		}
		if err := secureURL(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance %q holds a slash", c.Instance)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("cert_file and key_file go together")
	case c.Timeout < 0:
		return errors.New("timeout is negative")
	}
	if err := c.Client.validate(c.CertFile); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	seen := map[string]bool{}
	for i, client := range c.Clients {
		if err := client.validate(c.CertFile); err != nil {
			return fmt.Errorf("clients[%d]: %w", i, err)
		}
		if seen[client.ID] {
			return fmt.Errorf("clients[%d]: id %q is there twice", i, client.ID)
		}
		seen[client.ID] = true
	}
	return c.TokenSource.validate()
}

func (c Client) validate(cert string) error {
	switch {
	case c.ID == "":
		return errors.New("id is missing")
	case (c.Auth == "" || c.Auth == authBasic) && c.SecretFile == "":
		return errors.New("secret_file is missing")
	case c.Auth == authJWT && c.PrivateKeyFile == "":
		return errors.New("private_key_file is missing")
	case c.Auth == authTLS && cert == "":
		return errors.New("tls_client_auth needs cert_file and key_file")
	case c.Auth != "" && c.Auth != authBasic && c.Auth != authJWT && c.Auth != authTLS:
		return fmt.Errorf("auth %q is none of %s, %s, %s", c.Auth, authBasic, authJWT, authTLS)
	}
	return nil
}

func (s TokenSource) validate() error {
	n := 0
	for _, given := range []bool{s.Directory != "", s.Vault != nil, s.ID} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		return errors.New("token_source: give one of directory, vault and id")
	case s.Directory != "" && !filepath.IsAbs(s.Directory):
		return fmt.Errorf("token_source.directory %q: give an absolute path", s.Directory)
	case s.Vault != nil:
		if err := s.Vault.Validate(); err != nil {
			return fmt.Errorf("token_source.vault: %w", err)
		}
	}
	return nil
}

// secureURL: what is sent there are tokens.
func secureURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q: want https://host", text)
	case u.User != nil:
		return errors.New("no password belongs there")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q: no query and no fragment belong there", text)
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("%q: tokens are sent there, so http is for loopback alone", text)
	}
	return nil
}
