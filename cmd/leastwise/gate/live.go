package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Log is where a running server keeps its links and exceptions. *stream.Client is one.
type Log interface {
	Follow(ctx context.Context, topic string, caughtUp func(), fn func(stream.Message) error) error
}

// followPause is how long a topic that can not be followed is left alone.
const followPause = 5 * time.Second

// errBehind: the topic has not been read to its end yet.
var errBehind = errors.New("it has not been read whole yet")

// Live follows the identity graph and the exceptions of a running server. Before a topic is read whole the graph can not be
// read, and no exception counts. Where the broker goes away later, what was read last stays in force.
type Live struct {
	log   Log
	graph *identity.Graph
	read  map[string]chan struct{} // by topic; closed when it was read whole

	mu         sync.RWMutex
	exceptions map[string]*pb.Exception // guarded by mu
	findings   map[string]*pb.Finding   // of sources, those that stand, by key; guarded by mu
	problem    error                    // guarded by mu; why the identity topic can not be followed
}

// NewLive makes one; Run fills it.
func NewLive(log Log) *Live {
	return &Live{log: log, graph: identity.New(), exceptions: map[string]*pb.Exception{},
		findings: map[string]*pb.Finding{},
		read:     map[string]chan struct{}{schemas.TopicIdentity: make(chan struct{}), schemas.TopicExceptions: make(chan struct{})}}
}

// Run follows both topics until ctx ends.
func (l *Live) Run(ctx context.Context) error {
	return daemon.Together(ctx,
		func(ctx context.Context) error { return l.follow(ctx, schemas.TopicIdentity, l.link) },
		func(ctx context.Context) error { return l.follow(ctx, schemas.TopicExceptions, l.exception) })
}

func (l *Live) follow(ctx context.Context, topic string, take func(stream.Message)) error {
	whole := sync.OnceFunc(func() { close(l.read[topic]) })
	for {
		err := l.log.Follow(ctx, topic, whole, func(m stream.Message) error {
			take(m)
			return nil
		})
		if ctx.Err() != nil {
			return nil
		}
		if topic == schemas.TopicIdentity {
			l.mu.Lock()
			l.problem = err
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}

// link takes a link or a finding; other facts say nothing of identities.
func (l *Live) link(m stream.Message) {
	var fact pb.Fact
	if len(m.Value) == 0 || fact.UnmarshalVT(m.Value) != nil {
		return
	}
	if link := fact.GetLink(); link != nil {
		l.graph.Put(link)
	}
	if finding := fact.GetFinding(); finding != nil {
		l.notice(finding)
	}
}

func (l *Live) exception(m stream.Message) {
	e, err := exception.Decode(m)
	if err != nil {
		return // what can not be read grants nothing
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exceptions[e.Id] = e
}

// Wait returns when both topics were read whole, or ctx ended.
func (l *Live) Wait(ctx context.Context) {
	for _, whole := range l.read {
		select {
		case <-whole:
		case <-ctx.Done():
			return
		}
	}
}

// Graph is what Graph.Read wants; it does not block.
func (l *Live) Graph(context.Context) (*identity.Graph, error) {
	select {
	case <-l.read[schemas.TopicIdentity]:
		return l.graph, nil
	default:
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.problem != nil {
		return nil, fmt.Errorf("%w: %w", errBehind, l.problem)
	}
	return nil, errBehind
}

// Exceptions lists those that are stored, by id.
func (l *Live) Exceptions() []*pb.Exception {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]*pb.Exception, 0, len(l.exceptions))
	for _, e := range l.exceptions {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *pb.Exception) int { return strings.Compare(a.Id, b.Id) })
	return list
}
