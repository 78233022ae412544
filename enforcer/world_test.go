package enforcer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const cred = "fake/default/token/a1"

// inbox is a channel that keeps what it took, and can be made to fail.
type inbox struct {
	mu   sync.Mutex
	got  []notify.Message
	fail error
}

func (b *inbox) Kind() string { return "test" }

func (b *inbox) Send(_ context.Context, m notify.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.got = append(b.got, m)
	return nil
}

func (b *inbox) kinds() []notify.Kind {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []notify.Kind
	for _, m := range b.got {
		list = append(list, m.Kind)
	}
	return list
}

// world is an enforcer's partition over a journal, an issuer and channels in
// memory, in a bubble of fake time.
type world struct {
	t       *testing.T
	e       *Enforcer
	p       *partition
	issuer  *targettest.Fake
	owner   *inbox
	oncall  *inbox
	journal []*pb.LadderState
	// crash makes the journal refuse everything after the given entry, as a
	// process that died then.
	crash func(s *pb.LadderState) bool
	dead  bool
	// away makes the journal refuse entries without the process dying.
	away func(s *pb.LadderState) bool
	// noted are the records of denials, as the topic of settings keeps them.
	noted []stream.Message
	// full is the issuer with all optional parts; nil: it has none.
	full *full
}

var errCrash = errors.New("the process died here")

func inWorld(t *testing.T, cfg Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, issuer: &targettest.Fake{}, owner: &inbox{}, oncall: &inbox{}}
		w.issuer.Add(cred)
		w.issuer.Saw = func(act, key string) {
			intent := map[string]pb.LadderState_State{"revoke": revokeIntended, "reissue": reissueIntent}[act]
			if s := w.newest(key); s.GetState() != intent {
				t.Errorf("%s of %s while its journal says %v", act, key, s.GetState())
			}
		}
		if cfg.Mode == "" {
			cfg.Mode = "enforce"
		}
		if cfg.Budget == "" {
			cfg.Budget = "20/h 100%"
		}
		cfg.Escalation = []string{"oncall"}
		cfg.Writer = "test"
		w.start(cfg)
		f(w)
		w.checkJournal()
	})
}

func (w *world) start(cfg Config) {
	w.t.Helper()
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	var at Target = w.issuer
	if w.full != nil {
		at = w.full
	}
	e, err := New(cfg, Deps{Env: env, Targets: map[string]Target{"fake/default": at},
		Notify: map[string]Channel{"owner": w.owner, "oncall": w.oncall}})
	if err != nil {
		w.t.Fatal(err)
	}
	e.append = func(_ context.Context, s *pb.LadderState) error {
		if w.dead || w.away != nil && w.away(s) {
			return errCrash
		}
		w.journal = append(w.journal, proto.CloneOf(s))
		e.ledger.watch(s)
		if w.crash != nil && w.crash(s) {
			w.dead = true
		}
		return nil
	}
	e.note = func(ctx context.Context, r refused) error {
		return control.Denied(ctx, w, r.ladder, r.credential, r.denials, control.Who{Name: "test"}, time.Now())
	}
	for topic := range e.waiting {
		delete(e.waiting, topic)
	}
	w.e, w.p = e, newPartition(e)
	for _, m := range w.noted {
		w.follow(m)
	}
}

// Publish makes records of denials durable, unless the process is dead.
func (w *world) Publish(_ context.Context, msgs ...stream.Message) error {
	if w.dead {
		return errCrash
	}
	for _, m := range msgs {
		w.noted = append(w.noted, m)
		w.follow(m)
	}
	return nil
}

func (w *world) follow(m stream.Message) {
	if err := w.e.control.Apply(m); err != nil || !control.IsDenied(m) {
		w.t.Error(err, string(m.Key))
	}
	w.e.denials.Add(1)
}

// restart is a new process that has nothing but the journal.
func (w *world) restart() {
	w.t.Helper()
	cfg := w.e.cfg
	old := w.e
	w.dead, w.crash = false, nil
	w.start(cfg)
	w.e.budget, w.e.mode = old.budget, old.mode
	for _, s := range w.journal {
		s = proto.CloneOf(s)
		raw, err := s.MarshalVT()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.e.ledger.apply(stream.Message{Key: []byte(s.Credential), Value: raw}); err != nil {
			w.t.Fatal(err)
		}
		w.p.resume(s)
	}
}

// run lets d of time pass, with a heartbeat of each decision once a minute if
// beat is given.
func (w *world) run(d time.Duration, beats ...*pb.Decision) {
	w.t.Helper()
	end := time.Now().Add(d)
	beat := time.Now()
	for {
		for _, b := range beats {
			if !time.Now().Before(beat) {
				w.say(b)
			}
		}
		if !time.Now().Before(beat) {
			beat = time.Now().Add(time.Minute)
		}
		if err := w.p.tick(w.t.Context()); err != nil && !w.dead && !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
		if w.dead || !time.Now().Before(end) {
			return
		}
		next := end
		if len(beats) > 0 && beat.Before(next) {
			next = beat
		}
		if len(w.p.due) > 0 && w.p.due[0].wake.Before(next) {
			next = w.p.due[0].wake
		}
		time.Sleep(max(time.Millisecond, time.Until(next)))
	}
}

// say brings a decision, made now.
func (w *world) say(d *pb.Decision) {
	d = proto.CloneOf(d)
	d.DecidedAt = timestamppb.Now()
	d.AsOf = d.DecidedAt
	w.p.decide(d)
}

func (w *world) set(key, value string, setting pb.Control_Setting) {
	w.t.Helper()
	w.put(key, &pb.Control{Setting: setting, Value: value, SetBy: "operator", SetAt: timestamppb.Now()})
}

// put brings a record of the control topic.
func (w *world) put(key string, c *pb.Control) {
	w.t.Helper()
	raw, err := c.MarshalVT()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.e.control.Apply(stream.Message{Key: []byte(key), Value: raw}); err != nil {
		w.t.Fatal(err)
	}
	w.e.changes.Add(1)
}

func (w *world) except(x *pb.Exception) {
	w.e.exceptions.Put(x)
	w.e.changes.Add(1)
}

// now is the newest entry of cred.
func (w *world) now() *pb.LadderState { return w.newest(cred) }

func (w *world) newest(key string) *pb.LadderState {
	for i := len(w.journal) - 1; i >= 0; i-- {
		if w.journal[i].Credential == key {
			return w.journal[i]
		}
	}
	return nil
}

func (w *world) states() []pb.LadderState_State {
	var list []pb.LadderState_State
	for _, s := range w.journal {
		if s.Credential == cred && (len(list) == 0 || list[len(list)-1] != s.State) {
			list = append(list, s.State)
		}
	}
	return list
}

func (w *world) want(states ...pb.LadderState_State) {
	w.t.Helper()
	if got := w.states(); !slices.Equal(got, states) {
		w.t.Errorf("states\n got %v\nwant %v\nnewest %v", got, states, w.now())
	}
}

// checkJournal is what must hold of every journal, whatever happened.
func (w *world) checkJournal() {
	w.t.Helper()
	last := map[string]*pb.LadderState{}
	for i, s := range w.journal {
		if err := checkEntry(last[s.Credential], s); err != nil {
			w.t.Errorf("journal entry %d: %v\n%v", i, err, s)
		}
		last[s.Credential] = s
	}
	for key, s := range last {
		back := 0
		for _, s := range w.journal {
			if s.Credential == key && s.State == pb.LadderState_RESTORED && s.Restoration.ToldAt == nil {
				back++
			}
		}
		if n := w.issuer.Revoked(key); n > 1+back {
			w.t.Errorf("%s was revoked %d times", key, n)
		} else if n == 1 && back == 0 && !w.dead && !revoked(s) && !intended(s) && !givingBack(s) {
			w.t.Errorf("%s was revoked and its journal ends in %v", key, s.State)
		}
	}
}

func checkEntry(before, s *pb.LadderState) error {
	switch {
	case before != nil && s.Step != before.Step+1:
		return fmt.Errorf("step %d follows %d", s.Step, before.Step)
	case s.Writer == "":
		return errors.New("no writer")
	case s.LadderId == "":
		return errors.New("no ladder id")
	}
	if s.State == pb.LadderState_REVOKED && (before == nil || !intended(before) && before.State != s.State) {
		return fmt.Errorf("REVOKED follows %v, not an intent", before.GetState())
	}
	if s.State == pb.LadderState_REVOKE_INTENDED {
		due := dueAt(s)
		switch {
		case len(s.Told) == 0 && !s.GetDecision().GetLadder().GetRevokeUntold():
			return errors.New("intent without anybody told")
		case due.IsZero() || s.At.AsTime().Before(due):
			return errors.New("intent before the grace period was over")
		}
	}
	return nil
}

// violating is a decision on cred as a processor makes it.
func violating() *pb.Decision {
	return &pb.Decision{
		Credential: cred, PolicyRevision: "r1", InputRevision: "i1",
		Violations: []*pb.Violation{{PolicyId: "long-lived", Metric: "credential_age", Reason: "threshold_passed", Value: "2h3m",
			Threshold: "1h", Condition: "greater_than", Severity: "high", Hint: "Rotate it."}},
		Ladder: &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: time.Hour.Milliseconds(), RemindMs: []int64{(20 * time.Minute).Milliseconds()}, Revoke: true, Reissue: true},
		Subject: &pb.Subject{Type: "token", Source: "vault", Instance: "default", State: "active", Agent: "ingest",
			Owner: &pb.Owner{Id: "data", Name: "Data team", Channels: []string{"owner"}}, Policies: []string{"broad"}},
		Proposal: &pb.Proposal{Rules: []*pb.Rule{{Resource: "secret/data/x", Capabilities: []string{"read"}}}, Granted: 12, Proposed: 1},
	}
}

func with(change func(d *pb.Decision)) *pb.Decision {
	d := violating()
	change(d)
	return d
}

func resolved() *pb.Decision { return with(func(d *pb.Decision) { d.Violations = nil }) }

func goneByLog() *pb.Decision {
	return with(func(d *pb.Decision) { d.Violations = nil; d.Subject.State = "revoked" })
}

func anException(until time.Time) *pb.Exception {
	return &pb.Exception{Id: "ex-1", Credential: cred, PolicyId: "long-lived", Reason: "migration", RequestedBy: "alice",
		RequestedAt: timestamppb.Now(), ApprovedBy: "bob", ApprovedAt: timestamppb.Now(), Until: timestamppb.New(until)}
}
