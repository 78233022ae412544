package main

import (
	"context"
	"fmt"
	"os"
	"time"

	awstarget "github.com/leastwise/leastwise/enforcer/target/aws"
	vaulttarget "github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/daemon"
)

type doctorCommand struct {
	configFlag
	serverFlag
}

// Run asks every configured Vault and AWS account what the enforcer lacks there, and prints the policy it needs. It changes
// nothing. With a server it tells how that and its sources stand.
func (c *doctorCommand) Run(ctx context.Context) error {
	if server, err := c.client(ctx); err != nil || server != nil {
		if err != nil {
			return err
		}
		return doctorRemote(ctx, server)
	}
	cfg, env, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	if len(cfg.Enforcer.Vault)+len(cfg.Enforcer.AWS) == 0 {
		return fmt.Errorf("%w: %s names no Vault under enforcer.vault and no account under enforcer.aws", daemon.ErrConfig, c.Config)
	}
	well := true
	for _, target := range cfg.Enforcer.Vault {
		fmt.Printf("Vault %s at %s\n\n", target.InstanceName(), target.Address)
		vault, err := vaulttarget.Open(target, env.Log, time.Now)
		if err != nil {
			return err
		}
		report, err := vault.Doctor(ctx)
		if err != nil {
			return fmt.Errorf("vault %s: %w", target.InstanceName(), err)
		}
		if _, err := fmt.Fprintln(os.Stdout, report); err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
		well = well && report.OK()
	}
	for _, target := range cfg.Enforcer.AWS {
		fmt.Printf("AWS account of instance %s\n\n", target.InstanceName())
		aws, err := awstarget.Open(target, awstarget.History{}, env.Log, time.Now)
		if err != nil {
			return err
		}
		report, err := aws.Doctor(ctx)
		if err != nil {
			return fmt.Errorf("aws %s: %w", target.InstanceName(), err)
		}
		if _, err := fmt.Fprintln(os.Stdout, report); err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
		well = well && report.OK()
	}
	if !well {
		return exit(exitFailed)
	}
	return nil
}
