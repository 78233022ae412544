package enforcer

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// without is a decision without the violations that exceptions cover, and with the ladder that the others ask for. It is
// nil if there is nothing to take away, if nothing would be left, or if a violation does not say what its policy asks for:
// then the ladder can not be told apart, and the guard of exceptions holds it.
func without(d *pb.Decision, cover exception.Cover) *pb.Decision {
	if d == nil || cover.All || len(cover.Excepted) == 0 {
		return nil
	}
	rest := proto.CloneOf(d)
	rest.Violations = slices.DeleteFunc(rest.Violations, func(v *pb.Violation) bool { return slices.Contains(cover.Excepted, v.PolicyId) })
	if len(rest.Violations) == 0 || slices.ContainsFunc(rest.Violations, func(v *pb.Violation) bool { return v.Ladder == nil }) {
		return nil
	}
	rest.Ladder = strictest(rest.Violations)
	return rest
}

// strictest is the ladder of several violations, as the policy bundle has it: only those of the highest mode speak, the
// shortest grace counts, and one wish is enough, also the wish that the owner is told first.
func strictest(violations []*pb.Violation) *pb.Ladder {
	all := &pb.Ladder{RevokeUntold: true}
	for _, v := range violations {
		all.Mode = max(all.Mode, v.Ladder.Mode)
	}
	all.GraceMs = -1
	var speaking []*pb.Ladder
	for _, v := range violations {
		l := v.Ladder
		if l.Mode != all.Mode {
			continue
		}
		if all.GraceMs < 0 || l.GraceMs < all.GraceMs {
			all.GraceMs = l.GraceMs
		}
		all.Revoke, all.Reissue = all.Revoke || l.Revoke, all.Reissue || l.Reissue
		schemas.Careful(all, l)
		speaking = append(speaking, l)
		all.RevokeUntold = all.RevokeUntold && l.RevokeUntold
		all.RemindMs = append(all.RemindMs, l.RemindMs...)
	}
	all.MaxCollateral = schemas.LeastCollateral(speaking...)
	slices.Sort(all.RemindMs)
	slices.Reverse(all.RemindMs)
	all.RemindMs = slices.DeleteFunc(slices.Compact(all.RemindMs), func(ms int64) bool { return ms >= all.GraceMs })
	return all
}
