package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

type gateCommand struct {
	Check gateCheck `cmd:"" default:"withargs" help:"Refuse manifests whose identities do not map to exactly one owner and one system of record."`
	Serve gateServe `cmd:"" help:"Answer Kubernetes' admission reviews with the same judgement."`
}

// gateFlags win over the `gate` section of the configuration file.
type gateFlags struct {
	Catalog    string `help:"Catalog of agents and owners, a file or a directory (default: the configuration's)." placeholder:"FILE"`
	Config     string `help:"Configuration file; its gate, catalog and kafka sections are read." placeholder:"FILE"`
	Exceptions string `help:"File of exceptions (default: the configuration's)." placeholder:"FILE"`
	Fail       string `help:"Where the catalog or the identity graph can not be read: open lets pass, closed refuses (default: the configuration's, else closed)." enum:",open,closed" default:""`
	// policies is the directory of policies where what will be issued is judged; nil: it is not.
	policies *string
	Graph    bool `help:"Ask the running server's identity graph and exceptions too, by the configuration's kafka section."`
}

// opened is a gate with what it stands on.
type opened struct {
	gate       *gate.Gate
	exceptions *gate.Exceptions
	live       *gate.Live
	close      func()
}

type gateConfig struct {
	daemon.Common `yaml:",inline"`
	Kafka         *stream.Config `yaml:"kafka"` // nil if the file has no such section
	Gate          gate.Config    `yaml:"gate"`
	Catalog       struct {
		Path string `yaml:"path"`
	} `yaml:"catalog"`
	Policies struct {
		Dir string `yaml:"dir"`
	} `yaml:"policies"`
}

// open makes the gate that flags and configuration describe. The caller calls close.
func (f *gateFlags) open(ctx context.Context, namespace string, log *slog.Logger) (*opened, error) {
	var cfg gateConfig
	if f.Config != "" {
		if err := daemon.Load(f.Config, &cfg); err != nil {
			return nil, err
		}
	}
	for flag, to := range map[*string]*string{&f.Catalog: &cfg.Catalog.Path, &f.Fail: &cfg.Gate.Fail,
		&f.Exceptions: &cfg.Gate.Exceptions, &namespace: &cfg.Gate.Namespace} {
		if *flag != "" {
			*to = *flag
		}
	}
	if cfg.Catalog.Path == "" {
		return nil, fmt.Errorf("%w: no catalog; give --catalog FILE, or --config FILE with catalog.path", errUsage)
	}
	o := &opened{close: func() {}}
	opts := gate.Options{Config: cfg.Gate, Catalog: gate.LoadCatalog(cfg.Catalog.Path)}
	var err error
	if cfg.Gate.Exceptions != "" {
		if o.exceptions, err = gate.LoadExceptions(cfg.Gate.Exceptions); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if f.policies != nil && cmp.Or(*f.policies, cfg.Policies.Dir) != "" {
		engine, err := rego.New(ctx, rego.Options{PolicyDir: cmp.Or(*f.policies, cfg.Policies.Dir)})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		opts.Rules = engine.Current
	}
	if f.Graph || cfg.Gate.Graph {
		if cfg.Kafka == nil {
			return nil, fmt.Errorf("%w: the identity graph is asked for; give --config FILE with a kafka section that says where the server is", errUsage)
		}
		switch err := o.attach(ctx, f.Config, *cfg.Kafka, log); {
		case err == nil:
			opts.Graph, opts.Noticed = gate.Graph{Read: o.live.Graph}, o.live.Noticed
		case errors.Is(err, allinone.ErrNotRunning):
			opts.Graph = gate.Graph{Read: func(context.Context) (*identity.Graph, error) { return nil, err }}
		default:
			return nil, err
		}
	}
	opts.Exceptions = func() []*pb.Exception {
		list := o.exceptions.InForce()
		if o.live != nil {
			list = append(slices.Clone(list), o.live.Exceptions()...)
		}
		return list
	}
	o.gate = gate.New(opts)
	return o, nil
}

// attach opens a client of the running server's Kafka: of an embedded one where the process on this machine says it is.
func (o *opened) attach(ctx context.Context, path string, kafka stream.Config, log *slog.Logger) error {
	if kafka.Embedded && len(kafka.Brokers) == 0 {
		var cfg allinone.Config
		if err := daemon.Load(path, &cfg); err != nil {
			return err
		}
		env := daemon.NewEnv("gate", log)
		engines, err := allinone.Attach(ctx, &cfg, env)
		if err != nil {
			return err
		}
		o.live, o.close = gate.NewLive(engines.Stream), engines.Close
		return nil
	}
	client, err := stream.Open(ctx, kafka, log)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", daemon.ErrConfig, path, err)
	}
	o.live, o.close = gate.NewLive(client), func() { _ = client.Close() }
	return nil
}

// graphPatience is how long one run waits for the server's graph before it is judged without, as --fail says.
const graphPatience = 30 * time.Second

type gateCheck struct {
	gateFlags
	Namespace string   `help:"Namespace of manifests that name none (default: the configuration's, else default)." short:"n" placeholder:"NAME"`
	Format    string   `help:"text or json." enum:"text,json" default:"text"`
	Policies  string   `help:"Directory of YAML policies, for lifetime and scope of what will be issued (default: the configuration's)." placeholder:"DIR"`
	Files     []string `arg:"" name:"file" help:"Manifests, YAML or JSON, or Terraform plans as JSON; directories are read whole, - is standard input."`
}

func (c *gateCheck) Run(ctx context.Context) error {
	c.policies = &c.Policies
	o, err := c.open(ctx, c.Namespace, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer o.close()
	if o.live != nil {
		ctx, cancel := context.WithTimeout(ctx, graphPatience)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = o.live.Run(ctx) // ends with ctx; what it could not read is said by the gate
		}()
		defer func() { cancel(); <-ended }()
		o.live.Wait(ctx)
	}
	report, err := o.gate.Check(ctx, c.Files, os.Stdin)
	if errors.Is(err, gate.ErrManifests) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	if c.Format == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.Text(os.Stdout)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if !report.Allowed {
		return exit(exitFailed)
	}
	return nil
}

type gateServe struct {
	gateFlags
	Listen    string `help:"host:port of the webhook." default:":8443"`
	TLSCert   string `name:"tls-cert" help:"Certificate (PEM) for the name that Kubernetes calls; read again when it changes." placeholder:"FILE"`
	TLSKey    string `name:"tls-key" help:"Its key (PEM)." placeholder:"FILE"`
	LogLevel  string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	LogFormat string `help:"json or text." enum:"json,text" default:"json"`
	Probe     bool   `help:"Ask the running gate's /readyz at the same --listen, print what fails, and end with 0 if it is ready (for container health checks)."`
}

func (c *gateServe) Run(ctx context.Context) error {
	if c.Probe {
		return daemon.Probe(ctx, "https", c.Listen)
	}
	if c.TLSCert == "" || c.TLSKey == "" {
		return fmt.Errorf("%w: give --tls-cert FILE and --tls-key FILE; Kubernetes calls webhooks by TLS alone", errUsage)
	}
	log, err := daemon.NewLogger(os.Stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	o, err := c.open(ctx, "", log)
	if err != nil {
		return err
	}
	defer o.close()
	env := daemon.NewEnv("gate", log.With("component", "gate"))
	server, err := gate.NewServer(o.gate, gate.ServeOptions{Listen: c.Listen, Certificate: c.TLSCert, Key: c.TLSKey,
		Exceptions: o.exceptions, Live: o.live, Log: env.Log, Metrics: env.Metrics})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
