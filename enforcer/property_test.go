package enforcer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// model is an enforcer over a journal and an issuer in memory, with a clock of
// the test's own. It keeps by itself what it has given the enforcer, and from
// that alone says what must not be, and what must be, done: it shares no code
// with guards and ladder.
type model struct {
	t     *rapid.T
	clock time.Time
	e     *Enforcer
	p     *partition
	f     *full
	owner *inbox

	journal  []*pb.LadderState
	controls []stream.Message
	excepts  []*pb.Exception
	dead     bool
	dieAt    int // appends until the process dies; negative: it lives
	dieAfter bool

	mode     pb.Ladder_Mode
	killed   bool
	budget   int
	resumed  time.Time
	revokes  map[string]time.Time      // by ladder, its last attempt: several attempts are one revocation
	d        *pb.Decision              // what was last said
	unread   []*pb.Decision            // said since offsets were committed: a restart reads them again
	approved map[string]map[string]int // by ladder and person: how many others the journal showed them
	told     map[string][]told1
	caused   bool // something was denied that the former scope allowed
	undone   int  // rollbacks that were judged
}

// told1 is one message that announced a time, as the owner got it.
type told1 struct {
	at, revokeAt time.Time
	ladder       string
}

func newModel(t *rapid.T) *model {
	m := &model{t: t, clock: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), owner: &inbox{}, dieAt: -1, mode: pb.Ladder_ENFORCE, budget: 3,
		revokes: map[string]time.Time{}, approved: map[string]map[string]int{}, told: map[string][]told1{}}
	m.f = &full{Fake: &targettest.Fake{}, now: func() time.Time { return m.clock }}
	m.f.Add(cred)
	m.f.Formerly = []string{wanted}
	for i := range 20 {
		m.f.Add(fmt.Sprintf("fake/default/token/other%d", i))
	}
	m.f.Saw = func(act, _ string) {
		switch act {
		case "revoke":
			m.judge()
		case "rollback":
			m.judgeRollback()
		}
	}
	m.start()
	return m
}

func (m *model) start() {
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	env.Now = func() time.Time { return m.clock }
	e, err := New(Config{Mode: "enforce", Budget: "3/h 100%", Writer: "model", Escalation: []string{"oncall"}},
		Deps{Env: env, Targets: map[string]Target{"fake/default": m.f}, Notify: map[string]Channel{"owner": m.owner, "oncall": &inbox{}}})
	if err != nil {
		m.t.Fatal(err)
	}
	e.append = func(_ context.Context, s *pb.LadderState) error {
		if m.dead {
			return errCrash
		}
		if m.dieAt == 0 && !m.dieAfter {
			m.dead = true
			return errCrash
		}
		m.journal = append(m.journal, proto.CloneOf(s))
		e.ledger.watch(s)
		if m.dieAt == 0 {
			m.dead = true
		}
		if m.dieAt >= 0 {
			m.dieAt--
		}
		return nil
	}
	e.note = func(ctx context.Context, r refused) error {
		return control.Denied(ctx, m, r.ladder, r.credential, r.denials, control.Who{Name: "model"}, m.clock)
	}
	for topic := range e.waiting {
		delete(e.waiting, topic)
	}
	m.e, m.p, m.dead, m.dieAt = e, newPartition(e), false, -1
	for _, c := range m.controls {
		_ = e.control.Apply(c)
	}
	for _, x := range m.excepts {
		e.exceptions.Put(x)
	}
	for _, s := range m.journal {
		s = proto.CloneOf(s)
		raw, err := s.MarshalVT()
		if err != nil {
			m.t.Fatal(err)
		}
		if err := e.ledger.apply(stream.Message{Key: []byte(s.Credential), Value: raw}); err != nil {
			m.t.Fatal(err)
		}
		m.p.resume(s)
	}
	for _, d := range m.unread {
		m.p.decide(proto.CloneOf(d))
	}
}

func (m *model) newest() *pb.LadderState {
	if len(m.journal) == 0 {
		return nil
	}
	return m.journal[len(m.journal)-1]
}

// judge is asked when the issuer is told to revoke.
func (m *model) judge() {
	s := m.newest()
	no := func(format string, args ...any) {
		m.t.Fatalf("revoked at %s although %s\njournal %v", m.clock.Format(time.RFC3339), fmt.Sprintf(format, args...), s)
	}
	d := m.d
	age := m.clock.Sub(d.GetAsOf().AsTime())
	var announced []told1
	for _, a := range m.told[s.LadderId] {
		if !a.revokeAt.IsZero() {
			announced = append(announced, a)
		}
	}
	needs := max(int(d.Ladder.GetApprovals().GetRevoke()), map[bool]int{true: 1}[d.Ladder.RequiresApproval])
	knew := 0
	for _, shown := range m.approved[s.LadderId] {
		knew = max(knew, shown)
	}
	used := 0
	for id, at := range m.revokes {
		if id != s.LadderId && m.clock.Sub(at) < time.Hour && !at.Before(m.resumed) {
			used++
		}
	}
	hour := m.clock.Hour()
	switch {
	case s.State != pb.LadderState_REVOKE_INTENDED:
		no("the journal holds no intent")
	case d == nil || len(d.Violations) == 0 || age > 5*time.Minute:
		no("there is no fresh decision, but one %s old", age)
	case m.mode != pb.Ladder_ENFORCE || d.Ladder.Mode != pb.Ladder_ENFORCE || m.killed:
		no("mode %v, policy %v, killed %t", m.mode, d.Ladder.Mode, m.killed)
	case m.covered():
		no("an exception is valid")
	case len(announced) == 0:
		no("the owner was never told a time")
	case m.clock.Before(announced[len(announced)-1].revokeAt):
		no("the owner was told %s", announced[len(announced)-1].revokeAt)
	case m.clock.Before(announced[0].at.Add(time.Duration(d.Ladder.GraceMs) * time.Millisecond)):
		no("the grace period of %d ms is not over since %s", d.Ladder.GraceMs, announced[0].at)
	case used >= m.budget:
		no("%d others of %d were revoked within the hour", used, m.budget)
	case len(m.approved[s.LadderId]) < needs:
		no("%d people approved and %d have to", len(m.approved[s.LadderId]), needs)
	case m.f.hitsErr != nil:
		no("what it hits is not known")
	case len(m.f.hits) > int(d.Ladder.GetMaxCollateral()) && knew < len(m.f.hits):
		no("%d others are hit and nobody approved so many", len(m.f.hits))
	case len(d.Ladder.BusinessHours) > 0 && (hour < 9 || hour >= 17):
		no("it is %d o'clock", hour)
	}
	m.revokes[s.LadderId] = m.clock
}

func (m *model) covered() bool {
	return slices.ContainsFunc(m.excepts, func(x *pb.Exception) bool {
		return x.ApprovedBy != "" && x.Until.AsTime().After(m.clock) && x.RevokedAt == nil
	})
}

// run lets time pass minute by minute, at the pace at which decisions come.
func (m *model) run(d time.Duration, fresh bool) {
	for end := m.clock.Add(d); ; m.clock = m.clock.Add(30 * time.Second) {
		if fresh && m.d != nil && !m.dead {
			m.say()
		}
		switch err := m.p.tick(m.t.Context()); {
		case err == nil:
			m.unread = nil
		case !m.dead && !errors.Is(err, errCrash):
			m.t.Fatal(err)
		}
		m.hear()
		if m.dead {
			m.start()
		}
		if !m.clock.Before(end) {
			return
		}
	}
}

// hear notes what the owner got.
func (m *model) hear() {
	for _, msg := range m.owner.got {
		a := told1{at: msg.At, ladder: msg.LadderID}
		if msg.RevokeAt != nil && (msg.Kind == "violation" || msg.Kind == "moved") {
			a.revokeAt = *msg.RevokeAt
		}
		m.told[msg.LadderID] = append(m.told[msg.LadderID], a)
	}
	m.owner.got = nil
}

func (m *model) say() {
	m.d.DecidedAt = timestamppb.New(m.clock)
	m.d.AsOf = m.d.DecidedAt
	m.unread = append(m.unread, proto.CloneOf(m.d))
	m.p.decide(proto.CloneOf(m.d))
}

func (m *model) control(key string, c *pb.Control) {
	c.SetAt = timestamppb.New(m.clock)
	raw, err := c.MarshalVT()
	if err != nil {
		m.t.Fatal(err)
	}
	msg := stream.Message{Key: []byte(key), Value: raw}
	m.controls = append(m.controls, msg)
	if err := m.e.control.Apply(msg); err != nil {
		m.t.Fatal(err)
	}
	m.e.changes.Add(1)
}

func (m *model) except(until time.Time) {
	x := &pb.Exception{Id: "ex-1", Credential: cred, PolicyId: "*", Reason: "migration", RequestedBy: "alice", RequestedAt: timestamppb.New(m.clock),
		ApprovedBy: "bob", ApprovedAt: timestamppb.New(m.clock), Until: timestamppb.New(until)}
	m.excepts = []*pb.Exception{x}
	m.e.exceptions.Put(x)
	m.e.changes.Add(1)
}

func (m *model) approve(by string) {
	s := m.newest()
	if s == nil {
		return
	}
	m.control("approve/"+s.LadderId+"/revoke/"+by, &pb.Control{Setting: pb.Control_APPROVE, Value: s.LadderId, Act: "revoke", SetBy: by})
	if m.approved[s.LadderId] == nil {
		m.approved[s.LadderId] = map[string]int{}
	}
	m.approved[s.LadderId][by] = int(s.GetCollateral().GetOthers())
}

// often are modes as they are drawn: mostly those that let something happen.
var often = []pb.Ladder_Mode{pb.Ladder_ENFORCE, pb.Ladder_ENFORCE, pb.Ladder_ENFORCE, pb.Ladder_NOTIFY, pb.Ladder_OBSERVE}

// step does one thing that may happen.
func (m *model) step() {
	t := m.t
	switch rapid.SampledFrom([]string{"decide", "decide", "well", "mode", "kill", "budget", "resume", "except", "unexcept", "approve", "approve", "hits",
		"hits", "deaf", "fail", "die", "silence", "silence", "silence", "run", "run", "run", "run", "run", "run", "restore", "deny", "deny"}).Draw(t, "what") {
	case "decide":
		d := violating()
		d.Ladder.GraceMs = (time.Duration(rapid.IntRange(5, 120).Draw(t, "grace")) * time.Minute).Milliseconds()
		d.Ladder.Mode = rapid.SampledFrom(often).Draw(t, "policy mode")
		d.Ladder.RequiresApproval = rapid.IntRange(0, 3).Draw(t, "requires approval") == 0
		d.Ladder.Approvals = &pb.Approvals{Revoke: rapid.SampledFrom([]uint32{0, 0, 0, 1, 2}).Draw(t, "approvals")}
		if rapid.Bool().Draw(t, "undo") {
			undo(d)
		}
		d.Ladder.MaxCollateral = proto.Uint32(rapid.Uint32Range(0, 3).Draw(t, "max collateral"))
		if rapid.IntRange(0, 3).Draw(t, "hours") == 0 {
			d.Ladder.BusinessHours = []*pb.Hours{{Zone: "UTC", Days: []uint32{0, 1, 2, 3, 4, 5, 6}, FromMinute: 9 * 60, ToMinute: 17 * 60}}
		}
		m.d = d
		m.say()
	case "well":
		if m.d != nil {
			m.d.Violations = nil
			m.say()
		}
	case "mode":
		m.mode = rapid.SampledFrom(often).Draw(t, "mode")
		m.control("mode", &pb.Control{Setting: pb.Control_MODE, Value: modeWord(m.mode), SetBy: "o"})
	case "kill":
		m.killed = rapid.IntRange(0, 3).Draw(t, "killed") == 0
		m.control("kill_switch", &pb.Control{Setting: pb.Control_KILL_SWITCH, Value: map[bool]string{true: "on", false: "off"}[m.killed], SetBy: "o"})
	case "budget":
		m.budget = rapid.IntRange(0, 3).Draw(t, "budget")
		m.control("budget", &pb.Control{Setting: pb.Control_BUDGET, Value: fmt.Sprintf("%d/h 100%%", m.budget), SetBy: "o"})
	case "resume":
		m.resumed = m.clock
		m.control("resume", &pb.Control{Setting: pb.Control_RESUME, SetBy: "o"})
	case "except":
		m.except(m.clock.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "minutes")) * time.Minute))
	case "unexcept":
		m.except(m.clock)
	case "approve":
		m.approve(rapid.SampledFrom([]string{"ann", "ben", "cem"}).Draw(t, "by"))
	case "hits":
		m.f.hits, m.f.hitsErr = nil, nil
		for i := range rapid.IntRange(0, 4).Draw(t, "hits") {
			m.f.hits = append(m.f.hits, target.Hit{Text: fmt.Sprint(i)})
		}
		if rapid.IntRange(0, 5).Draw(t, "unknown") == 0 {
			m.f.hitsErr = errors.New("throttled")
		}
	case "deaf":
		m.owner.fail = nil
		if rapid.IntRange(0, 3).Draw(t, "deaf") == 0 {
			m.owner.fail = errors.New("503")
		}
	case "fail":
		n := rapid.IntRange(0, 3).Draw(t, "failures")
		act := rapid.SampledFrom([]string{"lookup", "revoke", "verify", "live", "protected", "collateral", "restore", "rollback"}).Draw(t, "act")
		hook := func(a string) error {
			if a == act && n > 0 {
				n--
				return &target.Error{Op: a, Err: errors.New("500")}
			}
			return nil
		}
		m.f.Before, m.f.After = hook, nil
		if rapid.Bool().Draw(t, "done") {
			m.f.Before, m.f.After = nil, hook
		}
	case "die":
		m.dieAt, m.dieAfter = rapid.IntRange(0, 3).Draw(t, "entries"), rapid.Bool().Draw(t, "after")
	case "deny":
		m.deny(rapid.SampledFrom([]string{wanted, probed}).Draw(t, "permission"))
	case "silence":
		m.run(time.Duration(rapid.IntRange(1, 30).Draw(t, "silent"))*time.Minute, false)
	case "restore":
		if s := m.newest(); s != nil {
			m.control("restore/"+s.LadderId, &pb.Control{Setting: pb.Control_RESTORE, Value: s.LadderId, SetBy: "o", Reason: "it is needed"})
		}
	case "run":
		m.run(time.Duration(rapid.IntRange(1, 150).Draw(t, "minutes"))*time.Minute, true)
	}
}

// calm takes everything out of the way and lets a day pass.
func (m *model) calm() {
	m.f.Before, m.f.After, m.f.hits, m.f.hitsErr, m.owner.fail, m.dieAt = nil, nil, nil, nil, nil, -1
	if m.dead {
		m.start()
	}
	m.mode, m.killed, m.budget = pb.Ladder_ENFORCE, false, 3
	m.control("mode", &pb.Control{Setting: pb.Control_MODE, Value: "enforce", SetBy: "o"})
	m.control("kill_switch", &pb.Control{Setting: pb.Control_KILL_SWITCH, Value: "off", SetBy: "o"})
	m.control("budget", &pb.Control{Setting: pb.Control_BUDGET, Value: "3/h 100%", SetBy: "o"})
	m.except(m.clock)
	m.clock = m.clock.Add(time.Minute)
	m.d = with(undo)
	m.run(time.Minute, true)
	for range 4 {
		m.approve("ann")
		m.approve("ben")
		m.run(7*time.Hour, true)
	}
}

// Whatever policies, exceptions, approvals, settings, clocks and crashes come:
// nothing is revoked that must not be, and once nothing stands against it, what
// is due is revoked.
func TestPropertyNothingIsRevokedThatMustNotBeAndNothingDueIsForgotten(t *testing.T) {
	walked, undone := 0, 0
	if seed := flag.Lookup("rapid.seed"); seed.Value.String() == "0" {
		_ = seed.Value.Set("1") // the same cases every time; -rapid.seed=N for others
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.d = violating()
		m.say()
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			m.step()
			for i, s := range m.journal[min(1, len(m.journal)):] {
				if s.Step != m.journal[i].Step+1 {
					t.Fatalf("step %d follows %d", s.Step, m.journal[i].Step)
				}
			}
		}
		walked += len(m.revokes)
		m.calm()
		if slices.Contains(m.f.Alive(), cred) {
			t.Fatalf("it is still alive, and nothing stands against its end: %v", m.newest())
		}
		if s := m.newest(); s == nil || s.State != closed && s.State != resolvedState && s.State != rolledBack {
			t.Fatalf("the ladder has no end: %v", s)
		}
		m.denyAtLast()
		undone += m.undone
	})
	if walked < 3 || undone < 1 {
		t.Errorf("only %d revocations and %d rollbacks came of what was drawn: the test sees too little", walked, undone)
	}
	t.Logf("%d revocations and %d rollbacks came of what was drawn", walked, undone)
}
