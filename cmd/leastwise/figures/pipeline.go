package figures

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// pipeline sends the log through collector, Kafka, processor and decisions into ClickHouse, all embedded, and takes the
// time until the last event's row is there.
func pipeline(ctx context.Context, opts Options, logFile string, _ fleet.AuditTruth) ([]figure, error) {
	want, err := distinctEvents(logFile)
	if err != nil {
		return nil, err
	}
	opts.Progress("sending %d events through the pipeline", want)
	env := daemon.NewEnv("bench", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	env.Listen = daemon.NoListen
	cfg := allinone.Config{
		Common:         daemon.Common{DataDir: filepath.Join(opts.Dir, "data")},
		Kafka:          stream.Config{Embedded: true, SyncWrites: true, Partitions: 4},
		ClickHouse:     store.Config{Embedded: true},
		VaultCollector: vault.Config{Instance: "bench", File: logFile},
		Policies:       processor.PoliciesConfig{Dir: filepath.Join(opts.Dir, "policies")},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var took time.Duration
	err = allinone.Run(ctx, cfg, env, allinone.Hooks{Ready: func(engines *allinone.Engines) {
		began := time.Now()
		go func() {
			cancel(waitForEvents(ctx, engines.Store, uint64(want), func() { took = time.Since(began) }))
		}()
	}})
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, errDone) {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	asked, err := counter(env.Metrics, "leastwise_processor_evaluations_total", "asked", "true")
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "file to ClickHouse, all embedded", value: float64(want) / took.Seconds(), unit: "events/s", budget: 30_000,
			note: fmt.Sprintf("%d events of %d credentials, 50 policies, %.1fs from ready to the last row", want, opts.Credentials, took.Seconds())},
		{name: "… OPA asked", value: 100 * asked / float64(want), unit: "% of events", budget: 1, atMost: true, note: "steady fleet"},
	}, nil
}

var errDone = errors.New("all events are there")

func waitForEvents(ctx context.Context, db *store.DB, want uint64, done func()) error {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		var n uint64
		if err := db.QueryRow(ctx, "SELECT count() FROM events").Scan(&n); err != nil { // counted from metadata
			return fmt.Errorf("count events: %w", err)
		}
		if n < want {
			if err := sleep(ctx, ticker); err != nil {
				return err
			}
			continue
		}
		if err := db.QueryRow(ctx, "SELECT count() FROM events WHERE position != 'derived'").Scan(&n); err != nil {
			return fmt.Errorf("count events: %w", err)
		}
		if n >= want {
			done()
			if n > want {
				return fmt.Errorf("%d event rows, but the log gives %d", n, want)
			}
			return errDone
		}
		if err := sleep(ctx, ticker); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, ticker *time.Ticker) error {
	select {
	case <-ticker.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writePolicies makes fifty policies as sites have them: thresholds that a steady fleet does not pass.
func writePolicies(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write policies: %w", err)
	}
	metrics := [][2]string{{"credential_age", "%dd"}, {"elevation_attempts", "%d"}, {"idle_time", "%dd"},
		{"permission_scope_complexity", "%d"}, {"lifetime", "%dd"}}
	for i := range 50 {
		metric := metrics[i%len(metrics)]
		text := fmt.Sprintf("policy_id: \"p%02d\"\nmetrics:\n  - {name: %s, source: vault, threshold: \"%s\", condition: greater_than}\n"+
			"  - {name: credential_age, source: vault, threshold: \"%dd\", condition: greater_than}\n"+
			"action:\n  - {severity: low, channel: team, remediation_hint: \"Rotate.\"}\n",
			i, metric[0], fmt.Sprintf(metric[1], 4000+10*i), 4000+i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("p%02d.yaml", i)), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write policies: %w", err)
		}
	}
	return nil
}

// counter reads a counter back, by one label.
func counter(reg *prometheus.Registry, name, label, value string) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if pair.GetName() == label && pair.GetValue() == value {
					return metric.GetCounter().GetValue(), nil
				}
			}
		}
	}
	return 0, nil
}
