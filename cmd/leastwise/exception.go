package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

type exceptionCommand struct {
	Request exceptionRequest `cmd:"" help:"Ask for an exception: for whom, from which policy, why and until when."`
	Approve exceptionApprove `cmd:"" help:"Approve an exception that somebody else asked for."`
	Revoke  exceptionRevoke  `cmd:"" help:"End an exception now."`
	List    exceptionList    `cmd:"" help:"List exceptions with who asked and who approved."`
	Apply   exceptionApply   `cmd:"" help:"Make the exceptions of YAML files, kept in a repository, those that are recorded."`
}

// by names who acts; the operating system's user unless told otherwise.
type by struct {
	By string `help:"Who does this (default: the user this runs as)." placeholder:"NAME"`
}

func (b *by) name() (string, error) {
	if b.By != "" {
		return b.By, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("%w: who does this? give --by NAME (%w)", errUsage, err)
	}
	return u.Username, nil
}

type exceptionRequest struct {
	configFlag
	serverFlag
	by
	Credential string `help:"Key of the credential." xor:"whom" required:"" placeholder:"KEY"`
	Identity   string `help:"Key of the identity: all its credentials." xor:"whom" required:"" placeholder:"KEY"`
	Policy     string `help:"Id of the policy; * for all." required:"" placeholder:"ID"`
	Reason     string `help:"Why: what the approver decides on." required:""`
	Ticket     string `help:"Where it is discussed."`
	Until      string `help:"When it ends by itself: a day, a time (RFC 3339), or a duration from now such as 72h." required:""`
}

func (c *exceptionRequest) Run(ctx context.Context) error {
	now := time.Now()
	until, err := parseUntil(c.Until, now)
	if err != nil {
		return err
	}
	if server, err := c.client(ctx); err != nil || server != nil {
		if err == nil {
			err = signed(c.by)
		}
		if err != nil {
			return err
		}
		body := map[string]any{"policy": c.Policy, "reason": c.Reason, "until": until}
		for key, text := range map[string]string{"credential": c.Credential, "identity": c.Identity, "ticket": c.Ticket} {
			if text != "" {
				body[key] = text
			}
		}
		e, err := post[contract.Exception](ctx, server, "/v1/exceptions", body)
		if err == nil {
			fmt.Printf("%s requested by %s. Somebody else approves it with: leastwise exception approve %s\n", e.ID, printable(e.RequestedBy), e.ID)
		}
		return err
	}
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		limits, err := limitsOf(ctx, cfg, c.Policy)
		if err != nil {
			return err
		}
		e, err := exception.Request(ctx, engines.Stream, &pb.Exception{Credential: c.Credential, Identity: c.Identity,
			PolicyId: c.Policy, Reason: c.Reason, Ticket: c.Ticket, Until: timestamppb.New(until), RequestedBy: name}, limits, now)
		if err != nil {
			return usageIf(err, exception.ErrInvalid)
		}
		fmt.Printf("%s requested by %s. Somebody else approves it with: leastwise exception approve %s\n", e.Id, e.RequestedBy, e.Id)
		return nil
	})
}

func parseUntil(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil // to the end of that day, UTC
	}
	d, err := rego.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: --until %q: give a day such as 2026-12-31, a time such as 2026-12-31T18:00:00Z, or a duration such as 72h or 30d", errUsage, text)
	}
	return now.Add(d), nil
}

// limitsOf gives what the policy says of its exceptions.
func limitsOf(ctx context.Context, cfg *allinone.Config, policy string) (exception.Limits, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: cfg.Policies.Dir, BundleDir: cfg.Policies.Bundle})
	if err != nil {
		return exception.Limits{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	if policy == "*" || policy == gate.PolicyID {
		return exception.Limits{}, nil
	}
	p, ok := engine.Current().Policy(policy)
	if !ok {
		return exception.Limits{}, fmt.Errorf("%w: no policy %q in %s", errUsage, policy, cfg.Policies.Dir)
	}
	return exception.Limits{MaxDuration: p.Exception.MaxDuration, Approvers: p.Exception.Approvers}, nil
}

type exceptionApprove struct {
	configFlag
	serverFlag
	by
	ID string `arg:"" help:"Id of the exception."`
}

func (c *exceptionApprove) Run(ctx context.Context) error {
	if server, err := c.client(ctx); err != nil || server != nil {
		if err == nil {
			err = signed(c.by)
		}
		if err != nil {
			return err
		}
		e, err := post[contract.Exception](ctx, server, exceptionPath(c.ID, "approve"), nil)
		if err == nil {
			fmt.Printf("%s approved by %s\n", e.ID, printable(given(e.ApprovedBy)))
		}
		return err
	}
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		all, err := exception.List(ctx, engines.Stream)
		if err != nil {
			return err
		}
		var limits exception.Limits
		for _, e := range all {
			if e.Id == c.ID {
				if limits, err = limitsOf(ctx, cfg, e.PolicyId); err != nil {
					return err
				}
			}
		}
		e, err := exception.Approve(ctx, engines.Stream, c.ID, name, limits, time.Now())
		if err != nil {
			return usageIf(err, exception.ErrInvalid, exception.ErrSelfApproval, exception.ErrNotFound, exception.ErrOver)
		}
		fmt.Printf("%s approved by %s, until %s\n", e.Id, e.ApprovedBy, e.Until.AsTime().Format(time.RFC3339))
		return nil
	})
}

type exceptionRevoke struct {
	configFlag
	serverFlag
	by
	ID string `arg:"" help:"Id of the exception."`
}

func (c *exceptionRevoke) Run(ctx context.Context) error {
	if server, err := c.client(ctx); err != nil || server != nil {
		if err == nil {
			err = signed(c.by)
		}
		if err != nil {
			return err
		}
		e, err := post[contract.Exception](ctx, server, exceptionPath(c.ID, "revoke"), nil)
		if err == nil {
			fmt.Printf("%s ended by %s. What it covered starts its ladder anew, with a fresh grace period.\n", e.ID, printable(given(e.RevokedBy)))
		}
		return err
	}
	name, err := c.name()
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		e, err := exception.Revoke(ctx, engines.Stream, c.ID, name, time.Now())
		if err != nil {
			return usageIf(err, exception.ErrInvalid, exception.ErrNotFound)
		}
		fmt.Printf("%s ended by %s. What it covered starts its ladder anew, with a fresh grace period.\n", e.Id, e.RevokedBy)
		return nil
	})
}

type exceptionList struct {
	configFlag
	serverFlag
}

func (c *exceptionList) Run(ctx context.Context) error {
	if server, err := c.client(ctx); err != nil || server != nil {
		if err != nil {
			return err
		}
		return listRemoteExceptions(ctx, server)
	}
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		all, err := exception.List(ctx, engines.Stream)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSTATE\tPOLICY\tFOR\tUNTIL\tASKED BY\tAPPROVED BY\tREASON")
		for _, e := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%q\n", e.Id, exceptionState(e, time.Now()), e.PolicyId,
				e.Credential+e.Identity, e.Until.AsTime().Format(time.RFC3339), e.RequestedBy, orDash(e.ApprovedBy), e.Reason)
		}
		return w.Flush()
	})
}

func exceptionState(e *pb.Exception, now time.Time) string {
	switch {
	case e.RevokedAt != nil:
		return "revoked"
	case !e.Until.AsTime().After(now):
		return "ended"
	case e.ApprovedAt == nil:
		return "requested"
	default:
		return "valid"
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// attached runs fn with clients of what runs already.
func (c *configFlag) attached(ctx context.Context, fn func(*allinone.Engines, *allinone.Config) error) error {
	cfg, env, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	engines, err := allinone.Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	return fn(engines, &cfg)
}

// usageIf marks errors that the caller mends by calling otherwise.
func usageIf(err error, kinds ...error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	return err
}
