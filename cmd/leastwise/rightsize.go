package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/narrower"
	"github.com/leastwise/leastwise/processor"
)

type rightsizeCommand struct {
	configFlag
	Name     string `arg:"" help:"Key of a credential or of an identity, or its end, as long as it is unique." name:"CREDENTIAL|IDENTITY"`
	Days     int    `help:"How many days of use justify a permission." default:"30"`
	Replay   int    `help:"How many days of use the proposal is tried against." default:"30"`
	JSON     bool   `help:"Print the answer as JSON." name:"json" xor:"as"`
	Artifact bool   `help:"Print the policy to apply alone." xor:"as"`
}

// Run proposes the scope that observed use justifies. It changes nothing.
func (c *rightsizeCommand) Run(ctx context.Context) error {
	if c.Days < 1 || c.Replay < 1 || c.Days > 400 || c.Replay > 400 {
		return fmt.Errorf("%w: --days and --replay are from 1 to 400, the days for which events are kept", errUsage)
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
	report, err := narrower.Ask(ctx, engines.Store, rules.Catalog(), narrower.Question{Name: c.Name, Days: c.Days, Replay: c.Replay, Now: time.Now()})
	if errors.Is(err, narrower.ErrNobody) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	case c.Artifact && report.Artifact == nil:
		return fmt.Errorf("there is nothing to apply: %s", report.Refused)
	case c.Artifact:
		_, err := os.Stdout.WriteString(report.Artifact.Text)
		return err
	default:
		return report.Write(os.Stdout)
	}
}
