package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/view"
)

// Slow questions are answered a few at a time, and an answer is kept for whoever asks the same soon after: who asks meanwhile
// waits, at most as long as any answer may take.
const (
	answerLasts = 30 * time.Second
	planLasts   = 10 * time.Second
	manyAnswers = 64
	atOnce      = 2
)

type slow struct {
	mu    sync.Mutex
	turns chan struct{}
	kept  map[string]*keptAnswer // guarded by mu
}

type keptAnswer struct {
	turn  chan struct{} // holds one: who has it reads and writes the rest
	until time.Time
	value any
}

// once asks f unless its answer is kept.
func once[T any](ctx context.Context, s *server, name string, lasts time.Duration, f func(context.Context) (*T, error)) (*T, error) {
	s.slow.mu.Lock()
	if s.slow.kept == nil {
		s.slow.kept, s.slow.turns = map[string]*keptAnswer{}, make(chan struct{}, atOnce)
	}
	one := s.slow.kept[name]
	if one == nil {
		if len(s.slow.kept) >= manyAnswers {
			clear(s.slow.kept)
		}
		one = &keptAnswer{turn: make(chan struct{}, 1)}
		s.slow.kept[name] = one
	}
	s.slow.mu.Unlock()
	for _, turn := range []chan struct{}{one.turn, s.slow.turns} {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-turn }()
		if kept, ok := one.value.(*T); ok && s.Now().Before(one.until) {
			return kept, nil
		}
	}
	value, err := f(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	one.value, one.until = value, s.Now().Add(lasts)
	return value, nil
}

// questions register what is answered by other rooms. None of them changes anything.
func (s *server) questions(api huma.API) {
	huma.Register(api, operation("compromise", http.MethodGet, "/v1/compromise", "What could be done with it in the wrong hands, and what would be left", 404, 422),
		func(ctx context.Context, in *struct {
			Keyed
			After string `query:"after" enum:"rightsize,revoke" doc:"What is compared with; left out: nothing"`
		}) (*answer[contract.Compromise], error) {
			if err := s.about(ctx, in.Key); err != nil {
				return nil, err
			}
			out, err := once(ctx, s, fmt.Sprintf("compromise %s %s", in.After, in.Key), answerLasts, func(ctx context.Context) (*contract.Compromise, error) {
				return s.Questions.Compromise(ctx, in.Key, in.After, s.Now())
			})
			if err != nil {
				return nil, s.problem(err)
			}
			return give(*out), nil
		})
	huma.Register(api, operation("rightsize", http.MethodGet, "/v1/rightsize", "Which scope its use justifies, and what that would have refused", 404, 422),
		func(ctx context.Context, in *struct {
			Keyed
			Days   int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"How many days of use justify a permission"`
			Replay int `query:"replay" minimum:"1" maximum:"400" default:"30" doc:"How many days of calls it is tried against"`
		}) (*answer[contract.Rightsize], error) {
			if err := s.about(ctx, in.Key); err != nil {
				return nil, err
			}
			out, err := once(ctx, s, fmt.Sprintf("rightsize %d %d %s", in.Days, in.Replay, in.Key), answerLasts, func(ctx context.Context) (*contract.Rightsize, error) {
				return s.Questions.Rightsize(ctx, in.Key, in.Days, in.Replay, s.Now())
			})
			if err != nil {
				return nil, s.problem(err)
			}
			return give(*out), nil
		})
	huma.Register(api, operation("plan", http.MethodGet, "/v1/plan", "What the enforcer would do, and when, if nothing changed"), s.plan)
}

// about refuses questions of owners about what is not theirs: what a leak leads to is nobody else's business. Of an identity
// only those may ask who are more than owners, for its credentials may be several owners'.
func (s *server) about(ctx context.Context, key string) error {
	it, err := s.Fleet.One(ctx, key)
	if err != nil {
		return s.problem(err)
	}
	p := person(ctx)
	switch {
	case it != nil && (!p.OnlyOwner() || slices.Contains(p.Owners, it.Owner)):
		return nil
	case p.OnlyOwner():
		return huma.Error403Forbidden("It is not known to be yours: its owner may ask this, and who is of security.")
	}
	for _, it := range s.Fleet.Snapshot().Items {
		if it.Principal == key {
			return nil
		}
	}
	return s.problem(missing("credential or identity", key))
}

// plan leaves out of the enforcer's what is other owners', and says how each ladder stands.
func (s *server) plan(ctx context.Context, _ *struct{}) (*answer[contract.Plan], error) {
	whole, err := once(ctx, s, "plan", planLasts, s.Questions.Plan)
	if err != nil {
		return nil, s.problem(err)
	}
	p := person(ctx)
	out := *whole
	out.Ladders = []contract.PlannedStep{}
	v := s.view(ctx)
	standing := map[string]*contract.LadderState{}
	mine := map[string]bool{}
	for _, it := range v.Items {
		if id := it.Ladder.GetLadderId(); id != "" {
			standing[id] = v.Ladder(it)
			mine[id] = slices.Contains(p.Owners, it.Owner)
		}
	}
	for _, step := range whole.Ladders {
		if p.OnlyOwner() && !mine[step.Ladder] {
			out.Others++
			continue
		}
		step.Standing = standing[step.Ladder]
		step.Refused = slices.Clone(step.Refused)
		for i, r := range step.Refused {
			step.Refused[i].Text = view.Guard(r.Guard, r.Reason)
		}
		out.Ladders = append(out.Ladders, step)
	}
	return give(out), nil
}
