package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
)

type policyCommand struct {
	Test    policyTest    `cmd:"" help:"Check policies, and run the tests beside them."`
	Explain policyExplain `cmd:"" help:"Show, policy by policy, how a credential stands and what would be done."`
}

type policyTest struct {
	Dir string `arg:"" help:"Directory of YAML policies, free-form Rego and their tests." type:"existingdir"`
}

func (c *policyTest) Run(ctx context.Context) error {
	if err := rego.TestDir(ctx, c.Dir, os.Stdout); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}

type policyExplain struct {
	configFlag
	serverFlag
	Credential string `arg:"" help:"Key of the credential, or its end, as long as it is unique."`
}

func (c *policyExplain) Run(ctx context.Context) error {
	if server, err := c.client(ctx); err != nil || server != nil {
		if err != nil {
			return err
		}
		return explainRemote(ctx, server, c.Credential)
	}
	cfg, env, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	rules, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	engines, err := allinone.Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	cred, err := record.FindCredential(ctx, engines.Store, c.Credential)
	if err != nil {
		return err
	}
	grants := scope.NewGrants()
	if err := record.LoadGrants(ctx, engines.Store, grants.Put); err != nil {
		return err
	}
	view := core.New(core.Options{Grants: grants})
	view.Catalog(rules.Catalog())
	view.Load(cred)
	subject, values := view.Measure(cred.Key, time.Now().UnixNano())
	return rego.Explain(ctx, rules.Rules(), &subject, &values, os.Stdout)
}
