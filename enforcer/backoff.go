package enforcer

import (
	"slices"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// gated tells until when the last failure wants us to wait.
func gated(now time.Time, s *pb.LadderState) (time.Time, bool) {
	at := instant(s.GetAttempt().GetNextAt())
	return at, at.After(now)
}

// failed counts one more attempt. At stays that of the first, from which
// deadlines are measured.
func (l *Ladder) failed(now time.Time, s *pb.LadderState, err error) *pb.Attempt {
	a := &pb.Attempt{Number: s.GetAttempt().GetNumber(), At: s.GetAttempt().GetAt(), Error: cleanError(err)}
	if s.GetState() != pb.LadderState_REVOKE_INTENDED {
		a.Number++ // an intent has counted its attempt already
	}
	if a.At == nil {
		a.At = stamp(now)
	}
	a.NextAt = stamp(now.Add(l.backoff(a.Number, err)))
	return a
}

func (l *Ladder) backoff(number uint32, err error) time.Duration {
	if target.KindOf(err) != target.Retryable {
		return l.RetryMax // somebody has to do something first
	}
	wait := l.RetryMin << min(number-1, 20)
	if wait <= 0 || wait > l.RetryMax {
		return l.RetryMax
	}
	return wait
}

// earlier is the earlier of two times, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func missing(all, have []string) []string {
	var list []string
	for _, name := range all {
		if !slices.Contains(have, name) {
			list = append(list, name)
		}
	}
	return list
}
