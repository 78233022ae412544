package chdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Transport sends requests to the engine without a network. The host in their
// URL does not matter.
func (e *Engine) Transport() http.RoundTripper { return transport{e.Handler()} }

// ReadOnlyTransport does the same with ReadOnly's side of the engine.
func (e *Engine) ReadOnlyTransport() http.RoundTripper { return transport{e.ReadOnly()} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &recorder{head: http.Header{}, status: http.StatusOK}
	t.h.ServeHTTP(w, r)
	if r.Body != nil {
		r.Body.Close() // also wakes a writer whose data was not wanted
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.head,
		Body:          io.NopCloser(bytes.NewReader(w.body)),
		ContentLength: int64(len(w.body)),
		Request:       r,
	}, nil
}

// recorder keeps the response. The handler writes its body at once, so the
// bytes are taken over, not copied.
type recorder struct {
	head   http.Header
	status int
	body   []byte
}

func (w *recorder) Header() http.Header { return w.head }

func (w *recorder) WriteHeader(status int) { w.status = status }

func (w *recorder) Write(b []byte) (int, error) {
	if w.body == nil {
		w.body = b
	} else {
		w.body = append(w.body, b...)
	}
	return len(b), nil
}

// Serve lets other programs of this machine read: ReadOnly on addr, until ctx
// ends. There are no passwords, so it answers only to requests that name
// loopback as their host; a page in a browser can not reach it under another
// name. ready, if not nil, is called with the address once it listens.
func (e *Engine) Serve(ctx context.Context, addr string, ready func(net.Addr)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("embedded clickhouse: listen: %w", err)
	}
	srv := &http.Server{
		Handler:           loopbackOnly(e.ReadOnly()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	if ready != nil {
		ready(l.Addr())
	}
	err = srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("embedded clickhouse: serve: %w", err)
}

func loopbackOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this port serves localhost only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
