package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/processor/record"
)

type whoCommand struct {
	configFlag
	serverFlag
	Name string `arg:"" help:"Key of a credential or of an identity, or its end, as long as it is unique." name:"CREDENTIAL|IDENTITY"`
	AsOf string `help:"Who was it then (RFC 3339)?" placeholder:"TIME"`
}

// Run prints one identity: all its names, its owner and system of record, and the evidence for each link.
func (c *whoCommand) Run(ctx context.Context) error {
	var asOf int64
	if c.AsOf != "" {
		at, err := time.Parse(time.RFC3339, c.AsOf)
		if err != nil {
			return fmt.Errorf("%w: --as-of %q; expected a time such as 2026-11-21T06:00:00Z", errUsage, c.AsOf)
		}
		asOf = at.UnixNano()
	}
	if server, err := c.client(ctx); err != nil || server != nil {
		if err != nil {
			return err
		}
		return whoRemote(ctx, server, c.Name, c.AsOf)
	}
	cfg, env, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	engines, err := allinone.Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	graph, subject, err := record.Who(ctx, engines.Store, c.Name)
	if err != nil {
		return usageIf(err, record.ErrNobody)
	}
	subject.AsOf = asOf
	return graph.Describe(os.Stdout, subject)
}
