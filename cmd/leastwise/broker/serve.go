package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
)

// Deps are what a broker stands on.
type Deps struct {
	Env     daemon.Env
	Log     exception.Log
	Rules   Rules
	DataDir string // the journal's place
}

// Broker issues. It is safe for concurrent use.
type Broker struct {
	cfg     Config
	rules   Rules
	log     exception.Log
	logger  *slog.Logger
	now     func() time.Time
	vault   *issuer
	callers *callers
	journal *journal
	answers *prometheus.CounterVec
	busy    chan struct{}

	mu    sync.Mutex
	taken map[string]bool // requests that are being answered; guarded by mu
}

// atOnce is how many requests are answered at once; more wait their turn.
const atOnce = 32

// New makes a broker. cfg has been validated.
func New(cfg Config, d Deps) (*Broker, error) {
	cfg = cfg.withDefaults()
	b := &Broker{cfg: cfg, rules: d.Rules, log: d.Log, logger: d.Env.Log, now: d.Env.Now, callers: &callers{cfg: cfg}, taken: map[string]bool{}, busy: make(chan struct{}, atOnce),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_broker_answers_total", Help: "Answers to requests for a credential."}, []string{"status"})}
	var err error
	if b.vault, err = newIssuer(cfg.Vault); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if b.journal, err = openJournal(filepath.Join(d.DataDir, "broker.jsonl")); err != nil {
		return nil, err
	}
	d.Env.Metrics.MustRegister(b.answers)
	return b, nil
}

func (b *Broker) take(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken[id] {
		return false
	}
	b.taken[id] = true
	return true
}

func (b *Broker) leave(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, id)
}

// Run serves until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", b.cfg.Listen)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return b.serve(ctx, listener)
}

func (b *Broker) serve(ctx context.Context, listener net.Listener) error {
	defer b.journal.close()
	config, err := b.cfg.tls()
	if err != nil {
		listener.Close()
		return fmt.Errorf("%w: broker: %w", daemon.ErrConfig, err)
	}
	server := &http.Server{Handler: b.Handler(), TLSConfig: config, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(b.logger.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(within) // what is not answered by then is cut off; the journal knows
	})
	b.logger.Info("the broker issues", "listen", listener.Addr().String())
	err = server.ServeTLS(listener, "", "")
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("broker: %w", err)
}

// Handler of POST /v1/issue.
func (b *Broker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/issue", b.post)
	return mux
}

const (
	maxBody = 64 << 10
	maxKey  = 200
	patient = 45 * time.Second
)

func (b *Broker) post(w http.ResponseWriter, r *http.Request) {
	b.busy <- struct{}{}
	defer func() { <-b.busy }()
	out := b.answered(r)
	b.answers.WithLabelValues(out.Status).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if out.code == http.StatusAccepted {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(out.code)
	_ = json.NewEncoder(w).Encode(out.Answer) // the client may be gone; there is nobody to tell
}

func (b *Broker) answered(r *http.Request) outcome {
	refuse := func(code int, text string) outcome { return outcome{code, Answer{Status: refused, Detail: text}} }
	ctx, cancel := context.WithTimeout(r.Context(), patient)
	defer cancel()
	who, err := b.callers.of(r.WithContext(ctx))
	if err != nil {
		return refuse(http.StatusUnauthorized, err.Error())
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > maxKey {
		return refuse(http.StatusBadRequest, "give a header Idempotency-Key of 1 to 200 bytes: the same for the same request, so that it is fulfilled once")
	}
	wish := &Wish{}
	body := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(wish); err != nil {
		return refuse(http.StatusBadRequest, "the body is not a wish: expected JSON with policies, rules or role and name, lifetime and reason")
	}
	out, err := b.issue(ctx, who, key, wish)
	if err != nil {
		b.logger.Error("the broker can not answer", "caller", who.Name, "error", err)
		return outcome{http.StatusServiceUnavailable, Answer{Request: out.Request, Status: refused, Detail: "Vault, Kafka or the policies do not answer; the broker's log says why"}}
	}
	return out
}
