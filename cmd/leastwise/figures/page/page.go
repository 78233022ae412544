// Package page measures the page that people open, and its API, on the product's own server: a fleet of 100,000 credentials
// with 5,000,000 events in the embedded ClickHouse, made from a seed (fleet.sql), exceptions in the embedded Kafka, and the
// console as `leastwise console` runs it. Collectors, processor and enforcer are not there: what they would have written is.
//
// Measure takes a few minutes, most of it reading, and leaves nothing behind in the end but the caller's directory. What a
// figure says exactly stands in its note.
package page

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/migrations"
)

// Options of a measurement.
type Options struct {
	Dir         string // scratch space; removed by the caller
	Web         string // the folder console/web of a checkout, with its node_modules
	Seed        int
	Credentials int
	Events      int
	Users       int
	For         time.Duration // how long readers read
	Only        []string      // "browser", "api"; all without
	Serve       bool          // measure nothing: print a link and serve until ctx ends
	Progress    func(format string, args ...any)
}

func (o *Options) wants(part string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, part) }

// Figure is one measured value. Without a budget it only tells.
type Figure struct {
	Name   string
	Value  float64
	Unit   string
	Budget float64 // at most; 0: none
	Note   string
}

var errDone = errors.New("all is measured")

// Measure makes the fleet, starts the console, and measures.
func Measure(ctx context.Context, opts Options) (figures []Figure, err error) {
	env := daemon.NewEnv("bench-page", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	env.Listen = daemon.NoListen
	cfg := allinone.Config{
		Common:     daemon.Common{DataDir: filepath.Join(opts.Dir, "data")},
		Kafka:      stream.Config{Embedded: true, Partitions: partitions},
		ClickHouse: store.Config{Embedded: true},
		Policies:   processor.PoliciesConfig{Dir: filepath.Join(opts.Dir, "policies")},
		Console:    console.Config{Listen: "127.0.0.1:0", Rate: 10_000},
	}
	if err := os.MkdirAll(cfg.Policies.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("write policies: %w", err)
	}
	for name, text := range policies {
		if err := os.WriteFile(filepath.Join(cfg.Policies.Dir, name+".yaml"), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write policies: %w", err)
		}
	}
	engines, err := allinone.OpenEngines(ctx, &cfg, env)
	if err != nil {
		return nil, err
	}
	defer engines.Close()
	if err := prepare(ctx, engines, opts); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = allinone.ServeConsole(ctx, cfg, env, engines, allinone.Hooks{Console: func(base, link string) {
		go func() {
			var failed error
			figures, failed = measure(ctx, opts, &cfg, base, link)
			if failed == nil {
				failed = errDone
			}
			cancel(failed)
		}()
	}})
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, errDone) {
		err = cause
	}
	return figures, err
}

func prepare(ctx context.Context, engines *allinone.Engines, opts Options) error {
	begin := time.Now()
	opts.Progress("making %d credentials with %d events", opts.Credentials, opts.Events)
	if err := processor.EnsureTopics(ctx, engines.Stream); err != nil {
		return err
	}
	if err := engines.Store.Migrate(ctx, migrations.FS); err != nil {
		return err
	}
	exceptions, err := fill(ctx, engines.Store, opts)
	if err != nil {
		return err
	}
	var messages []stream.Message
	for _, e := range exceptions {
		value, err := e.MarshalVT()
		if err != nil {
			return err
		}
		messages = append(messages, stream.Message{Topic: schemas.TopicExceptions, Key: []byte(e.Id), Value: value})
	}
	if err := engines.Stream.Publish(ctx, messages...); err != nil {
		return fmt.Errorf("make the fleet: %w", err)
	}
	opts.Progress("… took %.0f s", time.Since(begin).Seconds())
	return nil
}

func measure(ctx context.Context, opts Options, cfg *allinone.Config, base, link string) ([]Figure, error) {
	site, err := visit(ctx, base, filepath.Join(cfg.DataDir, console.SocketFile))
	if err != nil {
		return nil, err
	}
	if opts.Serve {
		opts.Progress("open %s", link)
		<-ctx.Done()
		return nil, errDone
	}
	var figures []Figure
	if opts.wants("browser") {
		measured, err := browse(ctx, opts, link)
		if err != nil {
			return nil, err
		}
		figures = append(figures, measured...)
	}
	if opts.wants("api") {
		measured, err := site.load(ctx, opts)
		if err != nil {
			return nil, err
		}
		figures = append(figures, measured...)
	}
	return figures, nil
}
