package exception

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Declare writes an exception that a repository declares, under the id that the caller gives it: asked for by
// e.RequestedBy and, unless e.ApprovedBy is empty, approved by that other person, under the same rules as Request and
// Approve. Who vouches for the two names is the caller's matter. limits are those of e.ApprovedBy.
func Declare(ctx context.Context, log Log, e *pb.Exception, limits Limits, now time.Time) (*pb.Exception, error) {
	e, err := Declared(e, limits, now)
	if err != nil {
		return nil, err
	}
	return e, publish(ctx, log, e)
}

// Declared is what Declare would write.
func Declared(e *pb.Exception, limits Limits, now time.Time) (*pb.Exception, error) {
	e = proto.CloneOf(e)
	approver := e.ApprovedBy
	e.RequestedAt, e.RequestedBy = timestamppb.New(now), person(e.RequestedBy)
	e.ApprovedBy, e.ApprovedAt, e.RevokedBy, e.RevokedAt = "", nil, "", nil
	if e.Id == "" {
		return nil, fmt.Errorf("%w: it has no id", ErrInvalid)
	}
	if err := check(e, limits, now); err != nil {
		return nil, err
	}
	if approver == "" {
		return e, nil
	}
	return e, approve(e, approver, limits, now)
}
