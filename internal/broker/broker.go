// Package broker runs a Kafka broker in this process, for `leastwise up` and
// for tests: franz-go's kfake, which speaks Kafka's protocol to any client.
//
// With a data directory it keeps topics, records and committed offsets across
// restarts; a killed process loses nothing that was acknowledged, and with
// SyncWrites neither does a machine that loses power. Without a directory
// everything is in memory. It is one node, has no replicas and, unless a test
// asks for it, no authentication: keep it on loopback.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config of the embedded broker. The zero value is a broker in memory on a
// free loopback port.
type Config struct {
	DataDir    string // empty: memory only
	SyncWrites bool   // fsync each batch before it is acknowledged
	Listen     string // default 127.0.0.1:0
	Partitions int    // of topics created without a count; default 4

	TLS   *tls.Config // when set, clients must use TLS
	Users []User      // when set, clients must authenticate
	Log   *slog.Logger
}

// User may authenticate with SASL.
type User struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Name      string
	Password  string
}

// ErrInUse: another process has the data directory open.
var ErrInUse = errors.New("data directory is in use by another process")

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addrs   []string
	lock    *os.File
	once    sync.Once
}

// Start starts a broker, which runs until Close. The context bounds the start
// alone: at shutdown the components that flush to the broker must end first.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("leastwise"),
		kfake.DefaultNumPartitions(cfg.Partitions),
		// A batch is written and synced at once: the larger, the fewer. Clients
		// that do not know (package stream does) send at most half of it.
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2097152"}),
		// The library asks for 127.0.0.1 and a free port; we know better.
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, cfg.Listen) }),
		kfake.WithLogger(logger{cfg.Log}),
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &Broker{}
	if cfg.DataDir != "" {
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("embedded kafka: data directory: %w", err)
		}
		lock, err := lockDir(cfg.DataDir)
		if err != nil {
			return nil, fmt.Errorf("embedded kafka: %s: %w", cfg.DataDir, err)
		}
		b.lock = lock
		opts = append(opts, kfake.DataDir(cfg.DataDir))
		if cfg.SyncWrites {
			opts = append(opts, kfake.SyncWrites())
		}
	}
	if cfg.TLS != nil {
		opts = append(opts, kfake.TLS(cfg.TLS))
	}
	if len(cfg.Users) > 0 {
		opts = append(opts, kfake.EnableSASL())
		for _, u := range cfg.Users {
			opts = append(opts, kfake.Superuser(u.Mechanism, u.Name, u.Password))
		}
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		b.unlock()
		return nil, fmt.Errorf("embedded kafka: start on %s: %w", cfg.Listen, err)
	}
	b.cluster = cluster
	b.addrs = cluster.ListenAddrs()
	return b, nil
}

// Addrs are the addresses clients connect to.
func (b *Broker) Addrs() []string { return b.addrs }

// Compact compacts the compacted topics now instead of on the broker's timer.
func (b *Broker) Compact() { b.cluster.Compact() }

// Close stops the broker after it has written its state. Closing again is
// harmless.
func (b *Broker) Close() {
	b.once.Do(func() {
		b.cluster.Close()
		b.unlock()
	})
}

// lockDir keeps two processes from writing one log.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+"/.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

func (b *Broker) unlock() {
	if b.lock != nil {
		b.lock.Close()
	}
}

type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, msg string, args ...any) {
	to := slog.LevelDebug // the broker calls each request info
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if l.log.Enabled(context.Background(), to) {
		l.log.Log(context.Background(), to, strings.TrimSpace(fmt.Sprintf(msg, args...)), "part", "embedded kafka")
	}
}
