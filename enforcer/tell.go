package enforcer

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/notify"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// tell sends a message to the channels it is for. Policies' own channels get
// what the owner gets, but do not count: an owner is told, or is not.
func (e *Enforcer) tell(ctx context.Context, step Step, r *running, out *Outcome) {
	now := e.now()
	d := r.without
	var counted, others []string
	kind := notify.Violation
	at := step.RevokeAt
	switch owner := e.reachable(d); step.Act {
	case TellOwner:
		counted, others = owner, e.policyChannels(d, owner)
		out.Moved, out.Collateral = step.Moved, e.foresee(ctx, now, r)
	case TellMoved:
		counted, others, kind = owner, e.policyChannels(d, owner), notify.Moved
	case TellPath:
		for _, name := range dueOnPath(now, r.s, d.GetLadder().GetEscalation()) {
			if e.lines[name] != nil {
				counted = append(counted, name)
			}
		}
		kind, at = notify.Escalation, dueAt(r.s)
	case TellRestored, TellDenied:
		d = r.s.Decision
		owner = e.reachable(d)
		counted = union(union(owner, e.policyChannels(d, owner)), e.cfg.Escalation)
		if kind = notify.Restored; step.Act == TellDenied {
			kind = notify.Denied
			e.log.Warn("enforcer: a narrower scope denied what the former allowed", "credential", r.s.Credential, "ladder", r.s.LadderId,
				"what", deniedText(r.s.Correction))
		}
	case TellRest:
		counted = missing(owner, r.s.Told)
	case Remind:
		counted, kind, at = owner, notify.Reminder, dueAt(r.s)
	case Report:
		counted, others, kind, d = owner, e.policyChannels(d, owner), notify.Outcome, r.s.Decision
	case Escalate:
		counted, kind, at = e.cfg.Escalation, notify.Escalation, dueAt(r.s)
		e.metrics.escalations.Inc()
		e.log.Error("enforcer: escalated", "credential", r.s.Credential, "ladder", r.s.LadderId, "why", stuck(r.s))
	}
	out.RevokeAt = step.RevokeAt
	m := message(kind, now, shown(r.s, out), d, at)
	var errs []string
	for _, name := range counted {
		if err := e.send(ctx, now, name, m); err != nil {
			errs = append(errs, cleanError(err))
			continue
		}
		out.Told = append(out.Told, name)
	}
	for _, name := range others {
		_ = e.send(ctx, now, name, m) // counted and logged by send
	}
	if step.Act == Escalate && len(counted) == 0 {
		out.Told = []string{"the log (no escalation channel is configured)"}
	}
	if len(errs) > 0 {
		out.Err = errors.New(strings.Join(errs, "; "))
	}
	if len(counted) == 0 && (step.Act == TellRestored || step.Act == TellDenied) {
		out.Told = []string{"the log"}
	}
	switch step.Act {
	case Report, TellRestored:
		e.reported(now, r, out)
	case TellMoved, TellPath, TellDenied:
		r.quiet = time.Time{}
		if len(out.Told) == 0 {
			r.quiet = now.Add(e.cfg.HoldEvery)
		}
	}
}

// shown is the entry as a message tells of it: with what was just found out
// and is journaled when the message was taken.
func shown(s *pb.LadderState, out *Outcome) *pb.LadderState {
	if out.Collateral == nil && out.Moved == "" {
		return s
	}
	s = proto.CloneOf(s)
	s.Moved, s.Collateral = out.Moved, out.Collateral
	return s
}

// foresee asks the target for a message; where there is none, nothing is said.
func (e *Enforcer) foresee(ctx context.Context, now time.Time, r *running) *pb.Collateral {
	i, _ := e.issuer(r.s.Credential)
	if i == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ActTimeout)
	defer cancel()
	return i.foresee(ctx, now, credentialOf(r.s), r.without)
}

// reported counts the tries of an outcome's message; a few are enough.
func (e *Enforcer) reported(now time.Time, r *running, out *Outcome) {
	r.reports++
	if out.Err == nil || r.reports >= reportTries {
		r.reports = -1
		return
	}
	r.report = now.Add(e.ladder.backoff(uint32(r.reports), out.Err))
}

// policyChannels are the channels that violated policies name, without the
// owner's.
func (e *Enforcer) policyChannels(d *pb.Decision, owner []string) []string {
	var list []string
	for _, v := range d.GetViolations() {
		if e.lines[v.Channel] != nil {
			list = union(list, []string{v.Channel})
		}
	}
	return missing(list, owner)
}

func (e *Enforcer) send(ctx context.Context, now time.Time, name string, m notify.Message) error {
	l := e.lines[name]
	err := l.send(ctx, now, e.cfg.ActTimeout, m)
	switch {
	case err == nil:
		e.metrics.notifications.WithLabelValues(l.Kind(), "ok").Inc()
		return nil
	case errors.Is(err, errPaused):
		e.metrics.notifications.WithLabelValues(l.Kind(), "paused").Inc()
	default:
		e.metrics.notifications.WithLabelValues(l.Kind(), "failed").Inc()
		e.log.Warn("enforcer: message not delivered", "channel", name, "kind", string(m.Kind), "ladder", m.LadderID, "error", cleanError(err))
	}
	return err
}
