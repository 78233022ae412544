package vault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Publisher makes messages durable. Publish returns when they are, or when ctx ends; an error says that some may not be.
type Publisher interface {
	Publish(ctx context.Context, messages ...stream.Message) error
}

// Deps are what a Collector needs.
type Deps struct {
	Stream Publisher
	// DataDir holds the checkpoint. It must survive restarts.
	DataDir string
	Env     daemon.Env
}

// Collector publishes what one audit device tells. See the package's documentation for what it promises.
type Collector struct {
	cfg     Config
	deps    Deps
	decoder *Decoder
	count   *counters
	// inventory is nil if none is configured.
	inventory *inventory

	mu      sync.Mutex // guards trouble
	trouble map[string]string
	// Totals for the heartbeat, written by the one that reads records.
	records, events, deadLetters, unknown atomic.Uint64
	lastRecord                            atomic.Int64 // unix nanoseconds

	// Only in the one goroutine that reads records.
	scratch  []*leastwisev1.Event
	messages []stream.Message
}

// New checks the configuration. It does not touch the log or the network.
func New(cfg Config, deps Deps) (*Collector, error) {
	if cfg == (Config{}) {
		return nil, errors.New("vault_collector: the section is missing; set file to the path of Vault's audit log")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("vault_collector: %w", err)
	}
	cfg = cfg.withDefaults()
	if deps.Env.Now == nil {
		deps.Env.Now = time.Now
	}
	if cfg.File != "" && deps.DataDir == "" {
		return nil, errors.New("vault_collector: data_dir is not set; the checkpoint needs a place that survives restarts")
	}
	c := &Collector{cfg: cfg, deps: deps, trouble: map[string]string{}}
	var registry prometheus.Registerer
	if deps.Env.Metrics != nil {
		registry = deps.Env.Metrics
	}
	var err error
	if c.count, err = newCounters(registry); err != nil {
		return nil, fmt.Errorf("vault_collector: %w", err)
	}
	opts := Options{Instance: cfg.Instance, Prefix: cfg.Prefix, MaxBytes: cfg.MaxRecordBytes, Pairing: true}
	if cfg.Inventory != nil {
		if c.inventory, err = newInventory(*cfg.Inventory, c); err != nil {
			return nil, fmt.Errorf("vault_collector: inventory: %w", err)
		}
		opts.Resolve, opts.RoleOrphan = c.inventory.resolve, c.inventory.roleOrphan
	}
	c.decoder = NewDecoder(opts)
	return c, nil
}

// Run collects until ctx ends, and then returns nil. It ends with an error only if the log can not be followed at all.
func (c *Collector) Run(ctx context.Context) error {
	parts := []func(context.Context) error{c.read, c.beat}
	if c.inventory != nil {
		parts = append(parts, c.inventory.run)
	}
	err := daemon.Together(ctx, parts...)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

func (c *Collector) read(ctx context.Context) error {
	if c.cfg.Socket != "" {
		return c.listen(ctx)
	}
	return c.follow(ctx)
}

func (c *Collector) checkpointPath() string {
	return filepath.Join(c.deps.DataDir, "vault-"+url.PathEscape(c.cfg.Instance)+".checkpoint.json")
}

// follow reads the file: up to a batch, published, then the checkpoint. A crash between the two publishes the batch
// again.
func (c *Collector) follow(ctx context.Context) error {
	log, err := source.NewFollower(source.FollowConfig{Path: c.cfg.File, Checkpoint: c.checkpointPath(),
		Backlog: c.cfg.Backlog, MaxLine: c.cfg.MaxRecordBytes, Log: c.deps.Env.Log})
	if err != nil {
		return fmt.Errorf("vault collector: %w", err)
	}
	defer log.Close()
	wait := time.Second
	for {
		n, err := log.Read(ctx, c.cfg.BatchRecords, c.cfg.BatchWait, c.take)
		if n > 0 {
			// Whatever Read says: the lines it gave are published before it is asked again.
			if err := c.publish(ctx); err != nil {
				return stopped(ctx, err)
			}
			if err := log.Commit(); err != nil {
				c.say("checkpoint", err)
			} else {
				c.say("checkpoint", nil)
			}
		}
		c.count.lag.Set(float64(log.Lag()))
		c.count.gaps.Set(float64(log.Gaps()))
		if ctx.Err() != nil {
			return nil
		}
		c.say("log", err)
		if err == nil {
			wait = time.Second
			continue
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, time.Minute)
	}
}

func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// take decodes one line into messages.
func (c *Collector) take(line source.Line, position string) {
	rec := source.Record{Bytes: line.Bytes, Position: position, ObservedAt: c.deps.Env.Now()}
	c.records.Add(1)
	c.count.bytes.Add(float64(line.Length))
	bad := line.Malformed()
	if bad == nil {
		var err error
		c.scratch, err = c.decoder.Decode(c.scratch[:0], rec)
		if err != nil && !errors.As(err, &bad) {
			bad = &source.Malformed{Reason: source.ReasonRejected, Detail: "the decoder failed"}
		}
	}
	if bad != nil {
		c.deadLetters.Add(1)
		c.count.deadLetters.WithLabelValues(System, bad.Reason).Inc()
		c.messages = append(c.messages, deadLetterMessage(source.DeadLetter(System, c.cfg.Instance, rec, bad)))
		return
	}
	c.count.last.Set(float64(rec.ObservedAt.Unix()))
	for _, ev := range c.scratch {
		c.tell(ev)
	}
	if len(c.scratch) == 0 { // the second line of a call, which told nothing new
		c.count.records.WithLabelValues(System, "paired").Inc()
	}
}

// tell queues one event of a record and counts it.
func (c *Collector) tell(ev *leastwisev1.Event) {
	c.events.Add(1)
	c.count.records.WithLabelValues(System, kindName(ev.Kind)).Inc()
	if ev.Kind == leastwisev1.Event_UNKNOWN {
		c.unknown.Add(1)
	}
	if ev.OccurredAt != nil {
		at := ev.OccurredAt.AsTime().UnixNano()
		if at > c.lastRecord.Load() {
			c.lastRecord.Store(at)
		}
		c.count.delay.Set(max(ev.ObservedAt.AsTime().Sub(ev.OccurredAt.AsTime()).Seconds(), 0))
	}
	if c.inventory != nil {
		c.inventory.notice(ev)
	}
	c.messages = append(c.messages, eventMessage(ev))
}

// publish makes the queued messages durable, and blocks while Kafka is away.
func (c *Collector) publish(ctx context.Context) error {
	messages := c.messages
	c.messages = c.messages[:0]
	return c.send(ctx, messages)
}

func (c *Collector) send(ctx context.Context, messages []stream.Message) error {
	if len(messages) == 0 {
		return nil
	}
	slow := time.AfterFunc(5*time.Second, func() {
		c.say("kafka", errors.New("publishing has waited for more than 5 s; reading stands still until Kafka answers"))
	})
	defer slow.Stop()
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := c.deps.Stream.Publish(ctx, messages...)
		if err == nil {
			c.say("kafka", nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Not published is not lost: the same messages again, with the same ids, until they are.
		c.count.publishErrors.WithLabelValues(System).Inc()
		c.say("kafka", err)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// say tells health, the heartbeat and, when it changes, the log what keeps the collector from its work; nil: nothing.
func (c *Collector) say(part string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	was, known := c.trouble[part]
	c.trouble[part] = text
	c.mu.Unlock()
	if c.deps.Env.Health != nil {
		c.deps.Env.Health.Set("vault_"+part, err)
	}
	if c.deps.Env.Log == nil || known && was == text || !known && text == "" {
		return
	}
	if err != nil {
		c.deps.Env.Log.Warn("vault collector: trouble", "part", part, "error", text)
	} else {
		c.deps.Env.Log.Info("vault collector: well again", "part", part)
	}
}

// beat publishes the heartbeat, so that a source with nothing to say differs from one that is silent.
func (c *Collector) beat(ctx context.Context) error {
	for {
		if err := c.send(ctx, []stream.Message{c.heartbeat()}); err != nil {
			return stopped(ctx, err)
		}
		if !pause(ctx, c.cfg.Heartbeat) {
			return nil
		}
	}
}

func (c *Collector) heartbeat() stream.Message {
	beat := &leastwisev1.Heartbeat{Source: System, Instance: c.cfg.Instance, At: timestamppb.New(c.deps.Env.Now()),
		Records: c.records.Load(), Events: c.events.Load(), DeadLetters: c.deadLetters.Load(), Unknown: c.unknown.Load()}
	if at := c.lastRecord.Load(); at > 0 {
		beat.LastRecordAt = timestamppb.New(time.Unix(0, at))
	}
	c.mu.Lock()
	for _, part := range []string{"log", "checkpoint", "inventory"} {
		if text := c.trouble[part]; text != "" && beat.Trouble == "" {
			beat.Trouble = text
		}
	}
	c.mu.Unlock()
	fact := &leastwisev1.Fact{Fact: &leastwisev1.Fact_Heartbeat{Heartbeat: beat}}
	return factMessage("heartbeat/"+System+"/"+c.cfg.Instance, fact)
}

func factMessage(key string, fact *leastwisev1.Fact) stream.Message {
	value, _ := fact.MarshalVT() // fails for no message of ours: there is no required field and all text is UTF-8
	return stream.Message{Topic: schemas.TopicIdentity, Key: []byte(key), Value: value, Headers: protobufHeaders}
}
