package enforcer

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// needed is how many different people have to approve an act.
func needed(d *pb.Decision, act control.Class) int {
	a := d.GetLadder().GetApprovals()
	n := uint32(0)
	switch act {
	case control.Revoke:
		if n = a.GetRevoke(); d.GetLadder().GetRequiresApproval() {
			n = max(n, 1)
		}
	case control.Narrow:
		n = a.GetNarrow()
	case control.Restore:
		n = a.GetRestore()
	case control.Finish:
		n = a.GetFinish()
	}
	return int(min(n, 2))
}

// approving are the people whose word counts: each once, and nobody's who
// asked for the act themselves.
func approving(approved []control.Approval, asked string) []string {
	var list []string
	for _, a := range approved {
		if asked == "" || !control.SamePerson(a.By, asked) {
			list = union(list, []string{short(a.By)})
		}
	}
	return list
}

// approvalOf refuses until enough people have approved the act.
func approvalOf(act control.Class, s *pb.LadderState, d *pb.Decision, approved []control.Approval, asked string) *Refusal {
	n, have := needed(d, act), approving(approved, asked)
	if len(have) >= n {
		return nil
	}
	word := ""
	if act != control.Revoke {
		word = " the act " + string(act) + " of"
	}
	switch {
	case n == 1:
		return refuse(GuardApproval, "waiting for somebody to approve%s ladder %s", word, s.GetLadderId())
	case len(have) == 0:
		return refuse(GuardApproval, "waiting for two people to approve%s ladder %s", word, s.GetLadderId())
	default:
		return refuse(GuardApproval, "%s approved%s ladder %s, waiting for one more person", strings.Join(have, ", "), word, s.GetLadderId())
	}
}

func approval(_ *Ladder, _ time.Time, s *pb.LadderState, d *pb.Decision, f *Facts) *Refusal {
	return approvalOf(control.Revoke, s, d, f.Approvals[control.Revoke], "")
}
