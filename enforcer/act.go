package enforcer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// factsFor is how long counts and own keys asked of a target hold.
	factsFor = time.Minute
	// otherTimeout bounds the question to a target that the ladder is not about.
	otherTimeout = 5 * time.Second
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
	return i.counted(ctx, now, true)
}

// liveKnown is the number as far as it is known: none while the target does
// not answer. It is asked again after a while, and not waited for long.
func (i *issuer) liveKnown(ctx context.Context, now time.Time) int {
	ctx, cancel := context.WithTimeout(ctx, otherTimeout)
	defer cancel()
	n, err := i.counted(ctx, now, false)
	if err != nil {
		return 0
	}
	return n
}

// counted asks when the last answer is old, or was none and it is to be asked
// again.
func (i *issuer) counted(ctx context.Context, now time.Time, again bool) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.liveAt.IsZero() || now.Sub(i.liveAt) >= factsFor || again && i.liveErr != nil {
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
	in := Inputs{Decision: d, Facts: f, Owner: e.reachable(d), Outcome: out, Quiet: r.quiet}
	in.Report = r.reports >= 0 && !r.report.After(now)
	if id := r.s.GetLadderId(); id != "" {
		in.Facts.Approvals = e.approvals(id)
		in.Rollback = e.control.Rollback(id) != nil
		in.Restore = e.control.Restore(id)
		if observing(r.s) {
			in.Denials = e.control.Denied(id)
		}
	}
	in.Unsent = e.unsent(now, r)
	for _, step := range d.GetLadder().GetEscalation() {
		if e.lines[step.Channel] != nil {
			in.Path = append(in.Path, step)
		}
	}
	due := dueAt(r.s)
	switch {
	case revoked(r.s):
		in.FinishAfter = e.finishAfter(r.s)
		if in.FinishAfter > 0 && !now.Before(instant(r.s.RevokedAt).Add(in.FinishAfter)) {
			e.ask(ctx, now, r.s, r.s.Decision, &in.Facts)
		}
	case !due.IsZero() && !now.Before(due) || intended(r.s):
		e.ask(ctx, now, r.s, d, &in.Facts)
	}
	return in
}

func (e *Enforcer) approvals(ladderID string) map[control.Class][]control.Approval {
	var all map[control.Class][]control.Approval
	for _, act := range control.Classes {
		if list := e.control.Approvals(ladderID, act); len(list) > 0 {
			if all == nil {
				all = map[control.Class][]control.Approval{}
			}
			all[act] = list
		}
	}
	return all
}

// finishAfter is the target's further period before the second step, where
// there is one that is not done.
func (e *Enforcer) finishAfter(s *pb.LadderState) time.Duration {
	if s.RevokedAt == nil || s.FinishedAt != nil || s.State == pb.LadderState_CLOSED || s.State == pb.LadderState_ROLLED_BACK {
		return 0
	}
	i, _ := e.issuer(s.Credential)
	if i == nil {
		return 0
	}
	if f, ok := i.Target.(Finisher); ok {
		return f.FinishAfter(credentialOf(s))
	}
	return 0
}

// credentialOf is a ladder's credential as targets are asked about it.
func credentialOf(s *pb.LadderState) target.Credential {
	sub := s.GetDecision().GetSubject()
	c := target.Credential{Key: s.Credential, Labels: sub.GetLabels(), IssuedAt: instant(sub.GetIssuedAt()), ExpiresAt: instant(sub.GetExpiresAt()),
		Restore: s.Restore, RevokedAt: instant(s.RevokedAt)}
	if s.IntendedAs != s.Credential {
		c.Found = s.IntendedAs
	}
	return c
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
	since := e.counting(now)
	f.Used = e.ledger.used(now, since, s.LadderId, scope{})
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
	if f.Live, err = e.live(ctx, now, i); err != nil {
		f.LiveUnknown = cleanError(err)
	}
	f.Budgets = e.scoped(ctx, now, since, s, d, i)
	e.metrics.budgetLeft.Set(float64(max(0, f.Budget.Allows(f.Live)-f.Used)))
}

// live is what the overall budget is a share of: the live credentials at all
// issuers. That of the ladder's own has to be known; another that does not
// answer counts none, so that less is allowed.
func (e *Enforcer) live(ctx context.Context, now time.Time, own *issuer) (int, error) {
	if e.cfg.LiveCredentials > 0 {
		return e.cfg.LiveCredentials, nil
	}
	n, err := own.liveCount(ctx, now)
	if err != nil {
		return 0, err
	}
	for _, i := range e.targets {
		if i != own {
			n += i.liveKnown(ctx, now)
		}
	}
	return n, nil
}

// do carries out an act and says what it came to.
func (e *Enforcer) do(ctx context.Context, step Step, r *running) *Outcome {
	out := &Outcome{Act: step.Act}
	switch step.Act {
	case TellOwner, TellRest, Remind, Escalate, Report, TellMoved, TellPath, TellRestored, TellDenied:
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
	if out.Stopped = e.stopped(step.Act); out.Stopped != nil {
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
	c := credentialOf(r.s)
	switch act {
	case Look:
		if out.Sighting, out.Err = i.Lookup(ctx, c); out.Err == nil && out.Sighting.Status == target.Alive {
			seen := c
			seen.Found = out.Sighting.Found
			out.Collateral = i.foresee(ctx, e.now(), seen, d)
		}
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
	case Restore:
		back, ok := i.Target.(Restorer)
		if !ok {
			out.Err = &target.Error{Kind: target.Impossible, Op: "give back: what is revoked at this issuer can not be made valid again, ask it for a new credential",
				Err: target.ErrUnsupported}
			return
		}
		if out.Err = back.Restore(ctx, c); out.Err == nil {
			out.Sighting, out.Err = i.Lookup(ctx, c)
		}
	case Reverify:
		out.Proof, out.Err = i.Verify(ctx, c)
	case Finish:
		f, ok := i.Target.(Finisher)
		if !ok {
			out.Err = &target.Error{Kind: target.Impossible, Op: "second step", Err: target.ErrUnsupported}
			return
		}
		if out.Err = f.Finish(ctx, c); out.Err == nil {
			out.Proof, out.Err = i.Verify(ctx, c)
		} else if target.KindOf(out.Err) == target.Impossible {
			out.Sighting, _ = i.Lookup(ctx, c) // tells whether somebody enabled it again
		}
	}
}

// stopped asks, right before an act that takes something away, whether it may
// still: between the guards and the act the intent was stored, which may have
// taken long. So no act starts after this process has read that it must not.
func (e *Enforcer) stopped(act Act) *Refusal {
	overall, _, killed := e.settings()
	f := &Facts{Overall: overall, Killed: killed}
	switch act {
	case Revoke, Finish:
		if overall < pb.Ladder_ENFORCE {
			return refuse(GuardMode, "overall mode is %s", modeWord(overall))
		}
	case Reissue, Rollback:
	default:
		return nil
	}
	return kill(nil, time.Time{}, nil, nil, f)
}
