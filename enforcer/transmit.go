package enforcer

import (
	"context"
	"errors"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Transmitter tells those who accept a credential that it was taken away.
// Transmit does not block. It returns nil once all of them have the event;
// asking again until then, and after a restart, is what makes it at least
// once. Package ssf is one.
type Transmitter interface {
	Transmit(ctx context.Context, e ssf.Event) error
}

// unsent is when the receivers of a proven revocation are to be told, or told
// again; zero: they have been, or there are none. The journal holds the ladder
// open until then, so that a restart begins anew.
func (e *Enforcer) unsent(now time.Time, r *running) time.Time {
	if e.transmitter == nil || r.sent || !revoked(r.s) || r.s.State == pb.LadderState_CLOSED {
		return time.Time{}
	}
	if r.s.State == pb.LadderState_ROLLED_BACK && r.sends == 0 {
		return time.Time{} // what was begun before the rollback is brought to its end by this process
	}
	if r.send.IsZero() {
		return now
	}
	return r.send
}

// transmit tells the receivers. What it says never comes from a token: keys,
// labels, names of policies.
func (e *Enforcer) transmit(ctx context.Context, now time.Time, r *running) error {
	d := r.s.GetDecision()
	if d == nil {
		d = r.without
	}
	reason := "revoked by Leastwise"
	for i, policy := range policiesOf(d) {
		if i == 0 {
			reason += ", policy"
		}
		reason += " " + policy
	}
	if r.event.ID != r.s.LadderId {
		r.event = ssf.Event{ID: r.s.LadderId, Credential: r.s.Credential, Principal: d.GetSubject().GetPrincipal(),
			Labels: d.GetSubject().GetLabels(), At: now, Reason: notify.Clean(reason, longText)}
	}
	err := e.transmitter.Transmit(ctx, r.event)
	if err == nil {
		r.sent = true
		return nil
	}
	r.send = now.Add(min(e.cfg.HoldEvery, time.Second<<min(r.sends, 6)))
	r.sends++
	if !errors.Is(err, ssf.ErrPending) {
		e.log.Warn("enforcer: those who accept the credential could not be told", "credential", r.s.Credential, "ladder", r.s.LadderId, "error", cleanError(err))
	}
	return err
}

// transmitInstead tells the receivers of a credential that the issuer can not
// end: they alone can refuse it. It is an act like a revocation, so every
// guard is asked, and it takes a place in the budget.
func (p *partition) transmitInstead(ctx context.Context, now time.Time, in Inputs, r *running, out *Outcome) {
	e := p.e
	if e.transmitter == nil || out == nil || r.sent || !errors.Is(out.Err, target.ErrIssuerCannot) {
		return
	}
	if len(e.ladder.refusals(now, r.s, in.Decision, &in.Facts)) > 0 || !e.reserve(now, r.s, &in.Facts) {
		return
	}
	_ = e.transmit(ctx, now, r) // pending or failed: the next look asks again
}
