package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
)

// versions is goose's table.
const versions = "goose_db_version"

// Markers in migrations. They are comments, so a migration runs as it is on a
// single server; with Config.Cluster they are replaced.
const (
	// OnCluster stands after the name of what a DDL statement names.
	OnCluster = "/*{on_cluster}*/"
	// Replicated stands directly before the name of a MergeTree engine.
	Replicated = "/*{replicated}*/"
)

// Migrate creates the database and applies the numbered goose .sql files at
// the root of migrations that were not applied yet. ClickHouse has no
// transactions over DDL: a migration that fails midway is tried again whole,
// so every statement must bear that (IF NOT EXISTS).
func (d *DB) Migrate(ctx context.Context, migrations fs.FS) error {
	if err := d.createDatabase(ctx); err != nil {
		return fmt.Errorf("clickhouse: create database %s: %w", d.cfg.Database, err)
	}
	opts := *d.opts
	if len(opts.Addr) > 1 {
		opts.Addr = opts.Addr[:1] // goose reads what it has just written
	}
	opts.MaxOpenConns, opts.MaxIdleConns = 1, 1
	db := clickhouse.OpenDB(&opts)
	defer db.Close()
	if d.cfg.Cluster != "" {
		if err := d.createVersions(ctx, db); err != nil {
			return fmt.Errorf("clickhouse: create table %s: %w", versions, err)
		}
	}
	p, err := goose.NewProvider(goose.DialectClickHouse, db, forCluster{migrations, d.cfg.Cluster},
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(d.log))
	if err != nil {
		return fmt.Errorf("clickhouse: read migrations: %w", err)
	}
	results, err := p.Up(ctx)
	for _, r := range results {
		d.log.Info("clickhouse: migrated", "migration", path.Base(r.Source.Path), "took", r.Duration)
	}
	if err != nil {
		return fmt.Errorf("clickhouse: migrate: %w", err)
	}
	return nil
}

func (d *DB) createDatabase(ctx context.Context) error {
	opts := *d.opts
	opts.Auth.Database = "default" // ours can not be named before it exists
	conn, err := clickhouse.Open(&opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, expand("CREATE DATABASE IF NOT EXISTS `"+d.cfg.Database+"` "+OnCluster, d.cfg.Cluster))
}

// createVersions makes goose's table on every node of the cluster, with the
// columns goose gives it and the first row it expects. Without this each node
// would remember only the migrations that were sent through it.
func (d *DB) createVersions(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, expand(versionsDDL, d.cfg.Cluster)); err != nil {
		return err
	}
	var n uint64
	if err := db.QueryRowContext(ctx, "SELECT count() FROM "+versions).Scan(&n); err != nil || n > 0 {
		return err
	}
	_, err := db.ExecContext(ctx, "INSERT INTO "+versions+" (version_id, is_applied) VALUES (0, 1)")
	return err
}

const versionsDDL = "CREATE TABLE IF NOT EXISTS " + versions + " " + OnCluster + ` (
	version_id Int64,
	is_applied UInt8,
	date Date DEFAULT now(),
	tstamp DateTime DEFAULT now()
) ENGINE = ` + Replicated + "MergeTree ORDER BY version_id"

// expand replaces the markers; without a cluster they vanish.
func expand(text, cluster string) string {
	on, replicated := "", ""
	if cluster != "" {
		on, replicated = "ON CLUSTER '"+cluster+"'", "Replicated"
	}
	return strings.NewReplacer(OnCluster, on, Replicated, replicated).Replace(text)
}

// forCluster is a file system whose .sql files have their markers replaced.
type forCluster struct {
	fs.FS
	cluster string
}

func (f forCluster) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return file, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		return file, nil
	}
	raw, rerr := io.ReadAll(file)
	if err := errors.Join(err, rerr, file.Close()); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	text := expand(string(raw), f.cluster)
	return &sqlFile{strings.NewReader(text), sqlInfo{info, int64(len(text))}}, nil
}

// ReadDir keeps fs.Glob working for file systems that list only through it.
func (f forCluster) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.FS, name) }

type sqlFile struct {
	*strings.Reader
	info sqlInfo
}

func (f *sqlFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (*sqlFile) Close() error                 { return nil }

type sqlInfo struct {
	fs.FileInfo
	size int64
}

func (i sqlInfo) Size() int64 { return i.size }
