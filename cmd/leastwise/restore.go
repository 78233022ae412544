package main

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/internal/stream"
)

type restoreCommand struct {
	set
	Ladder string `arg:"" help:"Id of the ladder that took it, as the notification and v_ladder show it."`
}

// Run asks for it; the enforcer does it, whatever budget, mode and kill switch say, and writes the result to its journal.
func (c *restoreCommand) Run(ctx context.Context) error {
	return c.onLadder(ctx, c.Ladder, "what ladder "+c.Ladder+" took is asked for; the enforcer gives it back where the issuer can, and tells owner and security",
		"/v1/enforcement/restore", map[string]any{}, func(ctx context.Context, log control.Log, who control.Who, now time.Time) error {
			return control.RequestRestore(ctx, log, c.Ladder, who, now)
		})
}

type resumeCommand struct{ set }

func (c *resumeCommand) Run(ctx context.Context) error {
	return c.change(ctx, "revocations go on; what was revoked until now counts in no budget any more", "/v1/enforcement/resume", map[string]any{"reason": c.Reason},
		func(ctx context.Context, log *stream.Client, who control.Who, now time.Time) error {
			return control.Resume(ctx, log, who, now)
		})
}
