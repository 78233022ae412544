// Package collect runs one source: it takes records from a Feed, decodes them, publishes the events, and only then lets
// the Feed remember that they were read. A crash anywhere publishes some records again, with the same ids.
//
// While one batch is on its way to Kafka the next is decoded; no more than that is held. While Kafka is away nothing is
// read: that is the back-pressure. What a source does besides (inventories, enumerations) it publishes through Send.
package collect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Publisher makes messages durable. Publish returns when they are, or when ctx ends; an error says that some may not be.
// It keeps nothing of messages that it returned without an error for: their memory is used again.
type Publisher interface {
	Publish(ctx context.Context, messages ...stream.Message) error
}

// Deps are what every collector needs from the process it runs in.
type Deps struct {
	Stream Publisher
	// DataDir holds checkpoints. It must survive restarts.
	DataDir string
	Env     daemon.Env
}

// Feed is where records come from.
type Feed interface {
	// Read gives up to limit records to take, and returns as soon as it has given some and there are no more at hand, or
	// when wait is over, or when ctx ends. commit, if not nil, remembers that everything given so far is durable; it is
	// called later, from another goroutine, while Read goes on, and in the order of the reads. An error is reported and
	// Read is called again after a while; records given before it are published all the same.
	Read(ctx context.Context, limit int, wait time.Duration, take Take) (given int, commit func() error, err error)
	// Close lets go of what the feed holds. It does not commit.
	Close() error
}

// Take gets one record: bad is nil, or says why the feed itself could not give it whole. rec.Bytes is free to be changed
// when Take returns.
type Take func(rec source.Record, bad *source.Malformed)

// Options of a Collector.
type Options struct {
	// Source is the first part of every key, Instance the second.
	Source, Instance string
	Decoder          source.Decoder
	Deps             Deps
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int
	BatchWait    time.Duration
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration
	// Notice, if not nil, sees every event before it is published. It must not block.
	Notice func(*leastwisev1.Event)
}

// Collector publishes what one source tells. Say, Send, Message and Now may be used from any goroutine; Tell, Found and
// Withdraw by Feed.Read, the decoder and Options.Notice.
type Collector struct {
	opts  Options
	count *counters
	heads *headers

	mu      sync.Mutex // guards trouble
	trouble map[string]string
	// Totals for the heartbeat.
	records, events, deadLetters, unknown atomic.Uint64
	lastRecord                            atomic.Int64 // unix nanoseconds

	// Only in the goroutine that reads records.
	scratch  []*leastwisev1.Event
	free     chan *room       // of a batch that was published
	told     []stream.Message // with the batch that is being read
	handed   uint64           // batches handed to publish
	findings *findings
}

// New registers the metrics and touches nothing else.
func New(opts Options) (*Collector, error) {
	if opts.Deps.Env.Now == nil {
		opts.Deps.Env.Now = time.Now
	}
	if opts.BatchRecords <= 0 {
		opts.BatchRecords = 10_000
	}
	if opts.BatchWait <= 0 {
		opts.BatchWait = 200 * time.Millisecond
	}
	if opts.Heartbeat <= 0 {
		opts.Heartbeat = 30 * time.Second
	}
	c := &Collector{opts: opts, trouble: map[string]string{}, heads: newHeaders(opts.Source, opts.Instance),
		free: make(chan *room, 1), findings: &findings{entries: map[string]*standing{}}}
	var registry prometheus.Registerer
	if opts.Deps.Env.Metrics != nil {
		registry = opts.Deps.Env.Metrics
	}
	var err error
	if c.count, err = newCounters(registry, opts.Source); err != nil {
		return nil, err
	}
	return c, nil
}

// Now is the process's clock.
func (c *Collector) Now() time.Time { return c.opts.Deps.Env.Now() }

// Run publishes what the feed gives until ctx ends, and then returns nil; beside it run others, which have to end with
// ctx, too. The first error ends all. It closes the feed.
func (c *Collector) Run(ctx context.Context, feed Feed, others ...func(context.Context) error) error {
	defer feed.Close()
	var err error
	if c.findings, err = loadFindings(c.findingsPath()); err != nil {
		return err
	}
	batches := make(chan batch) // no buffer: one batch is on its way while the next is made
	parts := append([]func(context.Context) error{
		func(ctx context.Context) error { defer close(batches); return c.read(ctx, feed, batches) },
		func(ctx context.Context) error { return c.publish(ctx, batches) },
		c.beat,
	}, others...)
	err = daemon.Together(ctx, parts...)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// batch is what one Read gave, as messages.
type batch struct {
	*room
	commit func() error
}

func (c *Collector) read(ctx context.Context, feed Feed, batches chan<- batch) error {
	wait := time.Second
	for {
		var b batch
		select {
		case b.room = <-c.free:
		default:
			b.room = &room{}
		}
		var size int
		var now time.Time // one for the batch: it was read at once, or within BatchWait
		n, commit, err := feed.Read(ctx, c.opts.BatchRecords, c.opts.BatchWait, func(rec source.Record, bad *source.Malformed) {
			if now.IsZero() {
				now = c.Now()
			}
			rec.ObservedAt = now
			size += len(rec.Bytes)
			c.take(b.room, rec, bad)
		})
		c.count.bytes.Add(float64(size))
		if n > 0 {
			c.count.last.Set(float64(now.Unix()))
		}
		b.messages, c.told = append(b.messages, c.told...), nil
		found, unsaved := c.findings.news(c.Now(), c.handed)
		c.Say("findings", unsaved)
		b.messages = append(b.messages, found...)
		if b.commit = commit; len(b.messages) > 0 || commit != nil {
			select {
			case <-ctx.Done():
				return nil
			case batches <- b:
				c.handed++
			}
		} else {
			c.letGo(b.room)
		}
		c.gauges(feed)
		if ctx.Err() != nil {
			return nil
		}
		c.Say("log", err)
		if err == nil || n > 0 { // a part of the feed is in trouble; the others go on
			wait = time.Second
			continue
		}
		if !Pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, time.Minute)
	}
}

// letGo gives the next batch the memory of one that nobody holds any more.
func (c *Collector) letGo(r *room) {
	r.empty()
	select {
	case c.free <- r:
	default:
	}
}

// publish makes batches durable one after another, and commits each.
func (c *Collector) publish(ctx context.Context, batches <-chan batch) error {
	for b := range batches {
		if err := c.Send(ctx, b.messages...); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.letGo(b.room)
		if b.commit != nil {
			c.Say("checkpoint", b.commit())
		}
	}
	return nil
}

// gauges of a feed that knows how far behind it is.
func (c *Collector) gauges(feed Feed) {
	if f, ok := feed.(interface{ Lag() int64 }); ok {
		c.count.lag.Set(float64(f.Lag()))
	}
	if f, ok := feed.(interface{ Gaps() int }); ok {
		c.count.gaps.Set(float64(f.Gaps()))
	}
	if at := c.lastRecord.Load(); at > 0 {
		c.count.delay.Set(max(c.Now().Sub(time.Unix(0, at)).Seconds(), 0))
	}
}

// take turns one record into messages.
func (c *Collector) take(dst *room, rec source.Record, bad *source.Malformed) {
	c.records.Add(1)
	if bad == nil {
		var err error
		c.scratch, err = c.opts.Decoder.Decode(c.scratch[:0], rec)
		if err != nil {
			bad = malformed(err)
		}
	}
	if bad != nil {
		c.deadLetters.Add(1)
		c.count.deadLetters.WithLabelValues(c.opts.Source, bad.Reason).Inc()
		dst.messages = append(dst.messages, c.heads.deadLetter(source.DeadLetter(c.opts.Source, c.opts.Instance, rec, bad)))
		return
	}
	if len(c.scratch) == 0 { // another line of a call, which told nothing new
		c.count.paired.Inc()
	}
	for _, ev := range c.scratch {
		c.event(dst, ev)
	}
}

// malformed is what a decoder said of a record. (Apart from take, where it would cost memory for every record.)
func malformed(err error) *source.Malformed {
	if bad, ok := errors.AsType[*source.Malformed](err); ok {
		return bad
	}
	return &source.Malformed{Reason: source.ReasonRejected, Detail: "the decoder failed"}
}

// Tell publishes messages with the batch that is being read, before its records are remembered as read: what a record
// says beside its events.
func (c *Collector) Tell(messages ...stream.Message) { c.told = append(c.told, messages...) }

// Message is the message of an event that no record of the log told, such as an inventory's. It is not counted: a source
// whose log is silent is silent.
func (c *Collector) Message(ev *leastwisev1.Event) stream.Message {
	var r room
	r.event(c.heads, ev)
	return r.messages[0]
}

// event counts a record's event and adds its message.
func (c *Collector) event(dst *room, ev *leastwisev1.Event) {
	c.events.Add(1)
	c.count.kind(ev.Kind).Inc()
	if ev.Kind == leastwisev1.Event_UNKNOWN {
		c.unknown.Add(1)
	}
	if t := ev.OccurredAt; t != nil {
		if at := t.Seconds*1e9 + int64(t.Nanos); at > c.lastRecord.Load() {
			c.lastRecord.Store(at)
		}
	}
	if c.opts.Notice != nil {
		c.opts.Notice(ev)
	}
	dst.event(c.heads, ev)
}

// Send makes messages durable, and blocks while Kafka is away. It fails only when ctx ends.
func (c *Collector) Send(ctx context.Context, messages ...stream.Message) error {
	if len(messages) == 0 {
		return nil
	}
	slow := time.AfterFunc(5*time.Second, func() {
		c.Say("kafka", errors.New("publishing has waited for more than 5 s; reading stands still until Kafka answers"))
	})
	defer slow.Stop()
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := c.opts.Deps.Stream.Publish(ctx, messages...)
		if err == nil {
			c.Say("kafka", nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Not published is not lost: the same messages again, with the same ids, until they are.
		c.count.publishErrors.WithLabelValues(c.opts.Source).Inc()
		c.Say("kafka", err)
		if !Pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// Say tells health, the heartbeat and, when it changes, the log what keeps a part of the collector from its work; nil:
// nothing does. Parts are "log" (what records are read from), "checkpoint", "kafka", "inventory".
func (c *Collector) Say(part string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	was, known := c.trouble[part]
	c.trouble[part] = text
	c.mu.Unlock()
	env := c.opts.Deps.Env
	if env.Health != nil {
		env.Health.Set(c.opts.Source+"_"+part, err)
	}
	if env.Log == nil || known && was == text || !known && text == "" {
		return
	}
	if err != nil {
		env.Log.Warn(c.opts.Source+" collector: trouble", "instance", c.opts.Instance, "part", part, "error", text)
	} else {
		env.Log.Info(c.opts.Source+" collector: well again", "instance", c.opts.Instance, "part", part)
	}
}

// Trouble is what Say was told last of a part; empty if nothing is wrong.
func (c *Collector) Trouble(part string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble[part]
}

// beat publishes the heartbeat, so that a source with nothing to say differs from one that is silent.
func (c *Collector) beat(ctx context.Context) error {
	for {
		if err := c.Send(ctx, c.heartbeat()); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !Pause(ctx, c.opts.Heartbeat) {
			return nil
		}
	}
}

func (c *Collector) heartbeat() stream.Message {
	beat := &leastwisev1.Heartbeat{Source: c.opts.Source, Instance: c.opts.Instance, At: timestamppb.New(c.Now()),
		Records: c.records.Load(), Events: c.events.Load(), DeadLetters: c.deadLetters.Load(), Unknown: c.unknown.Load()}
	beat.Blind = c.Trouble("log") != ""
	if at := c.lastRecord.Load(); at > 0 {
		beat.LastRecordAt = timestamppb.New(time.Unix(0, at))
	}
	for _, part := range []string{"log", "checkpoint", "inventory"} {
		if text := c.Trouble(part); text != "" && beat.Trouble == "" {
			beat.Trouble = text
		}
	}
	return FactMessage(fmt.Sprintf("heartbeat/%s/%s", c.opts.Source, c.opts.Instance),
		&leastwisev1.Fact{Fact: &leastwisev1.Fact_Heartbeat{Heartbeat: beat}})
}

// Pause waits for d; false if ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
