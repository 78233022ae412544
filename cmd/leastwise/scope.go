package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/leastwise/leastwise/collectors/awsiam/policy"
	"github.com/leastwise/leastwise/processor/scope/iam"
)

type scopeCommand struct {
	Explain scopeExplain `cmd:"" help:"Show which actions an AWS IAM policy document grants, wildcards expanded."`
}

type scopeExplain struct {
	File string `arg:"" help:"Policy document, JSON." type:"path"`
}

func (c *scopeExplain) Run() error {
	document, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("%w: read the policy document: %w", errUsage, err)
	}
	rules, err := policy.Parse(document)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, c.File, err)
	}
	out, err := json.MarshalIndent(iam.Explain(rules), "", "  ")
	if err != nil {
		return fmt.Errorf("print what %s grants: %w", c.File, err)
	}
	_, err = os.Stdout.Write(append(out, '\n'))
	return err
}
