package enforcer

import (
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Guard names what can hold a revocation back. The set is closed: it is a
// label of metrics.
type Guard string

// The guards.
const (
	GuardReady     Guard = "ready"
	GuardMode      Guard = "mode"
	GuardKill      Guard = "kill_switch"
	GuardException Guard = "exception"
	GuardProtected Guard = "protected"
	GuardFresh     Guard = "freshness"
	GuardTold      Guard = "told"
	GuardGrace     Guard = "grace"
	GuardBudget    Guard = "budget"
	GuardApproval  Guard = "approval"
	GuardTarget    Guard = "target"
	// GuardWindow: outside business hours, or within a freeze.
	GuardWindow Guard = "window"
	// GuardCollateral: more than the credential would be hit, or that is not known.
	GuardCollateral Guard = "collateral"
)

// Refusal is a guard's no. Its reason does not change from one minute to the
// next while nothing changes, so that it can be compared and journaled once.
type Refusal struct {
	Guard  Guard
	Reason string
}

func (r Refusal) String() string { return string(r.Guard) + ": " + r.Reason }

// Facts are what the guards look at, read freshly before each question. What
// could not be found out is said in the *Unknown fields, and refuses.
type Facts struct {
	// NotReady says what has not been read whole yet: control, exceptions or
	// the journal of all partitions; empty when everything has.
	NotReady string
	// Overall is the mode that caps every policy's.
	Overall pb.Ladder_Mode
	// Killed says who switched everything off; empty: nobody.
	Killed string
	// Cover is what exceptions say of the violated policies.
	Cover exception.Cover
	// Protected says which rule protects the credential; empty: none.
	Protected        string
	ProtectedUnknown string
	// Budget with what was used of it within the last hour, this ladder not
	// counted, and the number of live credentials it is a share of.
	Budget      control.Budget
	Used        int
	Live        int
	LiveUnknown string
	// Budgets are those of the credential's target and owner, beside the overall one.
	Budgets []ScopedBudget
	// Approvals of this ladder's acts, one for each person.
	Approvals map[control.Class][]control.Approval
	// Collateral of the act, as the target has just told; nil: it was not asked
	// yet, or can hit nothing else.
	Collateral *pb.Collateral
	// NoTarget says why no target serves the credential; empty: one does.
	NoTarget string
}

// guards are asked in this order, each alone, so that a reader sees every
// reason at once. All of them must be silent for a revocation.
var guards = [...]func(l *Ladder, now time.Time, s *pb.LadderState, d *pb.Decision, f *Facts) *Refusal{
	ready, mode, kill, excepted, protected, fresh, told, grace, window, budget, approval, reachable, collateral,
}

func (l *Ladder) refusals(now time.Time, s *pb.LadderState, d *pb.Decision, f *Facts) []Refusal {
	var list []Refusal
	for _, guard := range guards {
		if r := guard(l, now, s, d, f); r != nil {
			list = append(list, *r)
		}
	}
	return list
}

func refuse(g Guard, format string, args ...any) *Refusal {
	return &Refusal{g, fmt.Sprintf(format, args...)}
}

func ready(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	if f.NotReady != "" {
		return refuse(GuardReady, "%s", f.NotReady)
	}
	return nil
}

// effective is the weaker of the two modes: the overall one is a cap.
func effective(overall pb.Ladder_Mode, d *pb.Decision) pb.Ladder_Mode {
	return min(overall, d.GetLadder().GetMode())
}

// modeWord is a mode as configuration and policies spell it.
func modeWord(m pb.Ladder_Mode) string { return strings.ToLower(m.String()) }

func mode(_ *Ladder, _ time.Time, _ *pb.LadderState, d *pb.Decision, f *Facts) *Refusal {
	switch {
	case f.Overall < pb.Ladder_ENFORCE:
		return refuse(GuardMode, "overall mode is %s", modeWord(f.Overall))
	case d.GetLadder().GetMode() < pb.Ladder_ENFORCE:
		return refuse(GuardMode, "the policies' mode is %s", modeWord(d.GetLadder().GetMode()))
	case !d.GetLadder().GetRevoke():
		return refuse(GuardMode, "no violated policy revokes")
	}
	return nil
}

func kill(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	if f.Killed != "" {
		return refuse(GuardKill, "switched on by %s", f.Killed)
	}
	return nil
}

// excepted refuses also when only some of the violated policies are excepted:
// the decision's ladder is the strictest over all of them, and nobody can tell
// which part of it comes from the excepted ones. The processor's next decision
// leaves them out.
func excepted(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	switch {
	case f.Cover.All:
		return refuse(GuardException, "%s until %s", f.Cover.ID, f.Cover.Until.UTC().Format(time.RFC3339))
	case len(f.Cover.Excepted) > 0:
		return refuse(GuardException, "%s covers %s: waiting for a decision without it", f.Cover.ID, strings.Join(f.Cover.Excepted, ", "))
	}
	return nil
}

func protected(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	switch {
	case f.ProtectedUnknown != "":
		return refuse(GuardProtected, "unknown: %s", f.ProtectedUnknown)
	case f.Protected != "":
		return refuse(GuardProtected, "%s", f.Protected)
	}
	return nil
}

// clockSkew is how far in the future a decision may be dated by a processor
// whose clock is ahead.
const clockSkew = time.Minute

// fresh holds the time a decision speaks of against the clock, too: a replay's
// decision is made now and speaks of the past.
func fresh(l *Ladder, now time.Time, _ *pb.LadderState, d *pb.Decision, _ *Facts) *Refusal {
	if d.GetDecidedAt() == nil || len(d.GetViolations()) == 0 {
		return refuse(GuardFresh, "no decision with a violation and a time")
	}
	at := d.DecidedAt.AsTime()
	if d.AsOf != nil && d.AsOf.AsTime().Before(at) {
		at = d.AsOf.AsTime()
	}
	switch {
	case at.After(now.Add(clockSkew)):
		return refuse(GuardFresh, "the last decision is dated in the future, %s", at.UTC().Format(time.RFC3339))
	case now.Sub(at) > l.MaxDecisionAge:
		return refuse(GuardFresh, "the last decision speaks of %s, older than %s", at.UTC().Format(time.RFC3339), l.MaxDecisionAge)
	}
	return nil
}

func told(_ *Ladder, _ time.Time, s *pb.LadderState, d *pb.Decision, _ *Facts) *Refusal {
	if len(s.GetTold()) == 0 && !d.GetLadder().GetRevokeUntold() {
		return refuse(GuardTold, "the owner could not be told")
	}
	return nil
}

// grace is asked although the ladder only comes here when it is over: no
// revocation stands on one check alone.
func grace(_ *Ladder, now time.Time, s *pb.LadderState, _ *pb.Decision, _ *Facts) *Refusal {
	due := dueAt(s)
	if due.IsZero() {
		return refuse(GuardGrace, "no time of revocation was announced")
	}
	if now.Before(due) {
		return refuse(GuardGrace, "until %s", due.UTC().Format(time.RFC3339))
	}
	return nil
}

func budget(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	if f.LiveUnknown != "" {
		return refuse(GuardBudget, "the number of live credentials is unknown: %s", f.LiveUnknown)
	}
	if allowed := f.Budget.Allows(f.Live); f.Used >= allowed {
		return refuse(GuardBudget, "%d of %d this hour (%s)", f.Used, allowed, f.Budget)
	}
	for _, b := range f.Budgets {
		if b.LiveUnknown != "" {
			return refuse(GuardBudget, "the number of live credentials of %s is unknown: %s", b.Name(), b.LiveUnknown)
		}
		if allowed := b.Allows(); b.Used >= allowed {
			return refuse(GuardBudget, "%d of %d this hour for %s", b.Used, allowed, b.Name())
		}
	}
	return nil
}

// window is asked although the deadline was moved out of such times: somebody
// may have set a freeze since.
func window(l *Ladder, now time.Time, _ *pb.LadderState, d *pb.Decision, _ *Facts) *Refusal {
	if _, why := l.allowed(now, d); why != "" {
		return refuse(GuardWindow, "%s", why)
	}
	return nil
}

func reachable(_ *Ladder, _ time.Time, _ *pb.LadderState, _ *pb.Decision, f *Facts) *Refusal {
	if f.NoTarget != "" {
		return refuse(GuardTarget, "%s", f.NoTarget)
	}
	return nil
}

func texts(list []Refusal) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = r.String()
	}
	return strings.Join(words, "; ")
}
