package allinone

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// exceptionsOf are the enforcer's rules of exceptions, with the limits of the policies in force.
type exceptionsOf struct {
	log     exception.Log
	inForce *processor.InForce
	now     func() time.Time
}

// Decode implements rules.Exceptions, as do the others.
func (x exceptionsOf) Decode(m stream.Message) (*pb.Exception, error) { return exception.Decode(m) }

func (x exceptionsOf) Valid(e *pb.Exception, now time.Time) bool { return exception.Valid(e, now) }

// limits of a policy, as they bind somebody: an approver may be named by a group that the person is in.
func (x exceptionsOf) limits(policy string, who rules.Who) (exception.Limits, error) {
	if policy == "*" || policy == gate.PolicyID {
		return exception.Limits{}, nil
	}
	p, ok := x.inForce.Rules().Policy(policy)
	if !ok {
		return exception.Limits{}, fmt.Errorf("%w: no policy %q is in force", rules.ErrRefused, policy)
	}
	limits := exception.Limits{MaxDuration: p.Exception.MaxDuration, Approvers: p.Exception.Approvers}
	if slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(limits.Approvers, g) }) {
		limits.Approvers = nil
	}
	return limits, nil
}

func (x exceptionsOf) Request(ctx context.Context, e *pb.Exception, who rules.Who) (*pb.Exception, error) {
	limits, err := x.limits(e.PolicyId, who)
	if err != nil {
		return nil, err
	}
	e.RequestedBy = who.Name
	out, err := exception.Request(ctx, x.log, e, limits, x.now())
	return out, refusedBy(err)
}

func (x exceptionsOf) Approve(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	all, err := exception.List(ctx, x.log)
	if err != nil {
		return nil, err
	}
	var limits exception.Limits
	for _, e := range all {
		if e.Id == id {
			if limits, err = x.limits(e.PolicyId, who); err != nil {
				return nil, err
			}
		}
	}
	out, err := exception.Approve(ctx, x.log, id, who.Name, limits, x.now())
	return out, refusedBy(err)
}

func (x exceptionsOf) Revoke(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	out, err := exception.Revoke(ctx, x.log, id, who.Name, x.now())
	return out, refusedBy(err)
}

func (x exceptionsOf) ApproveIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	limits := func(policy string) (exception.Limits, error) { return x.limits(policy, who) }
	out, err := exception.ApproveIssuance(ctx, x.log, request, who.Name, why, limits, x.now())
	return out, refusedBy(err)
}

func (x exceptionsOf) RefuseIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	out, err := exception.RefuseIssuance(ctx, x.log, request, who.Name, why, x.now())
	return out, refusedBy(err)
}

func (x exceptionsOf) MayApprove(e *pb.Exception, who rules.Who) string {
	limits, err := x.limits(e.PolicyId, who)
	same := func(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }
	switch {
	case err != nil:
		return "Its policy is not in force."
	case same(e.RequestedBy, who.Name):
		return "You asked for it: somebody else has to approve."
	case len(limits.Approvers) > 0 && !slices.ContainsFunc(limits.Approvers, func(a string) bool { return same(a, who.Name) }):
		return "The policy's approvers are " + strings.Join(limits.Approvers, ", ") + "."
	case limits.MaxDuration > 0 && e.Until.AsTime().Sub(e.RequestedAt.AsTime()) > limits.MaxDuration:
		return "It lasts longer than the policy allows (" + limits.MaxDuration.String() + ")."
	}
	return ""
}
