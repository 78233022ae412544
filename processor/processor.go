// Package processor turns credential events into state and decisions.
//
// It runs one worker a partition of leastwise.events. A worker applies each event once to its credential (package
// lifecycle), asks the policies when a threshold is crossed (package core), writes rows and state to ClickHouse (package
// record) and commits the Kafka offset only after both are there. Recovery is the ordinary path: see partition.go.
//
// It blocks, and thereby holds back its sources, while Kafka or ClickHouse is away. A crash at any instant loses nothing
// and counts nothing twice; it may publish a decision or a derived event again, which is harmless, because the one is
// keyed state and the other has a deterministic id.
package processor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
)

// Group is the Kafka consumer group of all processor instances.
const Group = "leastwise-processor"

// Deps are what a processor works with. It owns none of them.
type Deps struct {
	Env    daemon.Env
	Stream *stream.Client
	Store  *store.DB
	// Rules and Catalog give what is in force now; they may change between calls.
	Rules   func() *rego.Set
	Catalog func() *catalog.Catalog
}

// Processor is one instance.
type Processor struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	grants  *scope.Grants
	silence *silence.Tracker
	graph   *identity.Graph
	metrics *metrics
	ready   chan struct{} // closed when the facts were read to their end once
	// findingsEvery is how often certificates are compared with their issuers at most, and roles with the policies at least.
	findingsEvery time.Duration
	// reachEvery is how often it is looked at most where leaks lead, while that changes.
	reachEvery time.Duration
	// reachRest is how many times as long as that took it rests at least.
	reachRest time.Duration
	rolesTold chan struct{} // holds one when a role of Vault, what it gives, or an exception was told anew
}

// New checks the configuration. It opens nothing.
func New(cfg Config, deps Deps) (*Processor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("processor: %w", err)
	}
	return &Processor{cfg: cfg.withDefaults(), deps: deps, log: deps.Env.Log, grants: scope.NewGrants(), silence: silence.New(),
		graph: identity.New(), metrics: newMetrics(deps.Env.Metrics), ready: make(chan struct{}), findingsEvery: 30 * time.Second, reachEvery: 5 * time.Second, reachRest: 30,
		rolesTold: make(chan struct{}, 1)}, nil
}

// Run works until ctx ends (nil) or something happened that a retry can not mend.
func (p *Processor) Run(ctx context.Context) error {
	return daemon.Together(ctx,
		p.followFacts,
		func(ctx context.Context) error {
			select {
			case <-p.ready:
			case <-ctx.Done():
				return nil
			}
			return p.deps.Stream.Consume(ctx, Group, schemas.TopicEvents, p.partition)
		},
		p.recordHistory,
		p.recordIdentities,
		p.watchFindings,
		p.watchReach,
		p.watchHealth,
	)
}

// watchHealth keeps saying which dependency is well. Each has its own time to answer, so that one that hangs does not
// make the other look away.
func (p *Processor) watchHealth(ctx context.Context) error {
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		p.ping(ctx, "kafka", p.deps.Stream.Ping)
		p.ping(ctx, "clickhouse", p.deps.Store.Ping)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Processor) ping(ctx context.Context, dependency string, ping func(context.Context) error) {
	within, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if err := ping(within); ctx.Err() == nil { // the end of the process is no fault of the dependency
		p.deps.Env.Health.Set(dependency, err)
	}
}

// attemptLimit bounds one call of ClickHouse.
const attemptLimit = time.Minute

// persist repeats try with growing pauses until it succeeds or ctx ends: that is how ClickHouse being away holds back
// the sources. The end of ctx does not cut an attempt short: an INSERT that nobody waits for may land after the
// partition's next owner has looked at what is there.
func (p *Processor) persist(ctx context.Context, what string, try func(context.Context) error) error {
	pause := 100 * time.Millisecond
	for {
		began := p.deps.Env.Now()
		attempt, done := context.WithTimeout(context.WithoutCancel(ctx), attemptLimit)
		err := try(attempt)
		done()
		if err == nil {
			p.metrics.writeSeconds.Observe(p.deps.Env.Now().Sub(began).Seconds())
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.deps.Env.Health.Set("clickhouse", err)
		p.metrics.writeErrors.Inc()
		p.log.Warn("ClickHouse does not take it; trying again", "what", what, "pause", pause.String(), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		pause = min(2*pause, 10*time.Second)
	}
}
