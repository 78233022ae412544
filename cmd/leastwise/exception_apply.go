package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/exceptionfile"
	"github.com/leastwise/leastwise/enforcer/exception"
)

type exceptionApply struct {
	configFlag
	by
	Path          string `arg:"" help:"A YAML file of exceptions, or a folder of them." name:"FILE|DIR" type:"existingpath"`
	Repository    string `help:"Name of the set that these files are: no other set is touched." default:"default" placeholder:"NAME"`
	Prune         bool   `help:"End exceptions of the set that are in no file any more. Only with a folder, which then is the whole set."`
	DryRun        bool   `help:"Show what would change, and change nothing."`
	VerifyCommits bool   `help:"Read what git's HEAD holds, and take who asks and who approves from the signatures of the commit and of its merge."`
}

var repositoryForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Run makes the exceptions of a repository those that are in force.
func (c *exceptionApply) Run(ctx context.Context) error {
	if !repositoryForm.MatchString(c.Repository) {
		return fmt.Errorf("%w: --repository %q; expected lower-case letters, digits and -, at most 40", errUsage, c.Repository)
	}
	if info, err := os.Stat(c.Path); err == nil && !info.IsDir() && c.Prune {
		return fmt.Errorf("%w: --prune with a single file would end all that is in others; give the folder", errUsage)
	}
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		entries, err := c.entries(ctx, &cfg.Exceptions, name)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		recorded, err := exception.List(ctx, engines.Stream)
		if err != nil {
			return err
		}
		now := time.Now()
		limits := func(policy string) (exception.Limits, error) { return limitsOf(ctx, cfg, policy) }
		plan, err := exceptionfile.MakePlan(entries, recorded, c.Repository, c.Prune, limits, now)
		if err != nil {
			return fmt.Errorf("%w: nothing was changed: %w", errUsage, err)
		}
		if !c.DryRun {
			if err := plan.Apply(ctx, engines.Stream, name, limits, now); err != nil {
				return fmt.Errorf("only a part was changed; apply it again: %w", err)
			}
		}
		return plan.Write(os.Stdout)
	})
}

func (c *exceptionApply) entries(ctx context.Context, cfg *exceptionfile.Config, name string) ([]*exceptionfile.Entry, error) {
	if c.VerifyCommits {
		return exceptionfile.LoadVerified(ctx, c.Path, cfg.AllowedSigners)
	}
	entries, err := exceptionfile.Load(c.Path)
	return entries, errors.Join(err, exceptionfile.Names(entries, cfg.Trusted(c.Path), name))
}
