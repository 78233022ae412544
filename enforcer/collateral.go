package enforcer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// hitsKept of all in the journal and in messages.
const hitsKept = 20

// foresee asks a target what else the act would hit. It is nil where the
// target can not foresee, since nothing else ever ends there but children,
// which the decision names. What could not be found out is said, not empty.
func (i *issuer) foresee(ctx context.Context, now time.Time, c target.Credential, d *pb.Decision) *pb.Collateral {
	f, ok := i.Target.(Foreseer)
	if !ok {
		return nil
	}
	out := &pb.Collateral{At: stamp(now)}
	hits, err := f.Collateral(ctx, c)
	if errors.Is(err, target.ErrUnsupported) {
		return nil // a wrapper of a target that does not
	}
	if err != nil {
		out.Unknown = cleanError(err)
		return out
	}
	children := d.GetSubject().GetChildren()
	for _, hit := range hits {
		if hit.Key == c.Key {
			continue
		}
		out.Count++
		if hit.Key == "" || !slices.Contains(children, hit.Key) {
			out.Others++
		}
		if len(out.Hits) < hitsKept {
			out.Hits = append(out.Hits, &pb.Hit{Key: notify.Clean(hit.Key, 300), Text: long(hit.Text)})
		}
	}
	return out
}

// collateral refuses what is unknown, and what hits more than the credential
// with its children and more than policies allow, unless a person approved it
// who could know: more hits than the journal showed need a new approval.
func collateral(_ *Ladder, _ time.Time, s *pb.LadderState, d *pb.Decision, f *Facts) *Refusal {
	c := f.Collateral
	switch {
	case c == nil:
		return nil // not asked yet, or nothing can be hit; settleLook asks
	case c.Unknown != "":
		return refuse(GuardCollateral, "unknown: %s", c.Unknown)
	case !excessive(d, c):
		return nil
	}
	shown := s.GetCollateral()
	if shown != nil && shown.Unknown == "" && shown.Others >= c.Others {
		for _, a := range f.Approvals[control.Revoke] {
			if a.At.After(instant(shown.At)) {
				return nil
			}
		}
	}
	return refuse(GuardCollateral, "it hits %d others besides its children, %d are allowed: waiting for somebody to approve ladder %s",
		c.Others, d.GetLadder().GetMaxCollateral(), s.GetLadderId())
}

// excessive tells whether somebody has to approve the hits.
func excessive(d *pb.Decision, c *pb.Collateral) bool {
	return c.GetOthers() > uint64(d.GetLadder().GetMaxCollateral())
}

// shows is the collateral that an entry holds from now on. The time at which
// so many were first shown is kept, since approvals are held against it.
func shows(s *pb.LadderState, c *pb.Collateral) *pb.Collateral {
	old := s.GetCollateral()
	if c == nil {
		return old
	}
	if old != nil && old.Unknown == "" && c.Unknown == "" && old.Others >= c.Others {
		c.At = old.At
	}
	return c
}
