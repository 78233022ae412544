// Package storetest gives tests a ClickHouse database of their own, in the one
// embedded engine that a test process may have.
package storetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/store"
)

var (
	mu     sync.Mutex
	engine *chdb.Engine
	serial atomic.Int64
)

const dirPrefix = "leastwise-store-"

// Engine is the process's engine, started by the first test that asks. It runs
// until the process ends, since it does not bear being restarted often; its
// directory is removed by the next process that comes here. The test is
// skipped, with what to run, when the library is missing.
func Engine(t testing.TB) *chdb.Engine {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if engine != nil {
		return engine
	}
	removeStale()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		t.Fatal(err)
	}
	e, err := chdb.Open(dir, os.Getenv("LEASTWISE_LIBCHDB"))
	if err != nil {
		_ = os.RemoveAll(dir)
		var missing *chdb.ErrNoLibrary
		if errors.As(err, &missing) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	engine = e
	return e
}

// removeStale removes the directories of test processes that have ended. A
// living one holds its directory's lock; a directory that has no lock yet is
// left alone.
func removeStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		if chdb.Unused(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

// Config is a configuration of a database that no other test uses. Migrate
// creates it.
func Config(t testing.TB) store.Config {
	t.Helper()
	return store.Config{
		Embedded:  true,
		Transport: Engine(t).Transport(),
		Database:  fmt.Sprintf("test_%d_%d", os.Getpid(), serial.Add(1)),
	}
}

// New opens a database that exists and is empty.
func New(t testing.TB) *store.DB {
	t.Helper()
	cfg := Config(t)
	admin := cfg
	admin.Database = "default"
	create := open(t, admin)
	if err := create.Exec(t.Context(), "CREATE DATABASE "+cfg.Database); err != nil {
		t.Fatal(err)
	}
	return open(t, cfg)
}

func open(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
