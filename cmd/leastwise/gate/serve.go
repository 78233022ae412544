package gate

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego/filewatch"
)

const (
	// maxReview bounds a request: an object of etcd's 1.5 MB as JSON, twice (object and oldObject), with room.
	maxReview = 8 << 20
	// maxAtOnce bounds memory; more wait for a place until their time is over.
	maxAtOnce = 32
	// reviewTime bounds a judgement. The API server waits for 10 s unless told otherwise.
	reviewTime    = 8 * time.Second
	shutdownGrace = 10 * time.Second
)

// ServeOptions of a server.
type ServeOptions struct {
	// Listen is host:port.
	Listen string
	// Certificate and Key are PEM files; both are read again when they change.
	Certificate, Key string
	// Exceptions to watch; nil if there are none.
	Exceptions *Exceptions
	// Live is the running server that is asked; nil if there is none.
	Live    *Live
	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// Server answers AdmissionReviews over TLS at POST /validate, and /healthz, /readyz and /metrics beside it. It is ready as
// long as it can answer: a catalog that went bad leaves the last good one in force, and one that was never good is
// answered as the configuration says; both show at /readyz and in the metrics, and stop nobody.
type Server struct {
	gate     *Gate
	opts     ServeOptions
	metrics  *metrics
	identity atomic.Pointer[tls.Certificate]
	places   chan struct{}
	ending   atomic.Bool
}

// NewServer reads the certificate. It fails if there is no good one: nothing could be answered.
func NewServer(g *Gate, opts ServeOptions) (*Server, error) {
	s := &Server{gate: g, opts: opts, metrics: newMetrics(opts.Metrics), places: make(chan struct{}, maxAtOnce)}
	if err := s.loadCertificate(); err != nil {
		return nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	s.metrics.catalog(g.catalog)
	return s, nil
}

// Run serves until ctx ends, then lets requests under way finish.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.opts.Listen)
	if err != nil {
		return fmt.Errorf("%w: --listen: %w", daemon.ErrConfig, err)
	}
	return s.Serve(ctx, listener)
}

// Serve is Run on a listener that is there already; it closes it.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if err := s.gate.catalog.Problem(); err != nil {
		s.opts.Log.Error("catalog refused", "error", err, "fail", or(s.gate.cfg.Fail, FailClosed))
	}
	s.opts.Log.Info("serving admission reviews", "address", listener.Addr().String(), "fail", or(s.gate.cfg.Fail, FailClosed))
	return daemon.Together(ctx,
		func(ctx context.Context) error { return s.serve(ctx, listener) },
		s.watchCertificate, s.watchCatalog, s.watchExceptions, func(ctx context.Context) error {
			if s.opts.Live == nil {
				<-ctx.Done()
				return nil
			}
			return s.opts.Live.Run(ctx)
		})
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(tls.NewListener(listener, s.TLS())) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admission reviews: %w", err)
	case <-ctx.Done():
	}
	s.ending.Store(true)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(late); err != nil {
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admission reviews: %w", err)
	}
	return nil
}

// TLS gives the certificate in force to each new connection.
func (s *Server) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.identity.Load(), nil }}
}

// Handler answers all paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /validate", s.validate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Metrics, promhttp.HandlerOpts{Registry: s.opts.Metrics}))
	return mux
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Ready   bool          `json:"ready"`
		Fail    string        `json:"fail"`
		Catalog CatalogStatus `json:"catalog"`
	}{Ready: !s.ending.Load(), Fail: or(s.gate.cfg.Fail, FailClosed), Catalog: CatalogStatus{Path: s.gate.catalog.Path}}
	if c := s.gate.catalog.InForce(); c != nil {
		answer.Catalog.Revision = c.Revision()
	}
	if err := s.gate.catalog.Problem(); err != nil {
		answer.Catalog.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone; there is nobody to tell
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), reviewTime)
	defer cancel()
	fail := func(code int, text string) {
		s.metrics.reviewed(outBad, "", time.Since(began))
		http.Error(w, text, code)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		fail(http.StatusUnsupportedMediaType, "expected Content-Type application/json")
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		fail(http.StatusServiceUnavailable, "too many reviews at once")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d bytes", maxReview))
			return
		}
		fail(http.StatusBadRequest, "the body could not be read")
		return
	}
	answer, err := s.gate.review(ctx, body)
	if err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	s.record(answer, time.Since(began))
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(admissionReview{APIVersion: reviewVersion, Kind: reviewKind, Response: answer.admissionResponse})
}

func (s *Server) record(a reviewed, took time.Duration) {
	s.metrics.reviewed(a.outcome, a.request.Kind.Kind, took)
	if a.verdict != nil {
		s.metrics.judged(a.verdict)
	}
	if a.outcome != outRefused && a.outcome != outOpen && a.outcome != outBad {
		return
	}
	log := s.opts.Log.With("outcome", a.outcome, "uid", shorten(a.UID), "kind", shorten(a.request.Kind.Kind),
		"namespace", shorten(a.request.Namespace), "name", shorten(a.request.Name), "user", shorten(a.request.UserInfo.Username))
	switch {
	case a.verdict != nil && a.outcome == outRefused:
		log.Warn("deployment refused", "problems", distinct(a.verdict.Problems, func(p Problem) string { return p.Code }))
	case a.outcome == outOpen:
		log.Warn("deployment let pass: the gate fails open")
	case a.Status != nil:
		log.Warn("object refused", "error", a.Status.Message)
	}
}

func (s *Server) loadCertificate() error {
	pair, err := tls.LoadX509KeyPair(s.opts.Certificate, s.opts.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", s.opts.Certificate, s.opts.Key, err)
	}
	s.identity.Store(&pair)
	if pair.Leaf != nil {
		s.metrics.expiry.Set(float64(pair.Leaf.NotAfter.Unix()))
	}
	return nil
}

// watchCertificate takes a renewed certificate. While files are being replaced key and certificate may not fit; then the
// one in force stays, and the end of the change brings the next try.
func (s *Server) watchCertificate(ctx context.Context) error {
	refused := ""
	return filewatch.Watch(ctx, []string{s.opts.Certificate, s.opts.Key}, func() bool {
		err := s.loadCertificate()
		s.metrics.reloaded("certificate", err)
		switch {
		case err == nil:
			refused = ""
		case err.Error() != refused:
			refused = err.Error()
			s.opts.Log.Error("certificate refused; the last good one stays in force", "error", err)
		}
		return true
	})
}

func (s *Server) watchCatalog(ctx context.Context) error {
	current := s.gate.catalog.InForce()
	if current == nil {
		current = new(catalog.Catalog) // nothing is in force, so whatever is read is news
	}
	return catalog.Watch(ctx, s.gate.catalog.Path, current, func(next *catalog.Catalog) {
		s.gate.catalog.take(next)
		s.metrics.catalog(s.gate.catalog)
		s.metrics.reloaded("catalog", nil)
		s.opts.Log.Info("catalog in force", "revision", next.Revision(), "agents", len(next.Agents()))
	}, func(err error) {
		s.gate.catalog.refuse(err)
		s.metrics.catalog(s.gate.catalog)
		if err != nil {
			s.metrics.reloaded("catalog", err)
			s.opts.Log.Error("catalog refused; the last good one stays in force", "error", err)
		}
	})
}

func (s *Server) watchExceptions(ctx context.Context) error {
	x := s.opts.Exceptions
	if x == nil {
		<-ctx.Done()
		return nil
	}
	refused := ""
	return filewatch.Watch(ctx, []string{x.Path}, func() bool {
		done, changed, err := x.reload()
		switch {
		case err != nil && err.Error() != refused:
			refused = err.Error()
			s.metrics.reloaded("exceptions", err)
			s.opts.Log.Error("exceptions refused; the last good ones stay in force, each until its end", "error", err)
		case err == nil && done:
			refused = ""
			if changed {
				s.metrics.reloaded("exceptions", nil)
				s.opts.Log.Info("exceptions in force", "exceptions", len(x.InForce()))
			}
		}
		return done
	})
}
