// Package ledger keeps what Kafka alone decides and ClickHouse only repeats: exceptions and the enforcer's settings. It
// follows both topics from their beginning, so that they are read and written while ClickHouse is away.
package ledger

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Log is where the topics are. *stream.Client is one.
type Log interface {
	Follow(ctx context.Context, topic string, caughtUp func(), fn func(stream.Message) error) error
	Ping(ctx context.Context) error
}

// Ledger is what both topics say. It is safe for concurrent use.
type Ledger struct {
	rules.Control
	rules   rules.Exceptions
	log     Log
	slog    *slog.Logger
	changed func(what string, keys []string)

	mu      sync.Mutex
	byID    map[string]*pb.Exception // guarded by mu
	problem error                    // guarded by mu
	behind  int                      // topics not read whole yet; guarded by mu

	now     atomic.Pointer[exceptions]
	version atomic.Uint64
}

// exceptions are the newest record of each; they do not change.
type exceptions struct {
	list      []*pb.Exception // newest request first
	bySubject map[string][]*pb.Exception
}

// New makes a ledger that knows nothing yet. changed is told what came after the beginning was read; it may be nil.
func New(log Log, control rules.Control, rule rules.Exceptions, logger *slog.Logger, changed func(string, []string)) *Ledger {
	if changed == nil {
		changed = func(string, []string) {}
	}
	l := &Ledger{Control: control, rules: rule, log: log, slog: logger, changed: changed, byID: map[string]*pb.Exception{}, behind: 2}
	l.now.Store(&exceptions{})
	return l
}

var errReading = errors.New("exceptions and settings are being read")

// Problem is why Kafka can not be relied on now; nil if it can.
func (l *Ledger) Problem() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problem == nil && l.behind > 0 {
		return errReading
	}
	return l.problem
}

// Version grows with every record.
func (l *Ledger) Version() uint64 { return l.version.Load() }

// Run follows until ctx ends.
func (l *Ledger) Run(ctx context.Context) error {
	return daemon.Together(ctx, l.ping,
		func(ctx context.Context) error {
			return l.follow(ctx, schemas.TopicControl, func(m stream.Message) (string, string, error) {
				return "control", string(m.Key), l.Apply(m)
			})
		},
		func(ctx context.Context) error {
			return l.follow(ctx, schemas.TopicExceptions, func(m stream.Message) (string, string, error) {
				e, err := l.rules.Decode(m)
				if err == nil {
					l.Put(e)
				}
				return "exceptions", e.GetCredential() + e.GetIdentity(), err
			})
		})
}

func (l *Ledger) follow(ctx context.Context, topic string, take func(stream.Message) (what, key string, err error)) error {
	var live bool // fn and caughtUp are never called concurrently
	caughtUp := func() {
		live = true
		l.mu.Lock()
		l.behind--
		l.mu.Unlock()
	}
	return l.log.Follow(ctx, topic, caughtUp, func(m stream.Message) error {
		what, key, err := take(m)
		if err != nil {
			l.slog.Warn("a record can not be read", "topic", topic, "key", string(m.Key), "error", err)
		}
		l.version.Add(1)
		if live {
			l.changed(what, []string{key})
		}
		return nil
	})
}

// ping looks whether Kafka is there.
func (l *Ledger) ping(ctx context.Context) error {
	for {
		asked, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := l.log.Ping(asked)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		l.mu.Lock()
		was := l.problem
		l.problem = err
		l.mu.Unlock()
		if (was == nil) != (err == nil) {
			l.changed("control", nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}

// Put takes the newest record of an exception: one that was read, or that was just written.
func (l *Ledger) Put(e *pb.Exception) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[e.Id] = e
	next := &exceptions{bySubject: map[string][]*pb.Exception{}}
	for _, e := range l.byID {
		next.list = append(next.list, e)
		subject := e.Credential + e.Identity
		next.bySubject[subject] = append(next.bySubject[subject], e)
	}
	slices.SortFunc(next.list, func(a, b *pb.Exception) int {
		if c := b.RequestedAt.AsTime().Compare(a.RequestedAt.AsTime()); c != 0 {
			return c
		}
		return strings.Compare(a.Id, b.Id)
	})
	l.now.Store(next)
	l.version.Add(1)
}

// All exceptions, newest request first.
func (l *Ledger) All() []*pb.Exception { return l.now.Load().list }

// Get finds an exception; nil if there is none of that id.
func (l *Ledger) Get(id string) *pb.Exception {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

// Covering finds an exception that lets a credential stand past a policy at a time, the one that lasts longest; nil if
// there is none.
func (l *Ledger) Covering(credential, principal, policy string, now time.Time) *pb.Exception {
	index := l.now.Load().bySubject
	if len(index) == 0 {
		return nil
	}
	var best *pb.Exception
	for _, subject := range []string{credential, principal} {
		if subject == "" {
			continue
		}
		for _, e := range index[subject] {
			if (e.PolicyId == policy || e.PolicyId == "*") && l.rules.Valid(e, now) &&
				(best == nil || e.Until.AsTime().After(best.Until.AsTime())) {
				best = e
			}
		}
	}
	return best
}

// State of an exception in a word.
func (l *Ledger) State(e *pb.Exception, now time.Time) string {
	switch {
	case e.RevokedAt != nil || e.RevokedBy != "":
		return "revoked"
	case !e.Until.IsValid() || !e.Until.AsTime().After(now):
		return "ended"
	case l.rules.Valid(e, now):
		return "in force"
	default:
		return "waiting"
	}
}
