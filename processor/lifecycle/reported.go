package lifecycle

import (
	"time"

	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/processor/window"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxReporters is how many logs of agents, and forms of them, are named; those with the smallest names stay.
const maxReporters = 8

// Reported is what agents' own logs tell of a credential. It is no part of its uses, which its issuer tells.
type Reported struct {
	// Uses are calls that went through, or of which agents do not say what became; Denied those that were refused for
	// want of permission; Failed those that failed otherwise.
	Uses, Denied, Failed uint64
	FirstAt, LastAt      int64
	// LastSuccessAt is the last call that an agent says went through.
	LastSuccessAt int64
	// Sampled: some log says of itself that it leaves calls out.
	Sampled bool
	// Sources are the logs that told, as system/instance, and Forms how they were written; sorted.
	Sources, Forms []string
	// HeardSince is since when these logs, IssuerHeardSince since when the issuer's, are known to be read.
	HeardSince, IssuerHeardSince int64

	used, denied, failed window.Counts
}

// Reported is nil if no agent told of the credential. It belongs to the credential and is not to be changed.
func (c *Credential) Reported() *Reported {
	if c.activity == nil {
		return nil
	}
	return c.activity.reported
}

// Windows count the reported calls of the windows that end at a moment.
func (r *Reported) Windows(asOf int64) (used, denied, failed window.Totals) {
	return r.used.At(asOf), r.denied.At(asOf), r.failed.At(asOf)
}

// Recent counts the reported calls of the last part of an hour.
func (r *Reported) Recent(asOf int64, within time.Duration) uint64 {
	return r.used.Recent(asOf, within) + r.denied.Recent(asOf, within) + r.failed.Recent(asOf, within)
}

// Recent counts the calls that the issuer told of the last part of an hour.
func (c *Credential) Recent(asOf int64, within time.Duration) uint64 {
	if c.activity == nil {
		return 0
	}
	return c.activity.uses.Recent(asOf, within) + c.activity.refusals.Recent(asOf, within)
}

// reportedUse takes what an agent's log says of one call.
func (c *Credential) reportedUse(ev *pb.Event, at int64, counted bool) {
	if ev.Flag == pb.Event_FUTURE || usage.OwnLife(c.Key, ev.Permission, ev.Resource) {
		return
	}
	act := c.act()
	if act.reported == nil {
		act.reported = &Reported{}
	}
	r := act.reported
	outcome := ev.Labels["reported_outcome"]
	if at != 0 {
		r.FirstAt, r.LastAt = earliest(r.FirstAt, at), max(r.LastAt, at)
		if outcome == "success" {
			r.LastSuccessAt = max(r.LastSuccessAt, at)
		}
	}
	r.Sampled = r.Sampled || ev.Labels["sampled"] == "true"
	r.Sources = withFew(r.Sources, ev.Source+"/"+ev.Instance)
	r.Forms = withFew(r.Forms, ev.Labels["form"])
	if !counted {
		return
	}
	total, window := &r.Uses, &r.used
	switch outcome {
	case "denied":
		total, window = &r.Denied, &r.denied
	case "failure":
		total, window = &r.Failed, &r.failed
	}
	*total++
	if ev.Flag == pb.Event_NONE {
		window.Add(at)
	}
}

func withFew(set []string, value string) []string {
	if set = insertSorted(set, value); len(set) > maxReporters {
		return set[:maxReporters]
	}
	return set
}

// Heard takes since when the agents' logs and the issuer's are known to be read; what was known to be read once stays
// so. It reports whether that is news. 0 is unknown.
func (c *Credential) Heard(agents, issuer int64) bool {
	r := c.Reported()
	if r == nil {
		return false
	}
	before := [2]int64{r.HeardSince, r.IssuerHeardSince}
	r.HeardSince, r.IssuerHeardSince = earlier(r.HeardSince, agents), earlier(r.IssuerHeardSince, issuer)
	return before != [2]int64{r.HeardSince, r.IssuerHeardSince}
}

// earlier of two times of which either may be unknown.
func earlier(a, b int64) int64 {
	if b == 0 {
		return a
	}
	return earliest(a, b)
}

// Inferred reports that what is told of its use is not certain to be all of it, or its: an id that was made of the
// record of its issuance, because no log names it, or uses that are its by inference alone.
func (c *Credential) Inferred() bool {
	return c.flags&usesInferred != 0 || c.Labels["confidence"] == "inferred"
}

// Vouched reports that its issuer spoke of it by an inventory, a renewal or a rotation.
func (c *Credential) Vouched() bool {
	return c.aliveAt > c.LastUsedAt || c.RenewedAt != 0 || c.RotatedAt != 0
}

func (r *Reported) proto() *pb.ReportedUse {
	if r == nil {
		return nil
	}
	return &pb.ReportedUse{Uses: r.Uses, Denied: r.Denied, Failed: r.Failed, FirstAt: r.FirstAt, LastAt: r.LastAt,
		LastSuccessAt: r.LastSuccessAt, Sampled: r.Sampled, Sources: r.Sources, Forms: r.Forms, HeardSince: r.HeardSince,
		IssuerHeardSince: r.IssuerHeardSince, UsedWindow: r.used.Proto(), DeniedWindow: r.denied.Proto(), FailedWindow: r.failed.Proto()}
}

func reportedOf(s *pb.ReportedUse) *Reported {
	if s == nil {
		return nil
	}
	r := &Reported{Uses: s.Uses, Denied: s.Denied, Failed: s.Failed, FirstAt: s.FirstAt, LastAt: s.LastAt,
		LastSuccessAt: s.LastSuccessAt, Sampled: s.Sampled, Sources: s.Sources, Forms: s.Forms, HeardSince: s.HeardSince,
		IssuerHeardSince: s.IssuerHeardSince, used: window.FromProto(s.UsedWindow), denied: window.FromProto(s.DeniedWindow),
		failed: window.FromProto(s.FailedWindow)}
	for _, set := range [...][]string{r.Sources, r.Forms} {
		for i := range set {
			set[i] = intern(set[i])
		}
	}
	return r
}
