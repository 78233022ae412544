package enforcer

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Publish keeps a record of denials.
func (m *model) Publish(_ context.Context, msgs ...stream.Message) error {
	if m.dead {
		return errCrash
	}
	m.controls = append(m.controls, msgs...)
	for _, msg := range msgs {
		_ = m.e.control.Apply(msg)
	}
	m.e.denials.Add(1)
	return nil
}

// judgeRollback is asked when the issuer is told to put the former scope back:
// nobody asks for it here, so a denial must have.
func (m *model) judgeRollback() {
	s := m.newest()
	m.undone++
	if !m.caused || m.killed || m.mode != pb.Ladder_ENFORCE || s.Waiting != rollbackIntended ||
		s.Decision.Ladder.GetCorrected().GetOnDenial() != pb.Corrected_ROLLBACK || s.State == rolledBack {
		m.t.Fatalf("rolled back at %s: caused %t, killed %t, mode %v, journal %v", m.clock, m.caused, m.killed, m.mode, s)
	}
}

// deny says that who holds what was given back was denied something.
func (m *model) deny(permission string) {
	d := resolved()
	d.Credential, d.Subject.Policies = "fake/default/token/new", []string{"leastwise-fake"}
	d.DecidedAt = timestamppb.New(m.clock)
	d.Denials = []*pb.Denial{{Permission: permission, Count: 1, FirstAt: d.DecidedAt, LastAt: d.DecidedAt}}
	m.caused = m.caused || permission == wanted
	m.unread = append(m.unread, proto.CloneOf(d))
	m.p.decide(d)
}

// denyAtLast denies what was taken, with nothing in the way any more: what the
// policy wants back comes back.
func (m *model) denyAtLast() {
	s := m.newest()
	before := m.undone
	m.deny(probed)
	m.run(time.Hour, true)
	if m.undone != before && !m.caused {
		m.t.Fatalf("rolled back for what was never allowed: %v", m.newest())
	}
	m.deny(wanted)
	m.run(time.Hour, true)
	switch got := m.newest(); {
	case !observing(s) || !undoes(s) || m.clock.After(instant(s.ReissuedAt).Add(watchOf(s))): // nothing is to be put back
	case got.State != rolledBack || m.undone == 0 || got.Correction.GetUndoneToldAt() == nil:
		m.t.Fatalf("denied, and not put back: %v", got)
	}
}
