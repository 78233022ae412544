package allinone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
)

// Engines are the broker and the database that run inside this process, where the configuration asks for them, and the
// clients of both.
type Engines struct {
	Stream *stream.Client
	Store  *store.DB
	// Reader is a pool of the same database that may only read.
	Reader *store.DB
	// Writable lets whoever may open the socket write, too: set before Serve by the crash test, which runs each component
	// in a process of its own beside these engines. Nothing else sets it.
	Writable bool

	engine *chdb.Engine
	close  []func() // run last-in first-out
}

// running is what other commands on this machine need to reach a running process: data_dir/running.json.
type running struct {
	Kafka []string `json:"kafka"`
}

const (
	runningFile = "running.json"
	socketFile  = "clickhouse.sock"
)

// OpenEngines starts the embedded engines that cfg names and opens the clients. Close ends them.
func OpenEngines(ctx context.Context, cfg *Config, env daemon.Env) (e *Engines, err error) {
	e = &Engines{}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if cfg.DataDir == "" {
		cfg.DataDir = DefaultDataDir
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := e.openStream(ctx, cfg, env); err != nil {
		return nil, err
	}
	if err := e.openStore(ctx, cfg, env); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Engines) openStream(ctx context.Context, cfg *Config, env daemon.Env) error {
	kafka := cfg.Kafka
	if kafka.Embedded {
		dir := kafka.DataDir
		if dir == "" {
			dir = filepath.Join(cfg.DataDir, "kafka")
		}
		b, err := broker.Start(ctx, broker.Config{DataDir: dir, SyncWrites: kafka.SyncWrites, Listen: kafka.Listen,
			Partitions: kafka.Partitions, Log: env.Log})
		if err != nil {
			return err
		}
		e.close = append(e.close, b.Close)
		kafka.Brokers, kafka.ReplicationFactor = b.Addrs(), 1
		if err := writeRunning(cfg.DataDir, running{Kafka: b.Addrs()}); err != nil {
			return err
		}
		e.close = append(e.close, func() { _ = os.Remove(filepath.Join(cfg.DataDir, runningFile)) })
	}
	client, err := stream.Open(ctx, kafka, env.Log)
	if err != nil {
		return err
	}
	e.close = append(e.close, func() { _ = client.Close() })
	e.Stream = client
	return nil
}

func (e *Engines) openStore(ctx context.Context, cfg *Config, env daemon.Env) error {
	clickhouse := cfg.ClickHouse
	if clickhouse.Embedded {
		dir := clickhouse.DataDir
		if dir == "" {
			dir = filepath.Join(cfg.DataDir, "clickhouse")
		}
		engine, err := chdb.Open(dir, clickhouse.Library)
		if err != nil {
			return err
		}
		e.engine = engine
		e.close = append(e.close, func() { _ = engine.Close() })
		clickhouse.Transport = engine.Transport()
	}
	db, err := store.Open(ctx, clickhouse, env.Log)
	if err != nil {
		return err
	}
	e.close = append(e.close, func() { _ = db.Close() })
	e.Store = db
	return e.openReader(ctx, cfg, clickhouse, env)
}

// openReader opens a pool for the console: of the embedded engine its read-only side, of a server the user that the console's
// section names.
func (e *Engines) openReader(ctx context.Context, cfg *Config, clickhouse store.Config, env daemon.Env) error {
	if e.engine != nil {
		clickhouse.Transport = e.engine.ReadOnlyTransport()
	} else if user := cfg.Console.ClickHouse; user != nil {
		clickhouse.Username, clickhouse.PasswordFile = user.Username, user.PasswordFile
	}
	reader, err := store.Open(ctx, clickhouse, env.Log)
	if err != nil {
		return err
	}
	e.close = append(e.close, func() { _ = reader.Close() })
	e.Reader = reader
	return nil
}

// Serve lets other programs of this machine read the embedded ClickHouse: the command line through a socket that only
// this user may open, and, if the configuration names a port, Grafana through that. It returns when ctx ends.
func (e *Engines) Serve(ctx context.Context, cfg *Config, env daemon.Env) error {
	if e.engine == nil {
		<-ctx.Done()
		return nil
	}
	parts := []func(context.Context) error{func(ctx context.Context) error { return e.serveSocket(ctx, cfg.DataDir) }}
	if addr := cfg.ClickHouse.Listen; addr != "" {
		parts = append(parts, func(ctx context.Context) error {
			return e.engine.Serve(ctx, addr, func(a net.Addr) { env.Log.Info("ClickHouse can be read", "address", a.String()) })
		})
	}
	return daemon.Together(ctx, parts...)
}

func (e *Engines) serveSocket(ctx context.Context, dataDir string) error {
	path := filepath.Join(dataDir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clickhouse socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("clickhouse socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("clickhouse socket: %w", err)
	}
	handler := e.engine.ReadOnly()
	if e.Writable {
		handler = e.engine.Handler()
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("clickhouse socket: %w", err)
	}
	return nil
}

// Close ends clients and engines, the last opened first.
func (e *Engines) Close() {
	for i := len(e.close) - 1; i >= 0; i-- {
		e.close[i]()
	}
	e.close = nil
}

func writeRunning(dataDir string, r running) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write %s: %w", runningFile, err)
	}
	if err := os.WriteFile(filepath.Join(dataDir, runningFile), text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", runningFile, err)
	}
	return nil
}

// Forget removes what a process that was killed left to say where its engines are. A caller that is about to start
// others, and to Attach to them, would otherwise be led to the old ones.
func Forget(dataDir string) error {
	for _, name := range []string{runningFile, socketFile} {
		if err := os.Remove(filepath.Join(dataDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a killed process left: %w", err)
		}
	}
	return nil
}

// ErrNotRunning says that the engines are embedded and no process runs them.
var ErrNotRunning = errors.New("the configuration says embedded, and `leastwise up` does not run with it")

// AttachKafka opens a client to the Kafka that runs already, embedded in another process of this machine or not.
func AttachKafka(ctx context.Context, cfg *Config, env daemon.Env) (*stream.Client, error) {
	if cfg.DataDir == "" {
		cfg.DataDir = DefaultDataDir
	}
	kafka := cfg.Kafka
	if kafka.Embedded {
		text, err := os.ReadFile(filepath.Join(cfg.DataDir, runningFile))
		if err != nil {
			return nil, fmt.Errorf("%w (no %s)", ErrNotRunning, filepath.Join(cfg.DataDir, runningFile))
		}
		var r running
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", runningFile, err)
		}
		kafka.Brokers = r.Kafka
	}
	return stream.Open(ctx, kafka, env.Log)
}

// Attach opens clients to what runs already, embedded in another process of this machine or not. It starts nothing.
func Attach(ctx context.Context, cfg *Config, env daemon.Env) (e *Engines, err error) {
	e = &Engines{}
	if e.Stream, err = AttachKafka(ctx, cfg, env); err != nil {
		return nil, err
	}
	e.close = append(e.close, func() { _ = e.Stream.Close() })
	clickhouse := cfg.ClickHouse
	if clickhouse.Embedded {
		socket := filepath.Join(cfg.DataDir, socketFile)
		clickhouse.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}
	}
	if e.Store, err = store.Open(ctx, clickhouse, env.Log); err != nil {
		e.Close()
		return nil, err
	}
	e.close = append(e.close, func() { _ = e.Store.Close() })
	if err = e.openReader(ctx, cfg, clickhouse, env); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}
