package grafana

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// top of the repository.
const top = "../../.."

// site is one `leastwise up --clickhouse-listen` for all tests of this package: a process may have one engine. It runs,
// full of data, from the first test that asks until the last has ended.
type site struct {
	dir    string
	addr   string // where ClickHouse can be read
	health string // where metrics are
	db     *store.DB
	bus    *stream.Client
	log    bytes.Buffer
	stop   func()
}

var (
	once   sync.Once
	shared *site
	failed error
)

func TestMain(m *testing.M) {
	_ = os.Getenv("HOUSE_RUN") // deploy and docs lie outside the module: makes the cache of results depend on it, see the Makefile
	code := m.Run()
	if shared != nil && shared.stop != nil {
		shared.stop()
	}
	storetest.Exit(code)
}

// running gives the site, and skips the test where the engine's library is missing.
func running(t *testing.T) *site {
	t.Helper()
	once.Do(func() { shared, failed = start() })
	var missing *chdb.ErrNoLibrary
	if errors.As(failed, &missing) {
		t.Skip(failed)
	}
	if failed != nil {
		t.Fatalf("%v\n%s", failed, shared.log.String())
	}
	return shared
}

func start() (*site, error) {
	s := &site{addr: freeAddr(), health: freeAddr()}
	var err error
	if s.dir, err = os.MkdirTemp("", "leastwise-grafana-"); err != nil {
		return s, err
	}
	audit := filepath.Join(s.dir, "audit.log")
	catalogFile := filepath.Join(s.dir, "catalog.yaml")
	var lines bytes.Buffer
	_, err = fleet.WriteAudit(&lines, fleet.AuditOptions{Seed: 5, Credentials: 40, Calls: 600, DeniedShare: 0.05, RenewShare: 0.03,
		RevokeShare: 0.01, ChildShare: 0.2, Malformed: 5, Start: time.Now().Add(-40 * time.Minute), Span: 30 * time.Minute})
	if err != nil {
		return s, err
	}
	if err := errors.Join(os.WriteFile(audit, lines.Bytes(), 0o600), os.WriteFile(catalogFile, []byte(catalogText), 0o600)); err != nil {
		return s, err
	}
	cfg := allinone.Config{
		Common:         daemon.Common{DataDir: filepath.Join(s.dir, "data")},
		Kafka:          stream.Config{Embedded: true, Partitions: 2},
		ClickHouse:     store.Config{Embedded: true, Listen: s.addr},
		VaultCollector: vault.Config{File: audit, BatchWait: 20 * time.Millisecond, Heartbeat: time.Second},
		Processor: processor.Config{Flush: 50 * time.Millisecond, Checkpoint: 200 * time.Millisecond, Tick: 100 * time.Millisecond,
			Heartbeat: 10 * time.Second},
		Policies: processor.PoliciesConfig{Dir: filepath.Join(top, "examples/policies")},
		Catalog:  processor.CatalogConfig{Path: catalogFile},
	}
	env := daemon.NewEnv("leastwise", slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	env.Listen = s.health
	ctx, cancel := context.WithCancel(context.Background())
	ready, over := make(chan *allinone.Engines, 1), make(chan error, 1)
	go func() {
		over <- allinone.Run(ctx, cfg, env, allinone.Hooks{Ready: func(e *allinone.Engines) { ready <- e }})
	}()
	s.stop = func() {
		cancel()
		<-over
		_ = os.RemoveAll(s.dir)
	}
	select {
	case err := <-over:
		over <- err
		return s, err
	case e := <-ready:
		s.db, s.bus = e.Store, e.Stream
	}
	return s, s.fill(ctx)
}

var errTooFew = errors.New("not all is there")

// until polls until a query gives at least want.
func (s *site) until(ctx context.Context, want uint64, query string) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var got uint64
		err := s.db.QueryRow(ctx, query).Scan(&got)
		if err == nil && got >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s gives %d, want %d: %w", query, got, want, cmp.Or(err, errTooFew))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}
