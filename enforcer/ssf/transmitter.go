package ssf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// queueMost bounds what waits for one receiver.
	queueMost = 10_000
	// rememberMost bounds the jtis known to be delivered.
	rememberMost = 10_000
	retryLeast   = time.Second
	retryMost    = 5 * time.Minute
)

// ErrPending: some receiver has not taken the event yet. Ask again later.
var ErrPending = errors.New("not every receiver has taken it yet")

// Counter counts what became of events; result is delivered, failed, refused
// or given_up. nil counts nothing.
type Counter func(receiver, result string)

// Transmitter keeps what waits for each receiver. It is safe for concurrent
// use.
type Transmitter struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	count  Counter
	signer *signer

	streams []*stream
}

// stream is one receiver with what waits for it.
type stream struct {
	Receiver
	client *http.Client // for push

	mu    sync.Mutex // guards what follows
	queue []*item    // oldest first
	done  map[string]bool
	order []string      // of done, oldest first
	more  chan struct{} // closed and replaced when something is added
	fails int
	next  time.Time // no push before
}

// item is one token that waits.
type item struct {
	jti   string
	token string
	since time.Time
}

// Open reads the keys; it connects to nothing.
func Open(c Config, log *slog.Logger, now func() time.Time, count Counter) (*Transmitter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	if count == nil {
		count = func(string, string) {}
	}
	t := &Transmitter{cfg: c.withDefaults(), log: log, now: now, count: count}
	if len(c.Receivers) == 0 {
		return t, nil
	}
	var err error
	if t.signer, err = openSigner(c.KeyFile, c.FormerKeyFiles); err != nil {
		return nil, err
	}
	for _, r := range c.Receivers {
		s := &stream{Receiver: r, done: map[string]bool{}, more: make(chan struct{})}
		if r.Push != nil {
			if s.client, err = pushClient(*r.Push, t.cfg.Timeout); err != nil {
				return nil, fmt.Errorf("receiver %s: %w", r.Name, err)
			}
		}
		t.streams = append(t.streams, s)
	}
	return t, nil
}

// Transmit sees to it that every receiver is told, and returns nil once all of
// them are. Until then it returns an error that wraps ErrPending and names
// those who are not; asking again changes nothing. It does not block.
func (t *Transmitter) Transmit(_ context.Context, e Event) error {
	var waiting []string
	for _, s := range t.streams {
		for _, kind := range e.types() {
			if !s.wants(kind) {
				continue
			}
			told, err := s.offer(t, e, kind)
			if err != nil {
				return fmt.Errorf("receiver %s: %w", s.Name, err)
			}
			if !told && !slices.Contains(waiting, s.Name) {
				waiting = append(waiting, s.Name)
			}
		}
	}
	if len(waiting) > 0 {
		return fmt.Errorf("%w: %s", ErrPending, strings.Join(waiting, ", "))
	}
	return nil
}

func (s *stream) wants(kind string) bool {
	return len(s.Events) == 0 || slices.ContainsFunc(s.Events, func(e string) bool { return longNames[e] == kind })
}

// offer queues the event unless it is known, and tells whether it was taken.
func (s *stream) offer(t *Transmitter, e Event, kind string) (told bool, err error) {
	jti := e.jti(kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done[jti] {
		return true, nil
	}
	if slices.ContainsFunc(s.queue, func(i *item) bool { return i.jti == jti }) {
		return false, nil
	}
	if len(s.queue) >= queueMost {
		return false, fmt.Errorf("%w: %d events wait for it already", ErrPending, len(s.queue))
	}
	token, err := t.signer.sign(e.claims(t.cfg.Issuer, s.Audience, kind))
	if err != nil {
		return false, err
	}
	s.queue = append(s.queue, &item{jti: jti, token: token, since: t.now()})
	close(s.more)
	s.more = make(chan struct{})
	return false, nil
}

// taken removes an event from the queue: it was delivered, refused for good or
// given up. It tells whether it was there.
func (s *stream) taken(jti string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.queue, func(i *item) bool { return i.jti == jti })
	if at < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, at, at+1)
	s.done[jti] = true
	if s.order = append(s.order, jti); len(s.order) > rememberMost {
		delete(s.done, s.order[0])
		s.order = s.order[1:]
	}
	return true
}

// expire gives up what waited too long.
func (t *Transmitter) expire(s *stream) {
	s.mu.Lock()
	var old []string
	for _, i := range s.queue {
		if t.now().Sub(i.since) >= t.cfg.GiveUp {
			old = append(old, i.jti)
		}
	}
	s.mu.Unlock()
	for _, jti := range old {
		if s.taken(jti) {
			t.count(s.Name, "given_up")
			t.log.Error("ssf: a receiver did not take an event in time: it does not know of this revocation", "receiver", s.Name, "jti", jti, "give_up", t.cfg.GiveUp)
		}
	}
}

// Run pushes, and serves Handler where Listen says, until ctx ends. It returns
// an error only if it can not listen.
func (t *Transmitter) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range t.streams {
		wg.Go(func() { t.deliver(ctx, s) })
	}
	if t.cfg.Listen == "" || len(t.streams) == 0 {
		<-ctx.Done()
		return nil
	}
	err := t.serve(ctx)
	cancel()
	return err
}

// deliver pushes what waits, one after the other, so that a receiver that is
// away costs one try and not one for each event.
func (t *Transmitter) deliver(ctx context.Context, s *stream) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.mu.Lock()
		more := s.more
		s.mu.Unlock()
		t.expire(s)
		if s.Push != nil {
			t.push(ctx, s)
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		case <-tick.C:
		}
	}
}

// first is the oldest event, if a push is due.
func (s *stream) first(now time.Time) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 || now.Before(s.next) {
		return nil
	}
	return s.queue[0]
}

// rest waits before the next push, longer each time; at least as long as the
// receiver asked for. Behind others in the queue the failed event has its turn
// again later, so that one that is refused does not hold up the rest.
func (s *stream) rest(now time.Time, i *item, asked time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = now.Add(max(asked, min(retryMost, retryLeast<<min(s.fails, 10))))
	s.fails++
	if at := slices.Index(s.queue, i); at == 0 && len(s.queue) > 1 {
		s.queue = append(s.queue[1:], i)
	}
}
