package exception

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// An agent's request at the broker that stands past several policies has an exception for each. People decide on the request:
// its exceptions are approved or refused together, each by the rules of any exception.

// ApproveIssuance approves all exceptions of a request that wait. None is written if one of them may not be approved by this
// person. limits gives those of a policy. If Kafka fails between two, approving again goes on.
func ApproveIssuance(ctx context.Context, log Log, request, by, why string, limits func(policy string) (Limits, error), now time.Time) ([]*pb.Exception, error) {
	all, err := ofRequest(ctx, log, request)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(why) == "" {
		return nil, fmt.Errorf("approve %s: %w: say why", request, ErrInvalid)
	}
	var waiting []*pb.Exception
	for _, e := range all {
		if Valid(e, now) {
			continue
		}
		l, err := limits(e.PolicyId)
		if err != nil {
			return nil, err
		}
		if err := approve(e, by, l, now); err != nil {
			return nil, err
		}
		e.ApprovedWhy = strings.TrimSpace(why)
		waiting = append(waiting, e)
	}
	if len(waiting) == 0 {
		return nil, fmt.Errorf("approve %s: %w: it is approved already", request, ErrInvalid)
	}
	return all, settle(ctx, log, waiting)
}

// RefuseIssuance ends all exceptions of a request, whether they were approved or not: nothing is issued by it any more.
func RefuseIssuance(ctx context.Context, log Log, request, by, why string, now time.Time) ([]*pb.Exception, error) {
	all, err := ofRequest(ctx, log, request)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(why) == "" {
		return nil, fmt.Errorf("refuse %s: %w: say why: the agent's people read it", request, ErrInvalid)
	}
	if by = person(by); by == "" {
		return nil, fmt.Errorf("refuse %s: %w: say who refuses", request, ErrInvalid)
	}
	var open []*pb.Exception
	for _, e := range all {
		if e.RevokedAt == nil {
			e.RevokedBy, e.RevokedAt, e.RevokedWhy = by, timestamppb.New(now), strings.TrimSpace(why)
			open = append(open, e)
		}
	}
	return all, publishAll(ctx, log, open)
}

// Issued writes into a request's exceptions what was issued by them.
func Issued(ctx context.Context, log Log, request, accessor string, ends, now time.Time) error {
	all, err := ofRequest(ctx, log, request)
	if err != nil {
		return err
	}
	for _, e := range all {
		e.Issuance.IssuedAt, e.Issuance.EndsAt, e.Issuance.Accessor = timestamppb.New(now), timestamppb.New(ends), accessor
	}
	return settle(ctx, log, all)
}

// ofRequest gives copies of the newest records of a request's exceptions, oldest first.
func ofRequest(ctx context.Context, log Log, request string) ([]*pb.Exception, error) {
	list, err := List(ctx, log)
	if err != nil {
		return nil, err
	}
	var out []*pb.Exception
	for _, e := range list {
		if e.GetIssuance().GetRequest() == request && request != "" {
			out = append(out, proto.CloneOf(e))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("issuance request %q: %w", request, ErrNotFound)
	}
	return out, nil
}

func publishAll(ctx context.Context, log Log, all []*pb.Exception) error {
	for _, e := range all {
		if err := publish(ctx, log, e); err != nil {
			return err
		}
	}
	return nil
}
