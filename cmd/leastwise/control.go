package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/internal/stream"
)

type controlCommand struct {
	Mode    controlMode    `cmd:"" help:"Cap what the enforcer does: observe, notify or enforce."`
	Kill    controlKill    `cmd:"" help:"Kill switch: stop every act at every target, or let them go on."`
	Budget  controlBudget  `cmd:"" help:"Bound revocations an hour, such as \"20/h 5%\"."`
	Approve controlApprove `cmd:"" help:"Approve an act of a ladder. Where a policy asks for two people, two have to."`
}

// set is what every change of a setting takes.
type set struct {
	configFlag
	serverFlag
	by
	Reason string `help:"Why; it stays in the record." required:""`
}

// remotely makes the change at a server; false if none is named.
func (s *set) remotely(ctx context.Context, what, path string, body any) (bool, error) {
	server, err := s.client(ctx)
	if err != nil || server == nil {
		return server != nil || err != nil, err
	}
	if err := signed(s.by); err != nil {
		return true, err
	}
	if path == "" {
		return true, fmt.Errorf("%w: the API has no way to do this; run it with --config where Kafka is in reach", errUsage)
	}
	if _, err := post[json.RawMessage](ctx, server, path, body); err != nil {
		return true, err
	}
	fmt.Println(what)
	return true, nil
}

// change is made at a server if one is named, by the API's path, and else in Kafka.
func (s *set) change(ctx context.Context, what, path string, body any, fn func(context.Context, *stream.Client, control.Who, time.Time) error) error {
	if done, err := s.remotely(ctx, what, path, body); done {
		return err
	}
	name, err := s.name()
	if err != nil {
		return err
	}
	return s.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		if err := fn(ctx, engines.Stream, control.Who{Name: name, Reason: s.Reason}, time.Now()); err != nil {
			return usageIf(err, control.ErrInvalid, enforcer.ErrNoLadder)
		}
		fmt.Printf("%s, set by %s\n", what, name)
		return nil
	})
}

// onLadder is change for what is asked of one ladder, which has to be in the journal.
func (s *set) onLadder(ctx context.Context, ladder, what, path string, body map[string]any, fn func(context.Context, control.Log, control.Who, time.Time) error) error {
	body["ladder"], body["reason"] = ladder, s.Reason
	return s.change(ctx, what, path, body, func(ctx context.Context, kafka *stream.Client, who control.Who, now time.Time) error {
		if _, err := enforcer.FindLadder(ctx, kafka, ladder); err != nil {
			return err
		}
		return fn(ctx, kafka, who, now)
	})
}

type controlMode struct {
	set
	Mode string `arg:"" enum:"observe,notify,enforce" help:"observe, notify or enforce."`
}

func (c *controlMode) Run(ctx context.Context) error {
	return c.change(ctx, "mode "+c.Mode, "/v1/enforcement/mode", map[string]any{"mode": c.Mode, "reason": c.Reason}, func(ctx context.Context, log *stream.Client, who control.Who, now time.Time) error {
		return control.SetMode(ctx, log, c.Mode, who, now)
	})
}

type controlKill struct {
	set
	State string `arg:"" enum:"on,off" help:"on: nothing is revoked; off: the ladders go on."`
}

func (c *controlKill) Run(ctx context.Context) error {
	return c.change(ctx, "kill switch "+c.State, "/v1/enforcement/kill", map[string]any{"on": c.State == "on", "reason": c.Reason}, func(ctx context.Context, log *stream.Client, who control.Who, now time.Time) error {
		return control.SetKillSwitch(ctx, log, c.State == "on", who, now)
	})
}

type controlBudget struct {
	set
	Budget string `arg:"" help:"A count an hour and a share of the live credentials: \"20/h 5%\"."`
}

func (c *controlBudget) Run(ctx context.Context) error {
	return c.change(ctx, "budget "+c.Budget, "", nil, func(ctx context.Context, log *stream.Client, who control.Who, now time.Time) error {
		return control.SetBudget(ctx, log, c.Budget, who, now)
	})
}

type controlApprove struct {
	set
	Ladder string `arg:"" help:"Id of the ladder, as the notification and v_ladder show it."`
	Act    string `enum:"revoke,narrow,restore,finish" default:"revoke" help:"What is approved: revoke, narrow (give back less), restore (give back what was taken), finish (what can not be taken back)."`
}

func (c *controlApprove) Run(ctx context.Context) error {
	return c.onLadder(ctx, c.Ladder, c.Act+" of ladder "+c.Ladder+" approved", "/v1/enforcement/approve", map[string]any{"act": c.Act}, func(ctx context.Context, log control.Log, who control.Who, now time.Time) error {
		return control.Approve(ctx, log, c.Ladder, control.Class(c.Act), who, now)
	})
}

type rollbackCommand struct {
	set
	Ladder string `arg:"" help:"Id of the ladder whose re-issue is to be undone, as v_ladder shows it."`
}

func (c *rollbackCommand) Run(ctx context.Context) error {
	return c.onLadder(ctx, c.Ladder, "rollback of "+c.Ladder+" asked for; the enforcer does it and writes the result to its journal",
		"/v1/enforcement/rollback", map[string]any{}, func(ctx context.Context, log control.Log, who control.Who, now time.Time) error {
			return control.Rollback(ctx, log, c.Ladder, who, now)
		})
}
