package jwtregistry

import (
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
)

// Config is the section jwtregistry_collector. One collector reads one registry: a file, an API or a topic.
type Config struct {
	// Instance names the registry in keys: jwtregistry/INSTANCE/jwt/... Default "default".
	Instance string `yaml:"instance"`
	// File is the path of JSON lines that grow. Rotated siblings are found by themselves.
	File string `yaml:"file"`
	// Backlog reads rotated siblings too at the very first start. Default false.
	Backlog bool `yaml:"backlog"`
	// API asks the registry over HTTP.
	API *APIConfig `yaml:"api"`
	// Topic reads records from Kafka.
	Topic *TopicConfig `yaml:"topic"`

	// Issuer is `iss` where a record names none.
	Issuer string `yaml:"issuer"`
	// KeycloakURL is the base URL of Keycloak, whose events name the realm alone.
	KeycloakURL string `yaml:"keycloak_url"`
	// VaultInstance is the instance of the vault source whose entities Vault's identity tokens name. Default "default".
	VaultInstance string `yaml:"vault_instance"`
	// JWKS verifies the signature of tokens that records hold whole. Optional.
	JWKS *JWKSConfig `yaml:"jwks"`
	// Introspection asks the issuer whether a token that a record holds whole is active. Optional.
	Introspection *IntrospectionConfig `yaml:"introspection"`

	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// APIConfig is a registry's HTTP API: GET URL answers with a page, a JSON object whose field records, items, events or
// tokens is an array of records, oldest first, or with the array itself.
type APIConfig struct {
	URL string `yaml:"url"`
	// Paging is how the next page is asked for: `cursor` (default): the answer's field next_cursor is given back as the
	// parameter cursor, and the last cursor is asked again until there is more; `since`: the parameter since is the time
	// of the newest record, less Overlap; `none`: the whole registry is one answer, asked for with its ETag.
	Paging string `yaml:"paging"`
	// CursorField and CursorParameter, if they are called otherwise. SinceParameter too.
	CursorField     string `yaml:"cursor_field"`
	CursorParameter string `yaml:"cursor_parameter"`
	SinceParameter  string `yaml:"since_parameter"`
	// SinceFormat is rfc3339 (default), unix or unix_ms.
	SinceFormat string `yaml:"since_format"`
	// Overlap is asked for again with `since`, for records that were written late. Default 5m.
	Overlap time.Duration `yaml:"overlap"`
	// TokenFile holds a bearer token, read anew for each round. Or ClientIDFile and ClientSecretFile for basic
	// authentication.
	TokenFile        string `yaml:"token_file"`
	ClientIDFile     string `yaml:"client_id_file"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// CAFile verifies the server; default the system's.
	CAFile string `yaml:"ca_file"`
	// Interval between rounds when there is nothing new. Default 10s.
	Interval time.Duration `yaml:"interval"`
	// MaxPageBytes is the largest answer that is read. Default 67108864.
	MaxPageBytes int64 `yaml:"max_page_bytes"`
}

// TopicConfig is a Kafka topic of records.
type TopicConfig struct {
	Name string `yaml:"name"`
	// Group is the consumer group. Default leastwise-jwtregistry-INSTANCE.
	Group string `yaml:"group"`
	// Kafka is the cluster. Default the one that events go to.
	Kafka *stream.Config `yaml:"kafka"`
}

// IntrospectionConfig is an endpoint of RFC 7662.
type IntrospectionConfig struct {
	URL string `yaml:"url"`
	// ClientIDFile and ClientSecretFile hold the credentials of a client that may introspect; read anew each time.
	ClientIDFile     string `yaml:"client_id_file"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// CAFile verifies the server; default the system's.
	CAFile string `yaml:"ca_file"`
	// Rate bounds calls a second, and with them how fast records are read. Default 50.
	Rate int `yaml:"rate"`
}

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	if c.empty() { // the section is missing: New says so if the collector is wanted
		return nil
	}
	n := 0
	for _, set := range []bool{c.File != "", c.API != nil, c.Topic != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return errors.New("set one of file, api and topic: one collector reads one registry")
	}
	if c.API != nil {
		if err := c.API.validate(); err != nil {
			return fmt.Errorf("api: %w", err)
		}
	}
	if c.Topic != nil && c.Topic.Name == "" {
		return errors.New("topic: set name")
	}
	if c.Topic != nil && c.Topic.Kafka != nil {
		if err := c.Topic.Kafka.Validate(); err != nil {
			return fmt.Errorf("topic: %w", err)
		}
	}
	if c.JWKS != nil {
		if err := c.JWKS.Validate(); err != nil {
			return fmt.Errorf("jwks: %w", err)
		}
	}
	if c.Introspection != nil {
		if err := c.Introspection.validate(); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
	}
	if c.MaxRecordBytes < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0 {
		return errors.New("max_record_bytes, batch_records, batch_wait and heartbeat can not be negative")
	}
	return nil
}

func (c Config) empty() bool {
	return c.Instance == "" && c.File == "" && c.API == nil && c.Topic == nil && c.JWKS == nil && c.Introspection == nil
}

func (c *APIConfig) validate() error {
	if err := checkURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch c.Paging {
	case "", "cursor", "since", "none":
	default:
		return fmt.Errorf("paging: %q is none of cursor, since, none", c.Paging)
	}
	switch c.SinceFormat {
	case "", "rfc3339", "unix", "unix_ms":
	default:
		return fmt.Errorf("since_format: %q is none of rfc3339, unix, unix_ms", c.SinceFormat)
	}
	if (c.ClientIDFile == "") != (c.ClientSecretFile == "") {
		return errors.New("client_id_file and client_secret_file go together")
	}
	if c.TokenFile != "" && c.ClientIDFile != "" {
		return errors.New("set token_file or client_id_file, not both")
	}
	if c.Overlap < 0 || c.Interval < 0 || c.MaxPageBytes < 0 {
		return errors.New("overlap, interval and max_page_bytes can not be negative")
	}
	return nil
}

func (c *IntrospectionConfig) validate() error {
	if err := checkURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if c.ClientIDFile == "" || c.ClientSecretFile == "" {
		return errors.New("set client_id_file and client_secret_file: an endpoint that answers everybody is no proof")
	}
	if c.Rate < 0 {
		return errors.New("rate can not be negative")
	}
	return nil
}
