package enforcer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// factsFor is how long counts and own keys asked of a target hold.
	factsFor = time.Minute
	// reportTries of telling an outcome: it is a courtesy, the journal has it.
	reportTries = 5
)

// issuer is a target with what was asked of it lately.
type issuer struct {
	Target
	name string

	mu        sync.Mutex // guards what follows
	liveAt    time.Time
	live      int
	liveErr   error
	ownAt     time.Time
	protected map[string]bool
	ownErr    error
}

func (i *issuer) liveCount(ctx context.Context, now time.Time) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.liveAt.IsZero() || now.Sub(i.liveAt) >= factsFor || i.liveErr != nil {
		i.live, i.liveErr = i.Live(ctx)
		i.liveAt = now
	}
	return i.live, i.liveErr
}

func (i *issuer) owns(ctx context.Context, now time.Time, key string) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ownAt.IsZero() || now.Sub(i.ownAt) >= factsFor || i.ownErr != nil {
		keys, err := i.Protected(ctx)
		i.ownErr, i.ownAt = err, now
		if err == nil {
			i.protected = make(map[string]bool, len(keys))
			for _, k := range keys {
				i.protected[k] = true
			}
		}
	}
	return i.protected[key], i.ownErr
}

// line is a channel that rests after a failure, so that one dead service does
// not hold up every ladder by its timeout.
type line struct {
	Channel
	name string

	mu     sync.Mutex // guards what follows
	fails  int
	paused time.Time // not tried again before
}

var errPaused = errors.New("rests after a failure")

func (l *line) send(ctx context.Context, now time.Time, timeout time.Duration, m notify.Message) error {
	l.mu.Lock()
	paused := now.Before(l.paused)
	l.mu.Unlock()
	if paused {
		return fmt.Errorf("channel %s: %w", l.name, errPaused)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := l.Send(ctx, m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.fails, l.paused = 0, time.Time{}
		return nil
	}
	l.paused = now.Add(min(time.Minute, time.Second<<min(l.fails, 6)))
	l.fails++
	return fmt.Errorf("channel %s: %w", l.name, err)
}

// issuer of a credential, or why there is none.
func (e *Enforcer) issuer(credential string) (*issuer, string) {
	key, err := schemas.ParseKey(credential)
	if err != nil {
		return nil, "its key names no issuer"
	}
	name := key.System + "/" + key.Instance
	if i := e.targets[name]; i != nil {
		return i, ""
	}
	return nil, "no target is configured for " + short(name)
}

// inputs reads everything a ladder may depend on, freshly. What only guards of
// a revocation need is asked only when one is near.
func (p *partition) inputs(ctx context.Context, now time.Time, r *running, out *Outcome) Inputs {
	e := p.e
	d := r.d
	if d == nil {
		d = r.s.GetDecision()
	}
	f := Facts{NotReady: e.notReady()}
	f.Overall, f.Budget, f.Killed = e.settings()
	policies := policiesOf(d)
	if len(policies) == 0 {
		policies = policiesOf(r.s.GetDecision())
	}
	f.Cover = e.exceptions.Cover(d.GetCredential(), d.GetSubject().GetPrincipal(), policies, now)
	if rest := without(d, f.Cover); rest != nil {
		d, f.Cover = rest, exception.Cover{}
	}
	r.without = d
	if id := r.s.GetLadderId(); id != "" {
		f.ApprovedBy = short(e.control.ApprovedBy(id))
	}
	in := Inputs{Decision: d, Facts: f, Owner: e.reachable(d), Outcome: out}
	in.Report = r.reports >= 0 && !r.report.After(now)
	in.Rollback = r.s != nil && e.control.Rollback(r.s.LadderId) != nil
	in.Unsent = e.unsent(now, r)
	if due := dueAt(r.s); !revoked(r.s) && (!due.IsZero() && !now.Before(due) || intended(r.s)) {
		e.ask(ctx, now, r.s, d, &in.Facts)
	}
	return in
}

// reachable are the owner's channels that are configured.
func (e *Enforcer) reachable(d *pb.Decision) []string {
	var list []string
	for _, name := range d.GetSubject().GetOwner().GetChannels() {
		if e.lines[name] != nil {
			list = append(list, name)
		}
	}
	return list
}

// ask fills in what only a target can tell.
func (e *Enforcer) ask(ctx context.Context, now time.Time, s *pb.LadderState, d *pb.Decision, f *Facts) {
	f.Protected = e.cfg.protects(d)
	f.Used = e.ledger.used(now, s.LadderId)
	f.Live = e.cfg.LiveCredentials
	i, why := e.issuer(s.Credential)
	if i == nil {
		f.NoTarget, f.LiveUnknown, f.ProtectedUnknown = why, why, why
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ActTimeout)
	defer cancel()
	owns, err := i.owns(ctx, now, s.Credential)
	switch {
	case err != nil:
		f.ProtectedUnknown = cleanError(err)
	case owns:
		f.Protected = "it is the enforcer's own credential"
	}
	if f.Live == 0 {
		if f.Live, err = i.liveCount(ctx, now); err != nil {
			f.LiveUnknown = cleanError(err)
		}
	}
	e.metrics.budgetLeft.Set(float64(max(0, f.Budget.Allows(f.Live)-f.Used)))
}

// do carries out an act and says what it came to.
func (e *Enforcer) do(ctx context.Context, step Step, r *running) *Outcome {
	out := &Outcome{Act: step.Act}
	switch step.Act {
	case TellOwner, TellRest, Remind, Escalate, Report:
		e.tell(ctx, step, r, out)
		return out
	case Transmit:
		out.Err = e.transmit(ctx, e.now(), r)
		return out
	}
	i, why := e.issuer(r.s.Credential)
	if i == nil {
		out.Err = &target.Error{Kind: target.Impossible, Op: why}
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ActTimeout)
	defer cancel()
	e.at(ctx, i, step.Act, r, out)
	result := "ok"
	if out.Err != nil {
		result = target.KindOf(out.Err).String()
		e.log.Warn("enforcer: act failed", "act", step.Act.String(), "credential", r.s.Credential, "ladder", r.s.LadderId, "error", cleanError(out.Err))
	}
	e.metrics.actions.WithLabelValues(step.Act.String(), result).Inc()
	return out
}

// at does the acts at the issuer.
func (e *Enforcer) at(ctx context.Context, i *issuer, act Act, r *running, out *Outcome) {
	d := r.without
	labels := r.s.GetDecision().GetSubject().GetLabels()
	c := target.Credential{Key: r.s.Credential, Labels: labels,
		IssuedAt: instant(r.s.GetDecision().GetSubject().GetIssuedAt()), ExpiresAt: instant(r.s.GetDecision().GetSubject().GetExpiresAt())}
	if intended(r.s) && r.s.IntendedAs != r.s.Credential {
		c.Found = r.s.IntendedAs
	}
	switch act {
	case Look:
		out.Sighting, out.Err = i.Lookup(ctx, c)
		if out.Err == nil && out.Sighting.Status == target.Alive && d.GetLadder().GetReissue() {
			out.Plan, out.PlanRefused, out.PlanErr = i.Plan(ctx, d)
		}
	case Revoke:
		if out.Err = i.Revoke(ctx, c); out.Err == nil {
			out.Proof, out.Err = i.Verify(ctx, c)
		}
	case Verify:
		out.Proof, out.Err = i.Verify(ctx, c)
	case Reissue:
		out.Done, out.Err = i.Reissue(ctx, r.s.LadderId, r.s.Decision, r.s.Reissue)
	case Rollback:
		out.Err = i.Rollback(ctx, r.s.Reissue)
	}
}

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
	m := message(kind, now, r.s, d, at)
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
	if step.Act == Report {
		e.reported(now, r, out)
	}
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
