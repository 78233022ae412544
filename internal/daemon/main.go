package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Version is the release, set by the linker (-X).
var Version = "dev"

// Exit codes of Main.
const (
	exitFailed = 1 // the component ran and failed
	exitUsage  = 2 // flags or configuration are wrong; nothing was started
)

// Env is what every component gets besides its own configuration.
type Env struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	Health  *Health
	Now     func() time.Time
	Listen  string // what Run and Serve take: flag, file or default, in this order
}

// NewEnv has a fresh registry with the Go runtime's, the process's and the
// health's metrics, and the wall clock.
func NewEnv(name string, log *slog.Logger) Env {
	env := Env{Log: log, Metrics: prometheus.NewRegistry(), Health: NewHealth(), Now: time.Now, Listen: DefaultListen}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "leastwise_build_info", Help: "Always 1; the labels say which component and release runs.",
		ConstLabels: prometheus.Labels{"component": name, "version": Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	env.Metrics.MustRegister(build, env.Health,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return env
}

// Args are the flags every component takes.
type Args struct {
	Name   string // the component's
	Config string // path of the configuration file

	check         bool
	level, format string
	listen        string
	logWriter     io.Writer
}

// errChecked ends the run after Load when only --check-config was asked for.
var errChecked = errors.New("configuration checked")

// Load reads the configuration file: see the function Load. With
// --check-config it returns an error after a good file too, which Main turns
// into exit code 0; so return its error before opening anything.
func (a Args) Load(into any) error {
	if err := Load(a.Config, into); err != nil {
		return err
	}
	if a.check {
		return errChecked
	}
	return nil
}

// Env makes the component's environment from the file's common keys and the
// flags, which win.
func (a Args) Env(c Common) (Env, error) {
	log, err := NewLogger(a.logWriter, first(a.level, c.Log.Level), first(a.format, c.Log.Format))
	if err != nil {
		return Env{}, err
	}
	env := NewEnv(a.Name, log.With("component", a.Name))
	env.Listen = first(a.listen, c.Listen, DefaultListen)
	return env, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Main parses the flags, calls run under a context that SIGINT or SIGTERM
// ends, and exits the process: 0 after an orderly end, 1 when run failed, 2
// when flags or configuration are wrong. It does not return.
func Main(name string, run func(ctx context.Context, args Args) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default returns, so the second one kills a
	// component that hangs in its shutdown.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, name, os.Args[1:], os.Stdout, os.Stderr, run))
}

func execute(ctx context.Context, name string, argv []string, stdout, stderr io.Writer, run func(context.Context, Args) error) int {
	args := Args{Name: name, logWriter: stderr}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&args.Config, "config", "leastwise.yaml", "configuration `file`, the same for all components")
	flags.BoolVar(&args.check, "check-config", false, "read the configuration, say what is wrong with it, and end")
	flags.StringVar(&args.level, "log-level", "", "debug, info, warn or error (default: the file's, else info)")
	flags.StringVar(&args.format, "log-format", "", "json or text (default: the file's, else json)")
	flags.StringVar(&args.listen, "listen", "", "`host:port` of /metrics, /healthz and /readyz, or none (default: the file's, else "+DefaultListen+")")
	probe := flags.Bool("probe", false, "ask the running component's /readyz, print what fails, and end with 0 if it is ready (for container health checks)")
	version := flags.Bool("version", false, "print the version and end")
	switch err := flags.Parse(argv); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		_, _ = fmt.Fprintf(stderr, "%s: unexpected argument %q; see %s --help\n", name, flags.Arg(0), name)
		return exitUsage
	case *version:
		_, _ = fmt.Fprintf(stdout, "%s %s %s %s/%s\n", name, Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case *probe:
		run = probeReady
	}
	switch err := run(ctx, args); {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return 0
	case errors.Is(err, errChecked):
		_, _ = fmt.Fprintf(stdout, "%s: configuration ok\n", args.Config)
		return 0
	case errors.Is(err, ErrConfig):
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitFailed
	}
}
