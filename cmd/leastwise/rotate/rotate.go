// Package rotate leads a rotation of a SPIRE server's signing authority from two people's approvals to its proof.
//
// It is the last resort: it ends every SVID of the trust domain. Nothing begins before two different people have approved the
// end of that very authority within a day; each approval is a record of leastwise.control, and so in the audit log. What was
// done is kept in a journal, one line before each step and one after it, on disk before the step begins: after a crash the
// same step is asked for again, and the target looks first whether it was done.
package rotate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/spire"
)

// Errors that callers tell apart.
var (
	// ErrApproval says that another person has to approve first.
	ErrApproval = errors.New("two different people have to approve it")
	// ErrStopped says that the kill switch is on.
	ErrStopped = errors.New("the kill switch is on")
	// ErrUnderWay and ErrNone: there is one that is not at its end, or none.
	ErrUnderWay = errors.New("a rotation is under way")
	ErrNone     = errors.New("no rotation was started here")
)

// approvalHolds is how long a person's approval counts.
const approvalHolds = 24 * time.Hour

// Server is what of a SPIRE server this needs. *spire.Target is one.
type Server interface {
	ActiveAuthority(ctx context.Context, kind string) (string, error)
	StartRotation(ctx context.Context, kind, reason, first, second string) (spire.Rotation, error)
	NextStep(ctx context.Context, r spire.Rotation) (spire.Rotation, error)
	VerifyRotation(ctx context.Context, r spire.Rotation) (target.Proof, error)
}

// Rotations of one server and one kind of authority.
type Rotations struct {
	Server Server
	// Instance of the server, and kind of its authority: x509 or jwt.
	Instance, Kind string
	// Control takes approvals; Settings gives what the topic says by now, read whole.
	Control  control.Log
	Settings func(ctx context.Context) (*control.State, error)
	// Journal is the path of the file in which this one's steps are kept.
	Journal string
	Now     func() time.Time
}

// Start approves the end of the authority that signs now. With the second person's approval the rotation is started: its
// steps are Next's. With the first one's the error is ErrApproval.
func (r *Rotations) Start(ctx context.Context, who control.Who) (spire.Rotation, error) {
	if strings.TrimSpace(who.Reason) == "" || strings.TrimSpace(who.Name) == "" {
		return spire.Rotation{}, fmt.Errorf("%w: say who approves, and why", control.ErrInvalid)
	}
	last, err := r.last()
	if err != nil {
		return spire.Rotation{}, err
	}
	if last != nil && last.Step != spire.Revoked {
		return *last, fmt.Errorf("%w since %s of it was done: go on with next", ErrUnderWay, last.Step)
	}
	active, err := r.Server.ActiveAuthority(ctx, r.Kind)
	if err != nil {
		return spire.Rotation{}, err
	}
	id := r.id(active)
	if err := control.Approve(ctx, r.Control, id, control.Rotate, who, r.Now()); err != nil {
		return spire.Rotation{}, err
	}
	people, err := r.approved(ctx, id)
	if err != nil {
		return spire.Rotation{}, err
	}
	if len(people) < 2 {
		return spire.Rotation{}, fmt.Errorf("%w: %s approved the end of authority %s; somebody else starts it within a day", ErrApproval, who.Name, active)
	}
	begun, err := r.Server.StartRotation(ctx, r.Kind, who.Reason, people[0], people[1])
	if err != nil {
		return spire.Rotation{}, err
	}
	if begun.Retire != active {
		return spire.Rotation{}, fmt.Errorf("%w: authority %s signs since, and nobody approved its end", ErrApproval, begun.Retire)
	}
	return begun, r.keep(line{At: r.Now(), By: who.Name, What: "started", Rotation: begun})
}

// Next does the next step, and keeps it. A rotation at its end comes back as it is.
func (r *Rotations) Next(ctx context.Context, by string) (spire.Rotation, error) {
	last, err := r.last()
	switch {
	case err != nil:
		return spire.Rotation{}, err
	case last == nil:
		return spire.Rotation{}, ErrNone
	case strings.TrimSpace(by) == "":
		return *last, fmt.Errorf("%w: say who does it", control.ErrInvalid)
	case last.Step == spire.Revoked:
		return *last, nil
	}
	settings, err := r.Settings(ctx)
	if err != nil {
		return *last, err
	}
	if settings.Now().Kill != nil {
		return *last, ErrStopped
	}
	if err := r.keep(line{At: r.Now(), By: by, What: "intended", Rotation: *last}); err != nil {
		return *last, err
	}
	next, err := r.Server.NextStep(ctx, *last)
	if err != nil {
		return *last, errors.Join(err, r.keep(line{At: r.Now(), By: by, What: "failed", Error: err.Error(), Rotation: *last}))
	}
	return next, r.keep(line{At: r.Now(), By: by, What: "done", Rotation: next})
}

// Status gives the last rotation, and what the server says of it.
func (r *Rotations) Status(ctx context.Context) (spire.Rotation, target.Proof, error) {
	last, err := r.last()
	if err != nil {
		return spire.Rotation{}, target.Proof{}, err
	}
	if last == nil {
		return spire.Rotation{}, target.Proof{}, ErrNone
	}
	proof, err := r.Server.VerifyRotation(ctx, *last)
	return *last, proof, err
}

// id names the rotation that ends one authority, so that an approval is of no use for the end of another.
func (r *Rotations) id(authority string) string {
	return strings.Join([]string{"spire", r.Instance, r.Kind, authority}, ":")
}

// approved are those who approved lately, the first first.
func (r *Rotations) approved(ctx context.Context, id string) ([]string, error) {
	settings, err := r.Settings(ctx)
	if err != nil {
		return nil, err
	}
	var people []string
	for _, a := range settings.Approvals(id, control.Rotate) {
		if age := r.Now().Sub(a.At); age <= approvalHolds && age > -time.Minute {
			people = append(people, a.By)
		}
	}
	return people, nil
}
