package enforcer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// What a person is told before, and can take back.
var (
	_ Foreseer = (*spire.Target)(nil)
	_ Restorer = (*spire.Target)(nil)
)

// killed is a target whose process dies at a call: before the issuer got it, or
// after it carried it out. What follows reaches nothing.
type killed struct {
	Target
	run *ladderRun
}

func (k killed) at(do func()) error {
	r := k.run
	if r.dead {
		return errCrash
	}
	after := false
	if r.intended() {
		if r.left--; r.left == 0 {
			r.dead = true
			if after = r.after; !after {
				return errCrash
			}
		}
	}
	do()
	if after {
		return errCrash
	}
	return nil
}

func (k killed) Lookup(ctx context.Context, c target.Credential) (s target.Sighting, err error) {
	dead := k.at(func() { s, err = k.Target.Lookup(ctx, c) })
	return s, errors.Join(dead, err)
}

func (k killed) Revoke(ctx context.Context, c target.Credential) (err error) {
	if !k.run.intended() {
		k.run.t.Error("revoked without an intent in the journal")
	}
	dead := k.at(func() { err = k.Target.Revoke(ctx, c) })
	return errors.Join(dead, err)
}

func (k killed) Verify(ctx context.Context, c target.Credential) (p target.Proof, err error) {
	dead := k.at(func() { p, err = k.Target.Verify(ctx, c) })
	return p, errors.Join(dead, err)
}

func (k killed) Reissue(ctx context.Context, id string, d *pb.Decision, plan *pb.Reissue) (done *pb.Reissue, err error) {
	dead := k.at(func() { done, err = k.Target.Reissue(ctx, id, d, plan) })
	return done, errors.Join(dead, err)
}

// killedFinisher is one whose revocation has a second step.
type killedFinisher struct {
	killed
	f Finisher
}

func (k killedFinisher) FinishAfter(c target.Credential) time.Duration { return k.f.FinishAfter(c) }

func (k killedFinisher) Finish(ctx context.Context, c target.Credential) (err error) {
	dead := k.at(func() { err = k.f.Finish(ctx, c) })
	return errors.Join(dead, err)
}

// ladderRun is one ladder at a real target, by a clock that the test turns. All
// that outlives a process is the journal.
type ladderRun struct {
	t       *testing.T
	target  Target
	name    string // of the target; empty: spire/default
	clock   time.Time
	journal []*pb.LadderState
	p       *partition

	left  int // calls until the process dies, counted while an act is intended
	after bool
	dead  bool
}

func (r *ladderRun) newest() *pb.LadderState {
	if len(r.journal) == 0 {
		return nil
	}
	return r.journal[len(r.journal)-1]
}

func (r *ladderRun) intended() bool {
	switch r.newest().GetState() {
	case revokeIntended, retrying, reissueIntent, pb.LadderState_FINISH_INTENDED:
		return true
	}
	return false
}

func (r *ladderRun) start() {
	r.t.Helper()
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	env.Now = func() time.Time { return r.clock }
	var at Target = killed{r.target, r}
	if f, ok := r.target.(Finisher); ok {
		at = killedFinisher{killed{r.target, r}, f}
	}
	e, err := New(Config{Mode: "enforce", Budget: "50/h 100%", Writer: "test"},
		Deps{Env: env, Targets: map[string]Target{cmp.Or(r.name, "spire/default"): at}, Notify: map[string]Channel{"owner": &inbox{}}})
	if err != nil {
		r.t.Fatal(err)
	}
	e.append = func(_ context.Context, s *pb.LadderState) error {
		if r.dead {
			return errCrash
		}
		r.journal = append(r.journal, proto.CloneOf(s))
		return nil
	}
	clear(e.waiting)
	r.p, r.dead = newPartition(e), false
	for _, s := range r.journal {
		raw, err := s.MarshalVT()
		if err != nil {
			r.t.Fatal(err)
		}
		if err := e.ledger.apply(stream.Message{Key: []byte(s.Credential), Value: raw}); err != nil {
			r.t.Fatal(err)
		}
		r.p.resume(proto.CloneOf(s))
	}
}

// until lets the clock run until the ladder is closed, or the process dies.
func (r *ladderRun) until(d *pb.Decision) {
	r.t.Helper()
	for range 400 {
		d := proto.CloneOf(d)
		d.DecidedAt, d.AsOf = stamp(r.clock), stamp(r.clock)
		r.p.decide(d)
		if err := r.p.tick(r.t.Context()); err != nil && !r.dead {
			r.t.Fatal(err)
		}
		if r.dead || r.newest().GetState() == closed {
			return
		}
		wait := 30 * time.Second
		if revoked(r.newest()) { // what was issued lives on for a day or two
			wait = time.Hour
		}
		r.clock = r.clock.Add(wait)
	}
	r.t.Fatalf("not closed: %v", r.newest())
}

// killed lets the process die one to three times between intent and result, each
// time at one of the first calls, and start again until the ladder is closed.
func (r *ladderRun) killed(rng *rand.Rand, d *pb.Decision, calls int) {
	r.t.Helper()
	kills, died := 1+rng.IntN(3), 0
	for r.newest().GetState() != closed {
		r.left, r.after = 0, rng.IntN(2) == 0
		if died < kills {
			r.left = 1 + rng.IntN(calls)
		}
		r.start()
		r.until(d)
		if r.dead {
			died++
		}
	}
	if died == 0 {
		r.t.Error("it was never killed between intent and result")
	}
}

// Each ladder is killed one to three times between intent and result.
func TestRealSPIREKilledBetweenIntentAndResultItHappensOnce(t *testing.T) {
	s := spiretest.Start(t, "")
	n := seed(t)
	for i := range uint64(20) {
		act := spire.Shorten
		if i%2 == 1 {
			act = spire.Delete
		}
		t.Run(fmt.Sprintf("%s %d", act, i), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(n, i))
			tg, err := spire.Open(spire.Config{Address: s.Socket, SVID: act}, spire.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer tg.Close()
			e := s.Create(&types.Entry{SpiffeId: spiretest.ID(fmt.Sprintf("/work/%d", i)), ParentId: spiretest.ID("/node"), X509SvidTtl: 7200, JwtSvidTtl: 300})
			for j := 0; act == spire.Delete; j++ { // until the server's clock, in seconds, tells what is made anew from this
				next := s.Create(&types.Entry{SpiffeId: spiretest.ID(fmt.Sprintf("/tick/%d/%d", i, j)), ParentId: spiretest.ID("/node")})
				if next.CreatedAt > e.CreatedAt {
					break
				}
			}
			d := with(func(d *pb.Decision) {
				d.Credential = fmt.Sprintf("spire/default/x509_svid/%d", 1000+i)
				d.Subject.Labels = map[string]string{"spiffe_id": "spiffe://" + spiretest.Domain + e.SpiffeId.Path, "entry_id": e.Id}
				d.Violations = []*pb.Violation{{PolicyId: "long", Metric: "lifetime", Condition: "greater_than", Threshold: "20m", Severity: "high"}}
			})
			r := &ladderRun{t: t, target: tg, clock: time.Now()}
			r.killed(rng, d, 3)
			calls := done(t, s.Log, e.Id)
			now, err := s.Entry.GetEntry(t.Context(), &entryv1.GetEntryRequest{Id: e.Id})
			if err != nil {
				t.Fatal(err)
			}
			switch act {
			case spire.Shorten: // to the hour of the configuration, and with the re-issue to what policy allows
				if calls["BatchUpdateEntry"] != 2 || calls["BatchDeleteEntry"] != 0 || now.X509SvidTtl != 1200 {
					t.Errorf("%v, TTL %d", calls, now.X509SvidTtl)
				}
			case spire.Delete:
				if calls["BatchDeleteEntry"] != 1 || calls["BatchCreateEntry"] != 1 || now.X509SvidTtl != 1200 {
					t.Errorf("%v, TTL %d", calls, now.X509SvidTtl)
				}
			}
			reached := map[pb.LadderState_State]bool{}
			for _, entry := range r.journal {
				reached[entry.State] = true
				if entry.State == revokedState && (entry.Proof == "" || entry.WorksUntil == nil) {
					t.Errorf("revoked without proof or end of exposure: %v", entry)
				}
			}
			if !reached[revokedState] || !reached[reissued] {
				t.Errorf("%v", r.journal)
			}
		})
	}
}

// done counts what the server's audit log says it has carried out on an entry
// by its id, which the call that first made it did not name.
func done(t *testing.T, path, id string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	for line := range strings.Lines(string(raw)) {
		var audit struct {
			Type, Status, Method string
		}
		if json.Unmarshal([]byte(line), &audit) == nil && audit.Type == "audit" && audit.Status == "success" && strings.Contains(line, id) {
			calls[audit.Method]++
		}
	}
	return calls
}
