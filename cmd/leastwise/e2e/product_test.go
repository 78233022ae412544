// Package e2e tests the whole product in one process: what must hold from the audit log to the tables, whatever fails in
// between.
//
// The product runs as `leastwise up` runs it, but for Kafka and ClickHouse, which the tests keep outside of it, behind
// ports of their own, so that they can be taken away.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
)

// product is one installation: a directory, a Kafka, a ClickHouse, and the process between them.
type product struct {
	t      *testing.T
	dir    string
	log    string // the audit log that is collected
	cfg    allinone.Config
	env    daemon.Env
	output *output
	kafka  *kafka
	door   *door
	db     *store.DB // past the door: sees what is there even while the product is shut out

	stop func()
	over chan struct{} // closed when the process has ended
	err  error         // valid once over is closed
}

// patience is how long a test waits for what must come; it says nothing about how long that may take.
const patience = 90 * time.Second

func newProduct(t *testing.T, partitions int) *product {
	t.Helper()
	p := &product{t: t, dir: t.TempDir(), output: &output{}}
	p.log = filepath.Join(p.dir, "audit.log")
	p.append(nil)
	p.kafka = &kafka{t: t, addr: freeAddr(t), dir: filepath.Join(p.dir, "kafka")}
	t.Cleanup(p.kafka.stop)
	clickhouse := storetest.Config(t)
	p.door = newDoor(t, storetest.Engine(t).Handler())
	db, err := store.Open(t.Context(), clickhouse, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p.db = db
	p.cfg = allinone.Config{
		Common:         daemon.Common{DataDir: filepath.Join(p.dir, "data")},
		Kafka:          stream.Config{Brokers: []string{p.kafka.addr}, Partitions: partitions, ReplicationFactor: 1},
		ClickHouse:     store.Config{Addr: []string{p.door.addr}, Protocol: "http", Database: clickhouse.Database},
		VaultCollector: vault.Config{File: p.log, BatchWait: 20 * time.Millisecond},
		Processor:      processor.Config{Flush: 50 * time.Millisecond, Checkpoint: 200 * time.Millisecond, Tick: 100 * time.Millisecond},
	}
	return p
}

// start runs the process until the test ends, or stop is called.
func (p *product) start() {
	p.t.Helper()
	p.env = daemon.NewEnv("leastwise", slog.New(slog.NewJSONHandler(p.output, nil)))
	p.env.Listen = freeAddr(p.t)
	ctx, cancel := context.WithCancel(context.Background())
	p.over = make(chan struct{})
	over := p.over
	go func() {
		defer close(over)
		p.err = allinone.Run(ctx, p.cfg, p.env, allinone.Hooks{})
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-over
		if p.err != nil {
			p.t.Errorf("the process ended with: %v", p.err)
		}
	})
	p.t.Cleanup(func() {
		p.stop()
		if p.t.Failed() {
			p.t.Logf("what the product warned of last:\n%s", p.output.warnings(15))
		}
	})
}

// append lets Vault write to its audit log.
func (p *product) append(lines []byte) {
	p.t.Helper()
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(lines)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// until polls until holds says "", and fails with what it said last. The process must live all that time.
func (p *product) until(holds func() string) {
	p.t.Helper()
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		missing := holds()
		if missing == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-p.over:
			p.t.Fatalf("the process has ended (%v) while waiting: %s", p.err, missing)
		case <-limit.C:
			p.t.Fatalf("after %s: %s", patience, missing)
		}
	}
}

// number gives the answer to a query for one number; ok is false while the table is not there yet.
func (p *product) number(query string, args ...any) (n uint64, ok bool) {
	p.t.Helper()
	err := p.db.QueryRow(p.t.Context(), query, args...).Scan(&n)
	switch code := store.ErrorCode(err); {
	case err == nil:
		return n, true
	case code == store.CodeUnknownTable, code == store.CodeUnknownDatabase:
		return 0, false
	default:
		p.t.Fatalf("%s: %v", query, err)
		return 0, false
	}
}

func (p *product) untilNumber(want uint64, query string, args ...any) {
	p.t.Helper()
	p.until(func() string {
		if got, _ := p.number(query, args...); got != want {
			return fmt.Sprintf("%s %v\ngives %d, want %d", query, args, got, want)
		}
		return ""
	})
}

// get reads from the process's port.
func (p *product) get(path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.env.Listen+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// untilReadyzNames waits until /readyz says that dependency fails.
func (p *product) untilReadyzNames(dependency string) {
	p.t.Helper()
	p.until(func() string {
		status, body, err := p.get("/readyz")
		if err != nil {
			return fmt.Sprintf("/readyz does not answer: %v", err)
		}
		var answer struct {
			Dependencies map[string]struct{ OK bool }
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Sprintf("/readyz: %v", err)
		}
		if d, named := answer.Dependencies[dependency]; status != http.StatusServiceUnavailable || !named || d.OK {
			return fmt.Sprintf("/readyz answers %d and does not name %s: %s", status, dependency, body)
		}
		return ""
	})
	if status, _, err := p.get("/healthz"); err != nil || status != http.StatusOK {
		p.t.Errorf("/healthz answers %d, %v, while only a dependency is away", status, err)
	}
}

func (p *product) untilReady() {
	p.t.Helper()
	p.until(func() string {
		if status, body, err := p.get("/readyz"); err != nil || status != http.StatusOK {
			return fmt.Sprintf("/readyz answers %d, %v: %s", status, err, body)
		}
		return ""
	})
}

// kafka is a broker that always comes back at the same address with the same data.
type kafka struct {
	t    *testing.T
	addr string
	dir  string
	b    *broker.Broker
}

func (k *kafka) start() {
	k.t.Helper()
	b, err := broker.Start(context.Background(), broker.Config{DataDir: k.dir, Listen: k.addr})
	if err != nil {
		k.t.Fatal(err)
	}
	k.b = b
}

func (k *kafka) stop() {
	if k.b != nil {
		k.b.Close()
		k.b = nil
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// output keeps what is written to it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

// warnings are the last n lines that are more than information, each cut short.
func (o *output) warnings(n int) string {
	var lines []string
	for line := range strings.Lines(string(o.bytes())) {
		if !strings.Contains(line, `"level":"INFO"`) {
			lines = append(lines, line[:min(len(line), 600)])
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
