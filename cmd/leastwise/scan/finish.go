package scan

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// finish settles the credentials at the time of the report.
func (s *scanner) finish(ctx context.Context) (*Report, error) {
	asOf := s.opts.AsOf.UnixNano()
	if s.opts.AsOf.IsZero() {
		asOf = s.newest
	}
	for _, fact := range s.assets.Facts(lifecycle.Time(asOf)) {
		s.fact(fact)
	}
	if err := s.endChildren(ctx, asOf); err != nil {
		return nil, err
	}
	s.report.AsOf = lifecycle.Time(asOf)
	s.report.count()
	s.report.UnnamedUse = s.usage.unnamedUses()
	err := s.report.identities(s.linker.Graph())
	if err == nil {
		err = s.shelf.all(func() error { return s.tell(ctx, asOf) })
	}
	if err != nil {
		s.report.Close()
		return nil, err
	}
	return s.report, nil
}

// endChildren ends the credentials whose parents ended. All parents' ends are told before any is applied, so that the
// order of the credentials does not matter.
func (s *scanner) endChildren(ctx context.Context, asOf int64) error {
	err := s.shelf.parents(func() error {
		if err := s.shelf.core.Settle(ctx, asOf); err != nil {
			return err
		}
		return s.follow(s.shelf.core.Derived())
	})
	for err == nil && s.derived.n > 0 {
		told := s.derived
		s.derived = newSpool(s.opts.hold.bytes)
		err = s.applyAll(told)
		told.close()
	}
	return err
}

func (s *scanner) applyAll(told *spool) error {
	texts := told.from(0, readBuffer)
	for {
		text, err := texts.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		ev := &pb.Event{}
		if err := ev.UnmarshalVT(text); err != nil {
			return fmt.Errorf("read a derived event: %w", err)
		}
		fresh, err := s.seen.add(id(ev.Id))
		if err != nil {
			return err
		}
		if _, err := s.shelf.entry(ev.Credential); err != nil {
			return err
		}
		if err := s.apply(ev, fresh); err != nil {
			return err
		}
	}
}

// tell puts the credentials that are in the core into the report, with what the policies say of them.
func (s *scanner) tell(ctx context.Context, asOf int64) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.room.look()
	c := s.shelf.core
	c.Catalog(s.catalog)
	c.Rules(s.rules)
	c.Silence(s.usage.readings())
	if err := c.Settle(ctx, asOf); err != nil {
		return err
	}
	found := map[string]picture{}
	for _, d := range c.Decisions() {
		if len(d.Violations) == 0 {
			continue // it tells of refusals alone
		}
		places := func(metric string) []Place { return s.placesOf(d.Credential, metric) }
		if err := s.report.decision(d, c.Entry(d.Credential), places); err != nil {
			return err
		}
		if s.places != nil {
			found[d.Credential] = worstOf(d)
		}
	}
	c.Entries(func(e *core.Entry) {
		if err != nil {
			return
		}
		var seen picture
		if s.places != nil {
			seen = found[e.Key]
			seen.places, seen.lane = s.placesOf(e.Key, ""), s.laneOf(c, e, asOf)
		}
		err = s.report.credential(e, asOf, usageOf(c, e, asOf), seen)
	})
	return err
}

// worstOf says how bad what a decision says of a credential is.
func worstOf(d *pb.Decision) picture {
	p := picture{count: len(d.Violations)}
	for _, v := range d.Violations {
		if p.severity == "" || rank(v.Severity) < rank(p.severity) {
			p.severity = v.Severity
		}
	}
	return p
}
