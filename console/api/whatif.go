package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/read"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/view"
)

// A what-if is asked again with every move of a slider: the past is read once in a while, and what a policy looks at of it
// is kept for the next question.
const pastLasts = 2 * time.Minute

// manyPasts are the policies whose past is kept at once.
const manyPasts = 8

// pasts are those lately asked for.
type pasts struct {
	mu   sync.Mutex
	kept map[string]*keptPast // guarded by mu
}

// keptPast is read by the first who asks; who asks meanwhile waits.
type keptPast struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
	past  *onePast  // guarded by mu
}

// onePast does not change, but for what is worked out of it when it is asked for.
type onePast struct {
	history view.History
	told    map[string]map[string]float64 // of now, by credential and metric
	facts   map[string]read.Facts

	mu     sync.Mutex
	sheets map[int]*view.Sheet // by metric of the policy; guarded by mu
}

// sheet of one of the policy's metrics.
func (o *onePast) sheet(p *rules.Policy, metric string) *view.Sheet {
	at := slices.IndexFunc(p.Metrics, func(m rules.Metric) bool { return m.Name == metric })
	if at < 0 {
		return nil // refused where it is asked for
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sheets == nil {
		o.sheets = map[int]*view.Sheet{}
	}
	if o.sheets[at] == nil {
		o.sheets[at] = view.NewSheet(p, at, o.history)
	}
	return o.sheets[at]
}

func (s *server) whatIf(ctx context.Context, in *struct {
	Named
	Metric    string `query:"metric" required:"true" minLength:"1" maxLength:"100"`
	Threshold string `query:"threshold" required:"true" minLength:"1" maxLength:"100" doc:"As a policy writes it: 2h, 80%, 5"`
	Days      int    `query:"days" minimum:"1" maximum:"90" default:"14" doc:"How far back"`
}) (*answer[contract.WhatIf], error) {
	p, revision, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	past, err := s.pastOf(ctx, p, revision, in.Days)
	if err != nil {
		return nil, s.problem(err)
	}
	v := s.view(ctx)
	v.Told = func(credential, metric string) (float64, bool) {
		value, ok := past.told[credential][metric]
		return value, ok
	}
	out, err := v.WhatIf(p, in.Metric, in.Threshold, func(it *fleet.Item) rules.Subject { return subject(it, past.facts[it.Key]) }, past.sheet(p, in.Metric))
	return give(out), s.problem(err)
}

func subject(it *fleet.Item, f read.Facts) rules.Subject {
	return rules.Subject{Credential: it.Key, Type: it.Type, Source: it.Source, Principal: it.Principal, Agent: it.Agent, Owner: it.Owner,
		Labels: f.Labels, Policies: f.Policies}
}

// pastOf gives the last days of those that a policy applies to. Where ClickHouse does not answer the policy is judged by what
// is in memory, and the answer says that there are no days; a policy that asks for labels can not be judged then.
func (s *server) pastOf(ctx context.Context, p *rules.Policy, revision string, days int) (*onePast, error) {
	name := fmt.Sprintf("%s/%s/%d", p.ID, revision, days)
	s.past.mu.Lock()
	if s.past.kept == nil {
		s.past.kept = map[string]*keptPast{}
	}
	one := s.past.kept[name]
	if one == nil {
		if len(s.past.kept) >= manyPasts {
			clear(s.past.kept)
		}
		one = &keptPast{}
		s.past.kept[name] = one
	}
	s.past.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if s.Now().Before(one.until) {
		return one.past, nil
	}
	fresh, err := s.readPast(ctx, p, days)
	if err != nil {
		if p.ByLabels {
			return nil, err
		}
		s.Log.Warn("the past can not be read", "policy", p.ID, "error", err)
		return &onePast{history: view.History{Missing: "ClickHouse does not answer now, or not in time."}}, nil
	}
	one.past, one.until = fresh, s.Now().Add(pastLasts)
	return fresh, nil
}

func (s *server) readPast(ctx context.Context, p *rules.Policy, days int) (*onePast, error) {
	var metrics []string
	for _, m := range p.Metrics {
		metrics = append(metrics, m.Name)
	}
	past, err := s.Read.Past(ctx, read.PastOptions{Days: days, Metrics: metrics, Facts: p.ByLabels, Expected: s.Policies.Expected})
	if err != nil {
		return nil, err
	}
	out := &onePast{history: view.History{At: past.At}, told: map[string]map[string]float64{}, facts: map[string]read.Facts{}}
	last := len(past.At) - 1
	for i := range past.Items {
		it := past.Items[i] // a copy: those that it does not apply to are forgotten
		if p.ByLabels {
			out.facts[it.Key] = read.Facts{Labels: it.Labels, Policies: it.Policies}
		}
		if !slices.Contains(s.Policies.Applying(rules.Subject{Credential: it.Key, Type: it.Type, Source: it.Source, Principal: it.Principal, Agent: it.Agent,
			Owner: it.Owner, Labels: it.Labels, Policies: it.Policies}), p.ID) {
			continue
		}
		out.history.Items = append(out.history.Items, view.Happened{Key: it.Key, Source: it.Source, Value: it.Value,
			Alive: func(day int) bool { return it.Alive(past.At[day]) }})
		for m, name := range metrics {
			if name != "rotation_age" && name != "novelty" {
				continue
			}
			if value, known := it.Value(m, last); known {
				if out.told[it.Key] == nil {
					out.told[it.Key] = map[string]float64{}
				}
				out.told[it.Key][name] = value
			}
		}
	}
	return out, nil
}

// limitDays is how far back a credential's page shows its measures.
const limitDays = 14

// limits tells which thresholds hold for a credential and how what they measure moved.
func (s *server) limits(ctx context.Context, in *Keyed) (*answer[contract.Limits], error) {
	it, err := s.Fleet.One(ctx, in.Key)
	if err == nil && it == nil {
		err = missing("credential", in.Key)
	}
	if err != nil {
		return nil, s.problem(err)
	}
	facts, err := s.Read.FactsOf(ctx, in.Key)
	if err != nil {
		return nil, s.problem(err)
	}
	d := contract.Limits{Measured: []contract.Measured{}}
	v := s.view(ctx)
	of := subject(it, facts)
	names, units := view.Metrics(v.Limits(it, of))
	past, err := s.Read.Past(ctx, read.PastOptions{Days: limitDays, Metrics: names, Credential: it.Key, Expected: s.Policies.Expected})
	if err != nil {
		return nil, s.problem(err)
	}
	last := len(past.At) - 1
	v.Told = func(_, metric string) (float64, bool) {
		if m := slices.Index(names, metric); m >= 0 && len(past.Items) == 1 {
			return past.Items[0].Value(m, last)
		}
		return 0, false
	}
	d.Limits = v.Limits(it, of)
	for m, name := range names {
		one := contract.Measured{Metric: name, Unit: units[m], Points: []contract.Point{}}
		for day, at := range past.At {
			point := contract.Point{At: at}
			if len(past.Items) == 1 {
				value, known := past.Items[0].Value(m, day)
				if day == last && !it.Ended(v.Now.UnixNano()) {
					value, known = v.Value(it, name)
				}
				if known && value < endless {
					point.Value = &value
				}
			}
			one.Points = append(one.Points, point)
		}
		d.Measured = append(d.Measured, one)
	}
	return give(d), nil
}

// endless is more than any value that is measured: JSON has no infinity.
const endless = 1e15
