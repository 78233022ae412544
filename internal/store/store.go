package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// The client's types, so that callers need not import it.
type (
	Conn  = driver.Conn
	Batch = driver.Batch
	Rows  = driver.Rows
	Row   = driver.Row
)

// DB is a pool of connections to one database. It is safe for concurrent use;
// its methods are clickhouse-go's.
type DB struct {
	driver.Conn
	cfg  Config
	opts *clickhouse.Options
	log  *slog.Logger
}

// Open reads the files that cfg names and returns a pool. It does not connect:
// whether the server is there, Ping says.
func Open(_ context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	if cfg.Embedded && cfg.Transport == nil {
		return nil, ErrEmbedded
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Database == "" {
		cfg.Database = DefaultDatabase
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	return &DB{Conn: conn, cfg: cfg, opts: opts, log: log}, nil
}

func options(cfg Config) (*clickhouse.Options, error) {
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	password, err := cfg.password()
	if err != nil {
		return nil, err
	}
	o := &clickhouse.Options{
		Addr:            cfg.Addr,
		Auth:            clickhouse.Auth{Database: cfg.Database, Username: cfg.Username, Password: password},
		TLS:             tlsConfig,
		Compression:     &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		DialTimeout:     5 * time.Second,
		ReadTimeout:     5 * time.Minute,
		MaxOpenConns:    16,
		MaxIdleConns:    8,
		ConnMaxLifetime: time.Hour,
	}
	if cfg.Protocol == "http" {
		o.Protocol = clickhouse.HTTP
	}
	if cfg.Embedded {
		o.Protocol = clickhouse.HTTP
		o.Addr = []string{"embedded:0"} // a name for messages; nothing resolves it
		o.Compression = nil             // the same process: bytes cost less than work
		o.TransportFunc = func(*http.Transport) (http.RoundTripper, error) { return cfg.Transport, nil }
	}
	return o, nil
}

// Database is the name of the database.
func (d *DB) Database() string { return d.cfg.Database }

// Cluster is the cluster's name, empty without one.
func (d *DB) Cluster() string { return d.cfg.Cluster }

// WithSettings returns a context whose queries run with these settings, such
// as insert_deduplication_token or max_execution_time.
func WithSettings(ctx context.Context, settings map[string]any) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(settings))
}

// Named binds a value to {name:Type} in a query.
func Named(name string, value any) any { return clickhouse.Named(name, value) }

// Codes of the engine's errors that callers distinguish.
const (
	CodeUnknownTable    = 60
	CodeUnknownDatabase = 81
)

// ErrorCode is the engine's code of err, or 0 when the engine did not answer,
// which is when trying again later may help.
func ErrorCode(err error) int {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		return int(ex.Code)
	}
	return 0
}
