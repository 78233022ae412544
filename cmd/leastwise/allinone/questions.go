package allinone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwise/leastwise/cmd/leastwise/compromise"
	"github.com/leastwise/leastwise/cmd/leastwise/narrower"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
)

// questionsOf answers the console's slow questions as the commands of the same names do.
type questionsOf struct {
	store   *store.DB
	catalog func() *catalog.Catalog
	planner func() (*enforcer.Enforcer, error)

	mu       sync.Mutex
	planning *enforcer.Enforcer // guarded by mu; it never runs
}

func newQuestions(cfg *Config, env daemon.Env, engines *Engines, inForce catalogs, hooks Hooks) *questionsOf {
	return &questionsOf{store: engines.Reader, catalog: inForce.Catalog, planner: func() (*enforcer.Enforcer, error) {
		// It registers metrics and health of its own, which nobody reads: those of the enforcer that runs are taken.
		apart := daemon.Env{Log: env.Log, Metrics: prometheus.NewRegistry(), Health: daemon.NewHealth(), Now: env.Now}
		return enforcer.New(cfg.Enforcer, enforcer.Deps{Env: apart, Stream: engines.Stream, Channels: cfg.Channels, Notify: hooks.Notify, Targets: hooks.Targets})
	}}
}

type catalogs interface{ Catalog() *catalog.Catalog }

// Compromise implements rules.Questions, as do the others.
func (q *questionsOf) Compromise(ctx context.Context, key, after string, at time.Time) (*contract.Compromise, error) {
	report, err := compromise.Ask(ctx, q.store, q.catalog(), compromise.Question{Name: key, At: at, After: after})
	if err != nil {
		return nil, nobody(err)
	}
	if report.Name != key { // a name that only ends so
		return nil, fmt.Errorf("%w: no credential and no identity %q", rules.ErrNotFound, key)
	}
	return retold[contract.Compromise](report)
}

func (q *questionsOf) Rightsize(ctx context.Context, key string, days, replay int, now time.Time) (*contract.Rightsize, error) {
	report, err := narrower.Ask(ctx, q.store, q.catalog(), narrower.Question{Name: key, Days: days, Replay: replay, Now: now})
	if err != nil {
		return nil, nobody(err)
	}
	if report.Name != key {
		return nil, fmt.Errorf("%w: no credential and no identity %q", rules.ErrNotFound, key)
	}
	return retold[contract.Rightsize](report)
}

func (q *questionsOf) Plan(ctx context.Context) (*contract.Plan, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.planning == nil {
		e, err := q.planner()
		if err != nil {
			return nil, fmt.Errorf("plan: %w", err)
		}
		q.planning = e
	}
	plan, err := q.planning.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return retold[contract.Plan](plan)
}

func nobody(err error) error {
	if errors.Is(err, compromise.ErrNobody) || errors.Is(err, narrower.ErrNobody) {
		return fmt.Errorf("%w: %w", rules.ErrNotFound, err)
	}
	return err
}

// retold gives a command's answer as the console's contract has it: the same JSON, in which lists are never null.
func retold[T any](answer any) (*T, error) {
	raw, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("tell the console: %w", err)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("tell the console: %w", err)
	}
	lists(reflect.ValueOf(out).Elem())
	return out, nil
}

// lists makes lists that are missing empty.
func lists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			lists(v.Elem())
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			lists(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			lists(v.Field(i))
		}
	}
}
