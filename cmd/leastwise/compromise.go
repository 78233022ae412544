package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/compromise"
	"github.com/leastwise/leastwise/processor"
)

type compromiseCommand struct {
	configFlag
	Name  string `arg:"" help:"Key of a credential or of an identity, or its end, as long as it is unique." name:"CREDENTIAL|IDENTITY"`
	At    string `help:"When it leaks (RFC 3339); what it may do is taken as it is known now." placeholder:"TIME"`
	After string `help:"Show beside it what would be left after: rightsize, revoke." enum:"rightsize,revoke," default:"" placeholder:"WHAT"`
	JSON  bool   `help:"Print the answer as JSON." name:"json"`
	All   bool   `help:"List every principal that is reached, not the first ten."`
}

// Run says what the holder could do. It reads what is known and touches no live system.
func (c *compromiseCommand) Run(ctx context.Context) error {
	at := time.Now()
	if c.At != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, c.At); err != nil {
			return fmt.Errorf("%w: --at %q; expected a time such as 2026-11-21T06:00:00Z", errUsage, c.At)
		}
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
	report, err := compromise.Ask(ctx, engines.Store, rules.Catalog(), compromise.Question{Name: c.Name, At: at, After: c.After})
	if errors.Is(err, compromise.ErrNobody) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.Write(os.Stdout, c.All)
}
