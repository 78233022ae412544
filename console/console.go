// Package console is the page that people open, and its API: what ClickHouse knows, read by somebody who may only read, and
// what may be done about it, written to Kafka with the name of who does it.
//
// It promises that nobody who is not signed in reads or changes anything; that what is unknown is shown as unknown; and that
// exceptions, the mode and the kill switch work while ClickHouse is away. It keeps no state on disk: sessions end with the
// process. Run blocks until its context ends.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/leastwise/leastwise/console/api"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/ledger"
	"github.com/leastwise/leastwise/console/live"
	"github.com/leastwise/leastwise/console/read"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/console/web"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
)

// Deps are what the console stands on.
type Deps struct {
	Env daemon.Env
	// Store reads; it needs no right to write.
	Store *store.DB
	Log   ledger.Log
	// The rules of other rooms.
	Policies   rules.Policies
	Control    rules.Control
	Exceptions rules.Exceptions
	Clouds     rules.Clouds
	Admission  rules.Admission
	Questions  rules.Questions
	Names      read.Names
	// DataDir gets a socket that only this user may open, through which `leastwise link` asks for links. Empty: none.
	DataDir string
	// User is who starts it: the first link's person.
	User string
	// Settings of every query; nil where the connection has its own limits.
	Settings map[string]any
	// Demo is one sentence about scaled time, in a demonstration.
	Demo string
	// Every is the shortest time between two readings of ClickHouse (default 2 s).
	Every time.Duration
	// Ready is called once it listens, with its address and, on loopback, a one-time link. May be nil.
	Ready func(base, link string)
}

// Console is one that Run runs.
type Console struct {
	cfg      Config
	deps     Deps
	sessions *signin.Sessions
	oidc     *signin.OIDC
	base     string // set by Run
	hosts    []string
}

// SocketFile is what `leastwise link` opens, in the data directory.
const SocketFile = "console.sock"

// New reads the files that cfg names. Nothing is opened yet.
func New(cfg Config, deps Deps) (*Console, error) {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if cfg.Session == 0 {
		cfg.Session = defaultSession
	}
	if cfg.Rate == 0 {
		cfg.Rate = defaultRate
	}
	return &Console{cfg: cfg, deps: deps, sessions: signin.NewSessions(cfg.Session, cfg.Rate, deps.Env.Now)}, nil
}

// everything is who may do everything: the first link's person, who started the process.
var everything = []string{signin.Viewer, signin.Approver, signin.Security, signin.Admin}

// Run serves until ctx ends. It fails if it can not listen.
func (c *Console) Run(ctx context.Context) error {
	tlsConfig, err := c.cfg.TLS.load()
	if err != nil {
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.cfg.Listen)
	if err != nil {
		return fmt.Errorf("serve the console (choose another address with the key console.listen, or %q for none): %w", NoListen, err)
	}
	defer listener.Close()
	handler, parts, err := c.assemble(listener.Addr(), tlsConfig != nil)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, TLSConfig: tlsConfig, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(c.deps.Env.Log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx }}
	parts = append(parts, func(ctx context.Context) error { return serve(ctx, server, listener, tlsConfig != nil) })
	if c.deps.DataDir != "" && c.local() {
		socket, err := openSocket(ctx, filepath.Join(c.deps.DataDir, SocketFile))
		if err != nil {
			return err
		}
		defer socket.Close()
		parts = append(parts, func(ctx context.Context) error { return c.serveLinks(ctx, socket) })
	}
	c.deps.Env.Log.Info("the console answers", "address", c.base)
	if c.deps.Ready != nil {
		link := ""
		if c.local() {
			link = c.Link(signin.Person{Name: c.deps.User, Roles: everything})
		}
		c.deps.Ready(c.base, link)
	}
	return daemon.Together(ctx, parts...)
}

// local: it is reached from this machine alone, so links may be printed.
func (c *Console) local() bool { return loopback(c.cfg.Listen) && c.cfg.URL == "" }

// Link makes an address that signs a person in, once.
func (c *Console) Link(p signin.Person) string {
	return c.base + "/auth/link?token=" + url.QueryEscape(c.sessions.Link(p))
}

// assemble puts the parts together.
func (c *Console) assemble(addr net.Addr, encrypted bool) (http.Handler, []func(context.Context) error, error) {
	env := c.deps.Env
	u, err := c.cfg.url()
	if err != nil {
		return nil, nil, err
	}
	c.base = "http://" + addr.String()
	if encrypted {
		c.base = "https://" + addr.String()
	}
	if u != nil {
		c.base = u.Scheme + "://" + u.Host
		encrypted = encrypted || u.Scheme == "https"
	}
	c.hosts = signin.HostsOf(addr, u)
	if c.cfg.OIDC != nil {
		opts, err := c.cfg.OIDC.options(c.base, c.cfg.grants())
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
		}
		opts.Log, opts.Now = env.Log, env.Now
		c.oidc = signin.NewOIDC(opts)
	}
	hub := live.New()
	known := fleet.New(fleet.Options{Store: c.deps.Store, Log: env.Log, Now: env.Now, Every: c.deps.Every, Changed: hub.Changed})
	reader := read.New(c.deps.Store, c.deps.Names, env.Now)
	written := ledger.New(c.deps.Log, c.deps.Control, c.deps.Exceptions, env.Log, hub.Changed)
	guard := signin.NewGuard(signin.Guard{Sessions: c.sessions, Grants: c.cfg.grants(), Hosts: func() []string { return c.hosts }, TLS: encrypted,
		Loopback: c.local(), OIDC: c.oidc})
	mux := http.NewServeMux()
	mux.Handle("/v1/", api.New(api.Deps{Fleet: known, Read: reader, Ledger: written, Policies: c.deps.Policies, Exceptions: c.deps.Exceptions,
		Clouds: c.deps.Clouds, Admission: c.deps.Admission, Questions: c.deps.Questions, Names: c.deps.Names, Hub: hub, Guard: guard, Log: env.Log, Now: env.Now, Version: daemon.Version, Demo: c.deps.Demo, Settings: c.deps.Settings}))
	mux.Handle("/", web.Handler(web.Built()))
	within := func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if c.deps.Settings != nil {
				ctx = store.WithSettings(ctx, c.deps.Settings)
			}
			return run(ctx)
		}
	}
	return patient(guard.Wrap(mux), env.Log), []func(context.Context) error{within(known.Run), written.Run,
		within(func(ctx context.Context) error { return verify(ctx, reader, env) }),
		func(ctx context.Context) error { return health(ctx, known, env) }}, nil
}

// patient cuts off slow readers (the live stream moves its own deadline), and answers for what must not happen.
func patient(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("a request broke the console", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				signin.Problem(w, http.StatusInternalServerError, "The console failed", "Leastwise's log says how: please tell whoever runs it.")
			}
		}()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * time.Minute)) // not every writer has deadlines
		next.ServeHTTP(w, r)
	})
}

func serve(ctx context.Context, server *http.Server, listener net.Listener, encrypted bool) error {
	ended := make(chan error, 1)
	go func() {
		if encrypted {
			ended <- server.ServeTLS(listener, "", "")
		} else {
			ended <- server.Serve(listener)
		}
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the console: %w", err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if server.Shutdown(late) != nil {
		_ = server.Close() // who holds a request open ends with the process anyway
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the console: %w", err)
	}
	return nil
}

// verify proves the audit log again and again.
func verify(ctx context.Context, reader *read.Reader, env daemon.Env) error {
	for {
		if err := reader.Verify(ctx); err != nil && ctx.Err() == nil {
			env.Log.Debug("the audit log can not be proven now", "error", err)
		}
		for _, v := range reader.Verified() {
			if !v.Unbroken {
				env.Log.Error("the audit log has been changed", "topic", v.Topic, "at", *v.BrokenAt)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Minute):
		}
	}
}

// health says how the console's reading goes.
func health(ctx context.Context, known *fleet.Fleet, env daemon.Env) error {
	for {
		err := known.Problem()
		if err != nil {
			err = errors.New("ClickHouse does not answer; the page shows what was last known")
		}
		env.Health.Set("console", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}
