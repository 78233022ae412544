package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
)

// DefaultDatabase is the database when the configuration names none.
const DefaultDatabase = "leastwise"

// ErrEmbedded is returned by Open when the configuration asks for the embedded
// engine and nobody in this process has started one.
var ErrEmbedded = errors.New("clickhouse: embedded works only in `leastwise up`; give addr")

// Config says where ClickHouse is. In YAML it is either the word `embedded` or
// a mapping; see UnmarshalYAML.
type Config struct {
	// Embedded asks for the engine in this process.
	Embedded bool `yaml:"embedded"`
	// DataDir is where the embedded engine keeps its data.
	DataDir string `yaml:"data_dir"`
	// Listen is where the embedded engine answers ClickHouse's HTTP protocol
	// to other programs of this machine, such as Grafana, for reading. Empty:
	// nowhere.
	Listen string `yaml:"listen"`
	// Library is the path of libchdb. Empty: where `make libchdb` puts it.
	Library string `yaml:"library"`
	// Transport reaches the embedded engine. Set by whoever started it.
	Transport http.RoundTripper `yaml:"-"`

	// Addr are host:port addresses of servers, tried in order.
	Addr []string `yaml:"addr"`
	// Protocol is native (port 9000, default) or http (port 8123).
	Protocol string `yaml:"protocol"`
	// Database is created by Migrate. Default leastwise.
	Database string `yaml:"database"`
	Username string `yaml:"username"`
	// PasswordFile holds the password and nothing else.
	PasswordFile string `yaml:"password_file"`
	// TLS, when present, encrypts every connection.
	TLS *TLS `yaml:"tls"`
	// Cluster, when set, makes Migrate create everything ON CLUSTER with
	// Replicated engines.
	Cluster string `yaml:"cluster"`
}

// TLS names files; no key material sits in the configuration.
type TLS struct {
	CAFile     string `yaml:"ca_file"`     // PEM; empty: the system's roots
	CertFile   string `yaml:"cert_file"`   // PEM; with KeyFile, for mutual TLS
	KeyFile    string `yaml:"key_file"`    // PEM
	ServerName string `yaml:"server_name"` // empty: the server's host name
}

// UnmarshalYAML takes `embedded` or a mapping of the keys above.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var either any
	if err := unmarshal(&either); err != nil {
		return err
	}
	if word, ok := either.(string); ok {
		if word != "embedded" {
			return fmt.Errorf("clickhouse: got %q, want `embedded` or a mapping with `addr`", word)
		}
		*c = Config{Embedded: true}
		return nil
	}
	type keys Config // without this method
	var k keys
	if err := unmarshal(&k); err != nil {
		return err
	}
	*c = Config(k)
	return c.Validate()
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_.{}-]+$`)

// Validate reports the first thing that is wrong, naming its key. It reads no
// files and opens no connections.
func (c Config) Validate() error {
	if !c.Embedded && len(c.Addr) == 0 {
		return errors.New("clickhouse: addr is empty: give host:port addresses, or `clickhouse: embedded`")
	}
	if c.Embedded && (len(c.Addr) > 0 || c.Cluster != "") {
		return errors.New("clickhouse: embedded goes with neither addr nor cluster")
	}
	for _, a := range c.Addr {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("clickhouse: addr: %q is not host:port", a)
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("clickhouse: listen: %q is not host:port", c.Listen)
		}
	}
	switch c.Protocol {
	case "", "native", "http":
	default:
		return fmt.Errorf("clickhouse: protocol %q: want native or http", c.Protocol)
	}
	if c.Database != "" && !identifier.MatchString(c.Database) {
		return fmt.Errorf("clickhouse: database %q: want letters, digits and _", c.Database)
	}
	if c.Cluster != "" && !clusterName.MatchString(c.Cluster) {
		return fmt.Errorf("clickhouse: cluster %q: want letters, digits, _ . - or a {macro}", c.Cluster)
	}
	if c.PasswordFile != "" && c.Username == "" {
		return errors.New("clickhouse: password_file without username")
	}
	if t := c.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("clickhouse: tls: cert_file and key_file go together")
	}
	return nil
}

func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", nil
	}
	raw, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("clickhouse: password_file: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

func (t *TLS) load() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls: ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("clickhouse: tls: ca_file: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls: cert_file and key_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
