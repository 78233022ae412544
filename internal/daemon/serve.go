package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// DefaultListen is where metrics and health are served unless told
	// otherwise. They name systems and identities, so loopback only.
	DefaultListen = "127.0.0.1:9464"
	// NoListen as an address serves nothing.
	NoListen = "none"

	shutdownGrace = 5 * time.Second
)

// Serve answers /metrics, /healthz and /readyz at addr until ctx ends, then
// lets requests under way finish. It returns an error if addr can not be
// listened on, nil when ctx ended. With NoListen it only waits.
func Serve(ctx context.Context, addr string, reg *prometheus.Registry, h *Health, log *slog.Logger) error {
	if addr == NoListen {
		<-ctx.Done()
		return nil
	}
	if addr == "" {
		addr = DefaultListen
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve metrics and health (choose another address with --listen or the key `listen`, or %q for none): %w", NoListen, err)
	}
	log.Info("serving metrics and health", "address", listener.Addr().String())
	return serve(ctx, listener, reg, h)
}

func serve(ctx context.Context, listener net.Listener, reg *prometheus.Registry, h *Health) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.Handle("/", h.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}

	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics and health: %w", err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(late); err != nil {
		_ = server.Close() // a client that holds its request open ends with the process anyway
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// Run serves metrics and health at listen and runs every part beside it, as
// Together does.
func Run(ctx context.Context, env Env, listen string, parts ...func(context.Context) error) error {
	all := append([]func(context.Context) error{func(ctx context.Context) error {
		return Serve(ctx, listen, env.Metrics, env.Health, env.Log)
	}}, parts...)

	return Together(ctx, all...)
}

// Together runs the parts side by side. When the first one returns, the others'
// context ends; Together waits for all of them and returns their errors joined.
// An end of ctx is no error.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() {
			defer cancel()
			if err := part(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
