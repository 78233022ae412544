package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

type admitCommand struct {
	Config     string `help:"Configuration file: its policies and catalog, and the running server's exceptions." default:"leastwise.yaml" type:"path" placeholder:"FILE"`
	Policies   string `help:"Directory of YAML policies; then no configuration is read and no server asked." type:"path" placeholder:"DIR"`
	Catalog    string `help:"With --policies: catalog of agents and owners, a file or a directory." type:"path" placeholder:"FILE"`
	Exceptions string `help:"With --policies: file of exceptions, as the gate reads it." type:"path" placeholder:"FILE"`
	JSON       bool   `help:"Print the answer as JSON." name:"json"`
	Explain    bool   `help:"Show every policy that applies, also those that it stands within."`
	Request    string `arg:"" help:"What is wanted, YAML; - is standard input." name:"REQUEST.yaml"`
}

// maxRequest is more than anybody writes by hand.
const maxRequest = 1 << 20

// Run says whether a credential may be issued as asked: exit code 0, 1 if somebody has to justify it first, 2 if the request
// or the configuration can not be read.
func (c *admitCommand) Run(ctx context.Context) error {
	name, dir, in := "stdin", ".", io.Reader(os.Stdin)
	if c.Request != "-" {
		file, err := os.Open(c.Request)
		if err != nil {
			return fmt.Errorf("%w: read the request: %w", errUsage, err)
		}
		defer file.Close()
		name, dir, in = c.Request, filepath.Dir(c.Request), file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return fmt.Errorf("%w: read the request: %w", errUsage, err)
	}
	request, err := admit.Parse(name, text, dir)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var answer *contract.Admission
	if c.Policies != "" {
		answer, err = c.alone(ctx, request)
	} else {
		answer, err = c.asked(ctx, request)
	}
	if err != nil {
		return usageIf(err, admit.ErrRequest)
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(answer)
	} else {
		err = admit.Text(os.Stdout, answer, request.Reason, c.Explain)
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if !answer.Allowed {
		return exit(exitFailed)
	}
	return nil
}

// alone asks files only.
func (c *admitCommand) alone(ctx context.Context, r *admit.Request) (*contract.Admission, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: c.Policies})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	a := admit.Against{Rules: engine.Current(), Now: time.Now(), GrantsWhy: "no server was asked", Why: "no server was asked; give --config, or --exceptions FILE"}
	if c.Catalog != "" {
		if a.Catalog, err = catalog.Load(c.Catalog); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if c.Exceptions != "" {
		list, err := gate.LoadExceptions(c.Exceptions)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		a.Exceptions, a.Why = list.InForce(), "no server was asked, only "+c.Exceptions
	}
	return admit.Admit(ctx, r, a)
}

// asked asks the policies of the configuration and, where it runs, the server.
func (c *admitCommand) asked(ctx context.Context, r *admit.Request) (*contract.Admission, error) {
	if c.Catalog != "" || c.Exceptions != "" {
		return nil, fmt.Errorf("%w: --catalog and --exceptions go with --policies; otherwise the configuration says them", errUsage)
	}
	file := configFlag{c.Config}
	cfg, env, err := file.load("leastwise", "error")
	if err != nil {
		return nil, err
	}
	inForce, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return nil, err
	}
	engines, err := allinone.Attach(ctx, &cfg, env)
	switch {
	case errors.Is(err, allinone.ErrNotRunning):
		return admit.Admit(ctx, r, admit.Against{Rules: inForce.Rules(), Catalog: inForce.Catalog(), Now: env.Now(), GrantsWhy: "no server runs with " + c.Config, Why: "no server runs with " + c.Config})
	case err != nil:
		return nil, err
	}
	defer engines.Close()
	return allinone.Admit(ctx, engines, inForce.Rules(), inForce.Catalog(), r, env.Now())
}
