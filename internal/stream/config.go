package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// DefaultPartitions is the partition count of topics that name none.
const DefaultPartitions = 4

// ErrEmbedded is returned by Open when the configuration asks for the embedded
// broker and nobody in this process has started one.
var ErrEmbedded = errors.New("kafka: embedded works only in `leastwise up`; give brokers")

// Config says where Kafka is. In YAML it is either the word `embedded` or a
// mapping; see UnmarshalYAML.
type Config struct {
	// Embedded asks for the broker in this process. The all-in-one command
	// starts it (package broker) and puts its address into Brokers.
	Embedded bool `yaml:"embedded"`
	// DataDir is where the embedded broker keeps its logs. Empty: memory only.
	DataDir string `yaml:"data_dir"`
	// SyncWrites makes the embedded broker fsync each batch before it
	// acknowledges. True unless the YAML says otherwise. A killed process
	// loses nothing either way; a machine that loses power does without it.
	SyncWrites bool `yaml:"sync_writes"`
	// Listen is the embedded broker's address. Default 127.0.0.1:0. It has no
	// authentication, so keep it on loopback.
	Listen string `yaml:"listen"`

	// Brokers are host:port addresses to start from.
	Brokers []string `yaml:"brokers"`
	// TLS, when present, encrypts every connection. `tls: {}` uses the
	// system's roots.
	TLS *TLS `yaml:"tls"`
	// SASL, when present, authenticates every connection.
	SASL *SASL `yaml:"sasl"`
	// Partitions is the count for topics that ask for none. Default 4.
	Partitions int `yaml:"partitions"`
	// ReplicationFactor of topics created here. Default 1 embedded, else 3.
	ReplicationFactor int `yaml:"replication_factor"`
}

// TLS names files; no key material sits in the configuration.
type TLS struct {
	CAFile     string `yaml:"ca_file"`     // PEM; empty: the system's roots
	CertFile   string `yaml:"cert_file"`   // PEM; with KeyFile, for mutual TLS
	KeyFile    string `yaml:"key_file"`    // PEM
	ServerName string `yaml:"server_name"` // empty: the broker's host name
}

// SASL authenticates with a password that is read from a file.
type SASL struct {
	Mechanism    string `yaml:"mechanism"` // plain, scram-sha-256 or scram-sha-512
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// UnmarshalYAML takes `embedded` or a mapping of the keys above.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var either any
	if err := unmarshal(&either); err != nil {
		return err
	}
	if word, ok := either.(string); ok {
		if word != "embedded" {
			return fmt.Errorf("kafka: got %q, want `embedded` or a mapping with `brokers`", word)
		}
		*c = Config{Embedded: true, SyncWrites: true}
		return nil
	}
	type keys Config // without this method
	k := keys{SyncWrites: true}
	if err := unmarshal(&k); err != nil {
		return err
	}
	*c = Config(k)
	return c.Validate()
}

// Validate reports the first thing that is wrong, naming its key. It reads no
// files and opens no connections.
func (c Config) Validate() error {
	if !c.Embedded && len(c.Brokers) == 0 {
		return errors.New("kafka: brokers is empty: give host:port addresses, or `kafka: embedded`")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("kafka: brokers: %q is not host:port", b)
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("kafka: listen: %q is not host:port", c.Listen)
		}
	}
	if c.Partitions < 0 {
		return fmt.Errorf("kafka: partitions: %d is negative", c.Partitions)
	}
	if c.ReplicationFactor < 0 {
		return fmt.Errorf("kafka: replication_factor: %d is negative", c.ReplicationFactor)
	}
	if t := c.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("kafka: tls: cert_file and key_file go together")
	}
	if s := c.SASL; s != nil {
		switch {
		case !knownMechanism(s.Mechanism):
			return fmt.Errorf("kafka: sasl: mechanism %q: want plain, scram-sha-256 or scram-sha-512", s.Mechanism)
		case s.Username == "":
			return errors.New("kafka: sasl: username is empty")
		case s.PasswordFile == "":
			return errors.New("kafka: sasl: password_file is empty")
		}
	}
	return nil
}

func knownMechanism(m string) bool {
	switch m {
	case "plain", "scram-sha-256", "scram-sha-512":
		return true
	}
	return false
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = DefaultPartitions
	}
	if c.ReplicationFactor == 0 {
		c.ReplicationFactor = 3
		if c.Embedded {
			c.ReplicationFactor = 1
		}
	}
	return c
}

func (t *TLS) load() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: tls: ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka: tls: ca_file: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: tls: cert_file and key_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func (s *SASL) load() (sasl.Mechanism, error) {
	if s == nil {
		return nil, nil
	}
	raw, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("kafka: sasl: password_file: %w", err)
	}
	password := strings.TrimRight(string(raw), "\r\n")
	var m sasl.Mechanism
	switch s.Mechanism {
	case "scram-sha-256":
		m, err = scram.Mechanism(scram.SHA256, s.Username, password)
	case "scram-sha-512":
		m, err = scram.Mechanism(scram.SHA512, s.Username, password)
	default:
		m = plain.Mechanism{Username: s.Username, Password: password}
	}
	if err != nil {
		// The library's text may quote what it could not prepare.
		return nil, errors.New("kafka: sasl: the password in password_file can not be used with " + s.Mechanism)
	}
	return m, nil
}
