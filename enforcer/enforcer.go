package enforcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Group is the consumer group of all enforcers of a site.
const Group = "leastwise-enforcer"

// ErrPartitions: the topics do not fit together.
var ErrPartitions = errors.New("leastwise.decisions and leastwise.enforcement need the same number of partitions: recreate one of them")

// Deps are what an enforcer needs.
type Deps struct {
	Stream *stream.Client
	Env    daemon.Env
	// Channels is the `channels` section.
	Channels notify.Section
	// Targets by system/instance, such as "vault/default"; they are added to
	// those of the configuration.
	Targets map[string]Target
	// AWS is what events tell of AWS's credentials and AWS does not. Without it
	// what else a revocation hits there is unknown, and roles are not narrowed.
	AWS aws.History
	// SPIREIssued tells until when SVIDs that were seen issued live. Without it
	// the entry's own limits say until when it is exposed at the latest.
	SPIREIssued spire.Issued
	// Notify are channels made by the caller, added to those of Channels.
	Notify map[string]Channel
	// Transmitter instead of Config.SSF's; nil: that one, if it has receivers.
	Transmitter Transmitter
}

// Enforcer runs the ladders of the partitions it is assigned.
type Enforcer struct {
	cfg     Config
	ladder  *Ladder
	stream  *stream.Client
	env     daemon.Env
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	mode    pb.Ladder_Mode
	budget  control.Budget
	// budgets of single targets by name; ownerBudget is each owner's, nil: none.
	budgets     map[string]control.Budget
	ownerBudget *control.Budget
	targets     map[string]*issuer
	lines       map[string]*line
	vaults      []*vault.Target
	ssf         *ssf.Transmitter // of Config.SSF, to be run; nil: none
	transmitter Transmitter      // nil: nobody is to be told
	exceptions  exception.Index
	control     control.State
	ledger      ledger
	append      func(ctx context.Context, s *pb.LadderState) error // makes a journal entry durable
	note        func(ctx context.Context, r refused) error         // makes denials durable

	changes atomic.Uint64 // counts changes of control and exceptions
	denials atomic.Uint64 // counts records of denials, which concern few ladders

	mu      sync.Mutex
	waiting map[string]bool // topics not read whole yet; guarded by mu
	ready   chan struct{}   // closed when none is left
}

// New checks the configuration and opens targets and channels. It connects to
// nothing.
func New(cfg Config, deps Deps) (*Enforcer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Enforcer{
		cfg: cfg, ladder: cfg.ladder(), stream: deps.Stream, env: deps.Env, log: deps.Env.Log, now: deps.Env.Now,
		targets: map[string]*issuer{}, lines: map[string]*line{}, ready: make(chan struct{}),
		waiting: map[string]bool{schemas.TopicControl: true, schemas.TopicExceptions: true, schemas.TopicEnforcement: true},
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.cfg.Writer == "" {
		host, _ := os.Hostname() // an empty name is a name, too
		e.cfg.Writer = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	e.append, e.note = e.publishEntry, e.publishDenied
	var err error
	if e.mode, err = control.ParseMode(cfg.Mode); err != nil {
		return nil, err
	}
	if e.budget, err = control.ParseBudget(cfg.Budget); err != nil {
		return nil, err
	}
	if e.budgets, e.ownerBudget, err = cfg.Budgets.parse(); err != nil {
		return nil, err
	}
	if e.metrics, err = newMetrics(deps.Env.Metrics); err != nil {
		return nil, fmt.Errorf("enforcer: register metrics: %w", err)
	}
	if err := e.openTargets(deps); err != nil {
		return nil, err
	}
	if err := e.openTransmitter(deps); err != nil {
		return nil, err
	}
	return e, e.openChannels(deps)
}

func (e *Enforcer) openChannels(deps Deps) error {
	opened, err := notify.Open(deps.Channels, os.Stdout)
	if err != nil {
		return err
	}
	for name, ch := range opened {
		e.lines[name] = &line{Channel: ch, name: name}
	}
	for name, ch := range deps.Notify {
		e.lines[name] = &line{Channel: ch, name: name}
	}
	for _, name := range e.cfg.Escalation {
		if e.lines[name] == nil {
			return fmt.Errorf("enforcer: escalation: no channel %q in the section `channels`", name)
		}
	}
	if len(e.cfg.Escalation) == 0 {
		e.log.Warn("enforcer: no escalation channel is configured: stuck ladders are told to this log alone (set enforcer.escalation)")
	}
	return nil
}

// Run serves its share of the partitions until ctx ends (nil), or something is
// wrong that no retry mends.
func (e *Enforcer) Run(ctx context.Context) error {
	if err := e.checkTopics(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 6+len(e.vaults))
	start := func(what string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				errs <- fmt.Errorf("enforcer: %s: %w", what, err)
				cancel()
			}
		})
	}
	for _, t := range e.vaults {
		start("vault", t.Run)
	}
	if e.ssf != nil {
		start("security events", e.ssf.Run)
	}
	start("watch targets", e.watch)
	start("follow "+schemas.TopicControl, func(ctx context.Context) error {
		return e.follow(ctx, schemas.TopicControl, e.control.Apply)
	})
	start("follow "+schemas.TopicExceptions, func(ctx context.Context) error {
		return e.follow(ctx, schemas.TopicExceptions, func(m stream.Message) error {
			x, err := exception.Decode(m)
			if err == nil {
				e.exceptions.Put(x)
			}
			return err
		})
	})
	start("follow "+schemas.TopicEnforcement, func(ctx context.Context) error {
		return e.follow(ctx, schemas.TopicEnforcement, e.ledger.apply)
	})
	start("consume "+schemas.TopicDecisions, func(ctx context.Context) error {
		return e.stream.Consume(ctx, Group, schemas.TopicDecisions, e.serve)
	})
	wg.Wait()
	close(errs)
	return <-errs // nil when ctx ended
}

func (e *Enforcer) checkTopics(ctx context.Context) error {
	wait := 100 * time.Millisecond
	for {
		decisions, err := e.stream.Partitions(ctx, schemas.TopicDecisions)
		if err == nil {
			var journal int
			journal, err = e.stream.Partitions(ctx, schemas.TopicEnforcement)
			if err == nil && journal != decisions {
				return fmt.Errorf("%w (%d and %d now)", ErrPartitions, decisions, journal)
			}
		}
		e.env.Health.Set("kafka", err)
		if err == nil {
			return nil
		}
		e.log.Warn("enforcer: waiting for kafka", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// follow reads a topic whole and on. A record that can not be read is counted
// and left: apply has taken the strictest meaning.
func (e *Enforcer) follow(ctx context.Context, topic string, apply func(stream.Message) error) error {
	return e.stream.Follow(ctx, topic, func() { e.arrived(topic) }, func(m stream.Message) error {
		if err := apply(m); err != nil {
			e.metrics.invalid.WithLabelValues(topic).Inc()
			e.log.Error("enforcer: record can not be read", "topic", topic, "partition", m.Partition, "offset", m.Offset, "error", err)
		}
		switch {
		case topic == schemas.TopicControl && control.IsDenied(m):
			e.denials.Add(1)
		case topic != schemas.TopicEnforcement:
			e.changes.Add(1)
		}
		if topic == schemas.TopicControl {
			e.showSettings()
		}
		return nil
	})
}

func (e *Enforcer) arrived(topic string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.waiting[topic] {
		return
	}
	delete(e.waiting, topic)
	if len(e.waiting) == 0 {
		e.showSettings()
		close(e.ready)
	}
}

// notReady names what has not been read whole; empty: nothing.
func (e *Enforcer) notReady() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) == 0 {
		return ""
	}
	var topics []string
	for topic := range e.waiting {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	return fmt.Sprintf("%v not read whole yet", topics)
}

// settings in force: the control topic's where it has a word, else the
// configuration's.
func (e *Enforcer) settings() (pb.Ladder_Mode, control.Budget, string) {
	now := e.control.Now()
	mode, budget, killed := e.mode, e.budget, ""
	if now.Mode != nil {
		mode = *now.Mode
	}
	if now.Budget != nil {
		budget = *now.Budget
	}
	if now.Kill != nil {
		if killed = short(now.Kill.SetBy); killed == "" {
			killed = "an unreadable record"
		}
	}
	return mode, budget, killed
}

func (e *Enforcer) showSettings() {
	mode, _, killed := e.settings()
	for _, m := range []pb.Ladder_Mode{pb.Ladder_OBSERVE, pb.Ladder_NOTIFY, pb.Ladder_ENFORCE} {
		value := 0.0
		if m == mode {
			value = 1
		}
		e.metrics.mode.WithLabelValues(modeWord(m)).Set(value)
	}
	e.metrics.killSwitch.Set(0)
	if killed != "" {
		e.metrics.killSwitch.Set(1)
	}
}

func (e *Enforcer) publishEntry(ctx context.Context, s *pb.LadderState) error {
	value, err := s.MarshalVT()
	if err != nil {
		return fmt.Errorf("enforcer: encode journal entry of %s: %w", s.Credential, err)
	}
	if err := e.stream.Publish(ctx, stream.Message{Topic: schemas.TopicEnforcement, Key: []byte(s.Credential), Value: value}); err != nil {
		return fmt.Errorf("enforcer: journal entry of %s: %w", s.Credential, err)
	}
	return nil
}
