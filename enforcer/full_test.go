package enforcer

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// full is the issuer in memory with what only some have: it tells what an act
// hits, gives back what it took, and ends things in two steps.
type full struct {
	*targettest.Fake
	hits        []target.Hit
	hitsErr     error
	finishAfter time.Duration
	works       time.Duration // what was revoked works on for so long
	restored    int
	finished    int
	saw         func(act string, c target.Credential)
	revokedAt   time.Time
	now         func() time.Time
}

func (f *full) clock() time.Time {
	if f.now != nil {
		return f.now()
	}
	return time.Now()
}

func (f *full) around(act string, c target.Credential, do func()) error {
	if f.saw != nil {
		f.saw(act, c)
	}
	if f.Before != nil {
		if err := f.Before(act); err != nil {
			return err
		}
	}
	do()
	if f.After != nil {
		return f.After(act)
	}
	return nil
}

func (f *full) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	s, err := f.Fake.Lookup(ctx, c)
	if s.Status == target.Alive {
		s.Restore = "how to give back " + c.Key
	}
	return s, err
}

func (f *full) Revoke(ctx context.Context, c target.Credential) error {
	err := f.Fake.Revoke(ctx, c)
	if f.revokedAt.IsZero() {
		f.revokedAt = f.clock()
	}
	return err
}

func (f *full) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	p, err := f.Fake.Verify(ctx, c)
	if until := f.revokedAt.Add(f.works); p.Gone && until.After(f.clock()) {
		p.WorksUntil = until
	}
	return p, err
}

func (f *full) Collateral(_ context.Context, c target.Credential) (hits []target.Hit, err error) {
	err = f.around("collateral", c, func() { hits = f.hits })
	if f.hitsErr != nil {
		return nil, f.hitsErr
	}
	return hits, err
}

func (f *full) Restore(_ context.Context, c target.Credential) error {
	return f.around("restore", c, func() {
		f.restored++
		f.Add(c.Key)
	})
}

func (f *full) FinishAfter(target.Credential) time.Duration { return f.finishAfter }

func (f *full) Finish(ctx context.Context, c target.Credential) error {
	if s, err := f.Fake.Lookup(ctx, c); err == nil && s.Status == target.Alive {
		return &target.Error{Kind: target.Impossible, Op: "delete a key that somebody enabled again"}
	}
	return f.around("finish", c, func() { f.finished++ })
}

// inFullWorld is inWorld with such an issuer, which sees that each act has its
// intent in the journal and is told what the journal holds.
func inFullWorld(t *testing.T, cfg Config, run func(w *world, f *full)) {
	t.Helper()
	inWorld(t, cfg, func(w *world) {
		f := &full{Fake: w.issuer}
		f.saw = func(act string, c target.Credential) {
			intent, ok := map[string]pb.LadderState_State{"restore": pb.LadderState_RESTORE_INTENDED, "finish": pb.LadderState_FINISH_INTENDED}[act]
			if !ok {
				return
			}
			if s := w.newest(c.Key); s.GetState() != intent {
				t.Errorf("%s while its journal says %v", act, s.GetState())
			}
			if c.Restore != "how to give back "+c.Key || c.RevokedAt.IsZero() && act == "finish" || c.Found == "" {
				t.Errorf("%s of %+v: the target is not told what it needs", act, c)
			}
		}
		w.full = f
		w.restart()
		run(w, f)
	})
}

func (w *world) askBack(by, reason string) {
	id := w.now().LadderId
	w.put("restore/"+id, &pb.Control{Setting: pb.Control_RESTORE, Value: id, SetBy: by, Reason: reason, SetAt: timestamppb.Now()})
}

func (w *world) approve(act, by string) {
	id := w.now().LadderId
	w.put("approve/"+id+"/"+act+"/"+by, &pb.Control{Setting: pb.Control_APPROVE, Value: id, Act: act, SetBy: by, SetAt: timestamppb.Now()})
}
