package agentusage

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// receiver takes exports over OTLP. An export is answered with success only after its events are published; while Kafka
// is away senders wait, and are then told to try again. What they send twice has the same ids.
type receiver struct {
	cfg   OTLPConfig
	token []byte // nil: senders need none
	tls   *tls.Config

	exports chan *export // no buffer: what waits, waits at its sender
	closed  chan struct{}
	close   sync.Once
	stop    func()

	mu             sync.Mutex // guards the addresses
	httpAt, grpcAt string

	// Only in Read.
	current *export
	at      int
}

// export is one request's records, in the normal form.
type export struct {
	records [][]byte
	done    chan struct{} // closed when all are published
}

var errBusy = errors.New("the events could not be published in time; send the export again")

func newReceiver(cfg OTLPConfig) (*receiver, error) {
	if cfg.MaxExportBytes <= 0 {
		cfg.MaxExportBytes = 16 << 20
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	r := &receiver{cfg: cfg, exports: make(chan *export), closed: make(chan struct{}), stop: func() {}}
	if cfg.TokenFile != "" {
		text, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
		if r.token = []byte(strings.TrimSpace(string(text))); len(r.token) < 16 {
			return nil, fmt.Errorf("token_file: %s holds fewer than 16 characters", cfg.TokenFile)
		}
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		r.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	return r, nil
}

// listen starts the servers. They end with Close.
func (r *receiver) listen(ctx context.Context) error {
	var config net.ListenConfig
	var listeners []net.Listener
	open := func(address string) (net.Listener, error) {
		listener, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			for _, other := range listeners {
				other.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		listeners = append(listeners, listener)
		return listener, nil
	}
	var running sync.WaitGroup
	var stops []func()
	if r.cfg.HTTP != "" {
		listener, err := open(r.cfg.HTTP)
		if err != nil {
			return err
		}
		at := listener.Addr().String()
		server := &http.Server{Handler: r.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
		if r.tls != nil {
			listener = tls.NewListener(listener, r.tls)
		}
		running.Go(func() { _ = server.Serve(listener) }) // ends with Close
		stops = append(stops, func() { _ = server.Close() })
		r.mu.Lock()
		r.httpAt = at
		r.mu.Unlock()
	}
	if r.cfg.GRPC != "" {
		listener, err := open(r.cfg.GRPC)
		if err != nil {
			for _, stop := range stops {
				stop()
			}
			return err
		}
		server := r.grpcServer()
		running.Go(func() { _ = server.Serve(listener) }) // ends with Stop
		stops = append(stops, server.Stop)
		r.mu.Lock()
		r.grpcAt = listener.Addr().String()
		r.mu.Unlock()
	}
	r.stop = func() {
		for _, stop := range stops {
			stop()
		}
		running.Wait()
	}
	return nil
}

func (r *receiver) addresses() (http, grpc string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.httpAt, r.grpcAt
}

// Close implements collect.Feed. Exports that wait are refused: their senders send them again.
func (r *receiver) Close() error {
	r.close.Do(func() {
		close(r.closed)
		r.stop()
	})
	return nil
}

// publish hands an export over and waits until its events are published.
func (r *receiver) publish(ctx context.Context, records [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	e := &export{records: records, done: make(chan struct{})}
	select {
	case r.exports <- e:
	case <-ctx.Done():
		return errBusy
	case <-r.closed:
		return errBusy
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return errBusy
	case <-r.closed:
		return errBusy
	}
}

// Read implements collect.Feed: what is committed is whole exports.
func (r *receiver) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var whole []*export
	n := 0
	for n < limit {
		if r.current == nil {
			e, ok := r.next(ctx, timer.C, n > 0)
			if !ok {
				break
			}
			r.current, r.at = e, 0
		}
		for ; n < limit && r.at < len(r.current.records); r.at++ {
			take(source.Record{Bytes: r.current.records[r.at], Position: "otlp"}, nil)
			n++
		}
		if r.at == len(r.current.records) {
			whole = append(whole, r.current)
			r.current = nil
		}
	}
	if len(whole) == 0 {
		return n, nil, nil
	}
	return n, func() error {
		for _, e := range whole {
			close(e.done)
		}
		return nil
	}, nil
}

// next waits for an export; if some were given already it takes only what is at hand.
func (r *receiver) next(ctx context.Context, over <-chan time.Time, some bool) (*export, bool) {
	if some {
		select {
		case e := <-r.exports:
			return e, true
		default:
			return nil, false
		}
	}
	select {
	case e := <-r.exports:
		return e, true
	case <-over:
	case <-ctx.Done():
	}
	return nil, false
}

// permitted is whether a sender gave the right token.
func (r *receiver) permitted(authorization string) bool {
	if r.token == nil {
		return true
	}
	scheme, given, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "bearer") && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(given)), r.token) == 1
}
