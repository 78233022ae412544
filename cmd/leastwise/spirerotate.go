package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/rotate"
	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/schemas"
)

type rotateCommand struct {
	Start  rotateStart  `cmd:"" help:"Approve the end of the authority that signs now. The second person's approval starts it."`
	Next   rotateNext   `cmd:"" help:"Do the next step: prepare, activate, taint, revoke."`
	Status rotateStatus `cmd:"" help:"Tell which step was done last, and what the server says."`
}

// authority says which one.
type authority struct {
	configFlag
	Instance string `help:"Instance of the server in enforcer.spire." default:"default"`
	Kind     string `help:"Which authority: x509 or jwt." enum:"x509,jwt" default:"x509"`
}

func (a *authority) at(ctx context.Context, fn func(*rotate.Rotations) error) error {
	return a.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		for _, c := range cfg.Enforcer.SPIRE {
			if c.InstanceName() != a.Instance {
				continue
			}
			server, err := spire.Open(c, spire.Deps{})
			if err != nil {
				return fmt.Errorf("spire %s: %w", a.Instance, err)
			}
			defer server.Close()
			return fn(&rotate.Rotations{Server: server, Instance: a.Instance, Kind: a.Kind, Control: engines.Stream, Now: time.Now,
				Journal:  filepath.Join(cfg.DataDir, "spire-rotation-"+a.Instance+"-"+a.Kind+".jsonl"),
				Settings: func(ctx context.Context) (*control.State, error) { return settings(ctx, engines) }})
		}
		return fmt.Errorf("%w: enforcer.spire has no instance %q", errUsage, a.Instance)
	})
}

// settings reads the control topic whole.
func settings(ctx context.Context, engines *allinone.Engines) (*control.State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("Kafka did not give the control topic within a minute"))
	defer cancel()
	whole := false
	state := &control.State{}
	err := engines.Stream.Follow(ctx, schemas.TopicControl, func() { whole = true; cancel() }, state.Apply)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the settings: %w", err)
	case !whole:
		return nil, fmt.Errorf("read the settings: %w", context.Cause(ctx))
	}
	return state, nil
}

type rotateStart struct {
	authority
	by
	Reason string `help:"Why; it stays in the record." required:""`
}

func (c *rotateStart) Run(ctx context.Context) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.at(ctx, func(r *rotate.Rotations) error {
		begun, err := r.Start(ctx, control.Who{Name: name, Reason: c.Reason})
		if err != nil {
			return usageIf(err, control.ErrInvalid)
		}
		fmt.Printf("started: authority %s is to end, approved by %s and %s. Nothing is changed yet: leastwise spire-rotate next --kind %s\n",
			begun.Retire, begun.ApprovedBy[0], begun.ApprovedBy[1], begun.Kind)
		return nil
	})
}

type rotateNext struct {
	authority
	by
}

func (c *rotateNext) Run(ctx context.Context) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.at(ctx, func(r *rotate.Rotations) error {
		done, err := r.Next(ctx, name)
		if err != nil {
			return usageIf(err, control.ErrInvalid)
		}
		tellRotation(done)
		return nil
	})
}

type rotateStatus struct{ authority }

func (c *rotateStatus) Run(ctx context.Context) error {
	return c.at(ctx, func(r *rotate.Rotations) error {
		last, proof, err := r.Status(ctx)
		if err != nil {
			return err
		}
		tellRotation(last)
		fmt.Println(proof.Text)
		return nil
	})
}

func tellRotation(r spire.Rotation) {
	fmt.Printf("%s: authority %s ends, %s takes its place\n", r.Step, r.Retire, r.New)
	if time.Until(r.NotBefore) > 0 {
		fmt.Printf("the next step not before %s: agents and workloads have to follow first\n", r.NotBefore.UTC().Format(time.RFC3339))
	}
}
