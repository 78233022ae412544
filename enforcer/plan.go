package enforcer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Plan is what would be done, and when, if nothing changed.
type Plan struct {
	At      time.Time     `json:"at"`
	Mode    string        `json:"mode"`
	Killed  string        `json:"kill_switch,omitempty"`
	Frozen  string        `json:"frozen,omitempty"`
	Budget  string        `json:"budget"`
	Ladders []PlannedStep `json:"ladders"`
}

// PlannedStep is the next act of one running ladder.
type PlannedStep struct {
	Credential string     `json:"credential"`
	Agent      string     `json:"agent,omitempty"`
	Owner      string     `json:"owner,omitempty"`
	Ladder     string     `json:"ladder"`
	State      string     `json:"state"`
	Target     string     `json:"target"`
	Act        string     `json:"act"`
	At         *time.Time `json:"at,omitempty"` // no earlier than this; missing: as soon as nothing refuses, or never
	Moved      string     `json:"moved,omitempty"`
	// Sighting is what the target says of the credential now.
	Sighting string `json:"sighting"`
	// Collateral is what else the act hits; missing where the target can not foresee.
	Collateral *PlannedHits `json:"collateral,omitempty"`
	// Refused by these guards now; when At has come they are asked again.
	Refused []PlannedRefusal `json:"refused"`
	// BudgetLeft is how many revocations the budgets still allow within the hour.
	BudgetLeft int `json:"budget_left"`
	// GivenBack says what would be issued in its place.
	GivenBack    string     `json:"given_back,omitempty"`
	ExposedUntil *time.Time `json:"exposed_until,omitempty"`
}

// PlannedHits are what else an act hits.
type PlannedHits struct {
	Count    uint64   `json:"count"`
	Others   uint64   `json:"others"` // besides the credential's own children
	First    []string `json:"first"`
	Children uint64   `json:"children"`
	Unknown  string   `json:"unknown,omitempty"`
}

// PlannedRefusal is a guard's no.
type PlannedRefusal struct {
	Guard  string `json:"guard"`
	Reason string `json:"reason"`
}

// Plan reads journal, decisions, settings and exceptions, asks the targets by
// their look-ups, and says what would be done. It writes nothing anywhere and
// takes no partition from an enforcer that runs. It blocks until everything
// was read once; an Enforcer that plans must not Run as well.
func (e *Enforcer) Plan(ctx context.Context) (Plan, error) {
	newest := map[string]*running{}
	err := e.readAll(ctx, newest)
	if err != nil {
		return Plan{}, err
	}
	now := e.now()
	overall, limit, killed := e.settings()
	plan := Plan{At: now.UTC(), Mode: modeWord(overall), Killed: killed, Budget: limit.String(), Ladders: []PlannedStep{}}
	for _, w := range e.ladder.Freeze {
		if !now.Before(w.From) && now.Before(w.Until) {
			plan.Frozen = frozen(w.Reason, w.Until)
		}
	}
	for _, r := range newest {
		if r.s == nil || ended(r.s) || r.s.State == pb.LadderState_CLOSED && !undoing(r.s) || r.s.State == pb.LadderState_ROLLED_BACK || r.s.State == pb.LadderState_RESTORED {
			continue
		}
		step, err := e.planned(ctx, now, r)
		if err != nil {
			return Plan{}, err
		}
		plan.Ladders = append(plan.Ladders, step)
	}
	slices.SortFunc(plan.Ladders, func(a, b PlannedStep) int {
		if (a.At == nil) != (b.At == nil) {
			return map[bool]int{true: 1, false: -1}[a.At == nil]
		}
		if a.At != nil && !a.At.Equal(*b.At) {
			return a.At.Compare(*b.At)
		}
		return strings.Compare(a.Credential, b.Credential)
	})
	return plan, nil
}

// readAll reads the topics once, up to their ends.
func (e *Enforcer) readAll(ctx context.Context, into map[string]*running) error {
	of := func(key string) *running {
		if into[key] == nil {
			into[key] = &running{index: -1}
		}
		return into[key]
	}
	for topic, apply := range map[string]func(stream.Message) error{
		schemas.TopicControl: e.control.Apply,
		schemas.TopicExceptions: func(m stream.Message) error {
			x, err := exception.Decode(m)
			if err == nil {
				e.exceptions.Put(x)
			}
			return err
		},
		schemas.TopicEnforcement: func(m stream.Message) error {
			s, err := decodeEntry(m)
			if err != nil {
				return err
			}
			if r := of(s.Credential); r.s == nil || s.Step >= r.s.Step {
				r.s = s
			}
			return e.ledger.apply(m)
		},
		schemas.TopicDecisions: func(m stream.Message) error {
			d := &pb.Decision{}
			if err := d.UnmarshalVT(m.Value); err != nil {
				return err
			}
			if r := of(d.Credential); !instant(d.DecidedAt).Before(instant(r.d.GetDecidedAt())) {
				r.d = d
			}
			return nil
		},
	} {
		n, err := e.stream.Partitions(ctx, topic)
		if err != nil {
			return fmt.Errorf("plan: %s: %w", topic, err)
		}
		for p := range n {
			_, err := e.stream.ReadPartition(ctx, topic, p, stream.Earliest, func(m stream.Message) error {
				if err := apply(m); err != nil {
					e.log.Warn("plan: record can not be read", "topic", topic, "partition", m.Partition, "offset", m.Offset, "error", err)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("plan: read %s: %w", topic, err)
			}
		}
		e.arrived(topic)
	}
	return nil
}

// planned asks what an enforcer would ask, and says what it would do.
func (e *Enforcer) planned(ctx context.Context, now time.Time, r *running) (PlannedStep, error) {
	p := &partition{e: e}
	in := p.inputs(ctx, now, r, nil)
	s, d := r.s, in.Decision
	sub := d.GetSubject()
	if sub == nil {
		sub = s.GetDecision().GetSubject()
	}
	out := PlannedStep{Credential: notify.Clean(s.Credential, 300), Agent: short(sub.GetAgent()), Owner: short(ownerName(sub)), Ladder: s.LadderId,
		State: strings.ToLower(s.State.String()), Moved: s.Moved, Refused: []PlannedRefusal{}, Sighting: "not asked"}
	out.Target = scopeOf(s).target
	if exposed(s) {
		at := s.WorksUntil.AsTime()
		out.ExposedUntil = &at
	}
	i, why := e.issuer(s.Credential)
	e.ask(ctx, now, s, d, &in.Facts)
	out.BudgetLeft = max(0, in.Facts.Budget.Allows(in.Facts.Live)-in.Facts.Used)
	for _, b := range in.Facts.Budgets {
		out.BudgetLeft = min(out.BudgetLeft, max(0, b.Allows()-b.Used))
	}
	var seen target.Sighting
	if i == nil {
		out.Sighting = "unknown: " + why
	} else {
		seen = e.sight(ctx, i, s, d, &in, &out)
	}
	var at time.Time
	var refused []Refusal
	out.Act, at, refused = e.next(now, s, in, seen)
	if !at.IsZero() {
		at = at.UTC()
		out.At = &at
	}
	for _, r := range refused {
		out.Refused = append(out.Refused, PlannedRefusal{string(r.Guard), r.Reason})
	}
	return out, ctx.Err()
}

// sight asks the target for what only it can tell.
func (e *Enforcer) sight(ctx context.Context, i *issuer, s *pb.LadderState, d *pb.Decision, in *Inputs, out *PlannedStep) target.Sighting {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ActTimeout)
	defer cancel()
	c := credentialOf(s)
	seen, err := i.Lookup(ctx, c)
	if err != nil {
		out.Sighting = "unknown: " + cleanError(err)
		return target.Sighting{}
	}
	out.Sighting = seen.Status.String()
	if detail := notify.Clean(seen.Detail, 200); detail != "" && detail != out.Sighting {
		out.Sighting += ": " + detail
	}
	if seen.Status != target.Alive || revoked(s) {
		return seen
	}
	c.Found = seen.Found
	children := max(d.GetSubject().GetChildrenTotal(), uint64(len(d.GetSubject().GetChildren())))
	if in.Facts.Collateral = i.foresee(ctx, e.now(), c, d); in.Facts.Collateral != nil || children > 0 {
		hits := in.Facts.Collateral
		out.Collateral = &PlannedHits{Count: hits.GetCount(), Others: hits.GetOthers(), Unknown: hits.GetUnknown(), Children: children, First: []string{}}
		for _, hit := range hits.GetHits() {
			out.Collateral.First = append(out.Collateral.First, strings.TrimSpace(hit.Key+" "+hit.Text))
		}
	}
	if d.GetLadder().GetReissue() {
		switch plan, no, err := i.Plan(ctx, d); {
		case err != nil:
			out.GivenBack = "unknown: " + cleanError(err)
		case plan == nil:
			out.GivenBack = "nothing: " + notify.Clean(no, 300)
		default:
			out.GivenBack = fmt.Sprintf("policy %s with %s, before %d", short(plan.PolicyName), permissions(plan.GrantedAfter), plan.GrantedBefore)
		}
	}
	return seen
}
