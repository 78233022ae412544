package enforcer

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/exception"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestWhatAnExceptionTakesAwayLeavesTheOthersLadder(t *testing.T) {
	hour, day := time.Hour.Milliseconds(), 24*time.Hour.Milliseconds()
	hard := &pb.Violation{PolicyId: "hard", Ladder: &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: hour, Revoke: true, RevokeUntold: true}}
	slow := &pb.Violation{PolicyId: "slow", Ladder: &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: day, Revoke: true, Reissue: true,
		RemindMs: []int64{hour, 2 * hour}}}
	soft := &pb.Violation{PolicyId: "soft", Ladder: &pb.Ladder{Mode: pb.Ladder_NOTIFY, GraceMs: 1, RequiresApproval: true}}
	dumb := &pb.Violation{PolicyId: "dumb"}
	for name, c := range map[string]struct {
		violations []*pb.Violation
		excepted   []string
		all        bool
		want       *pb.Ladder // nil: nothing can be taken away
		left       int
	}{
		"nothing excepted":     {violations: []*pb.Violation{hard, slow}},
		"everything excepted":  {violations: []*pb.Violation{hard}, excepted: []string{"hard"}, all: true},
		"the hard one":         {[]*pb.Violation{hard, slow, soft}, []string{"hard"}, false, &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: day, Revoke: true, Reissue: true, RemindMs: []int64{2 * hour, hour}}, 2},
		"both that enforce":    {[]*pb.Violation{hard, slow, soft}, []string{"hard", "slow"}, false, &pb.Ladder{Mode: pb.Ladder_NOTIFY, GraceMs: 1, RequiresApproval: true}, 1},
		"the soft one":         {[]*pb.Violation{hard, slow, soft}, []string{"soft"}, false, &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: hour, Revoke: true, Reissue: true}, 2},
		"a wish is not known":  {violations: []*pb.Violation{hard, dumb}, excepted: []string{"hard"}},
		"one without a ladder": {[]*pb.Violation{hard, dumb}, []string{"dumb"}, false, hard.Ladder, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := &pb.Decision{Credential: "c", Violations: c.violations, Ladder: &pb.Ladder{Mode: pb.Ladder_ENFORCE}}
			before := proto.CloneOf(d)
			got := without(d, exception.Cover{Excepted: c.excepted, All: c.all})
			switch {
			case c.want == nil && got != nil:
				t.Errorf("got %v, want none", got)
			case c.want != nil && (got == nil || !proto.Equal(got.Ladder, c.want) || len(got.Violations) != c.left):
				t.Errorf("got %v, want %v and %d violations", got, c.want, c.left)
			}
			if !proto.Equal(d, before) {
				t.Error("the decision itself was changed")
			}
		})
	}
}
