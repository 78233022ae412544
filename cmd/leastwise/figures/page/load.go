package page

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// taken are the times of answers, by what was asked.
type taken struct {
	mu     sync.Mutex
	times  map[string][]time.Duration
	failed []error
}

func (t *taken) note(name string, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed = append(t.failed, err)
		return
	}
	t.times[name] = append(t.times[name], took)
}

// quantile of times in milliseconds: the smallest that this share does not exceed.
func quantile(times []time.Duration, share float64) float64 {
	if len(times) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(times))
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return float64(sorted[max(0, at)].Microseconds()) / 1000
}

const (
	// pause between two views, on average: somebody reads what there is, and goes on. Exponential, as of people who do not
	// wait for each other.
	pause = 3 * time.Second
	// apiBudget in milliseconds.
	apiBudget = 300
)

// load lets users read, first with the pauses of people, then without.
func (s *site) load(ctx context.Context, opts Options) ([]Figure, error) {
	opts.Progress("%d readers for %s, then as fast as they can", opts.Users, opts.For)
	people, err := s.read(ctx, opts.Users, opts.For, pause)
	if err != nil {
		return nil, err
	}
	hasty, err := s.read(ctx, opts.Users, opts.For/3, 0)
	if err != nil {
		return nil, err
	}
	all := func(t *taken) (out []time.Duration) {
		for _, times := range t.times {
			out = append(out, times...)
		}
		return out
	}
	whole := all(people)
	figures := []Figure{{Name: "API, p95 over all", Value: quantile(whole, 0.95), Unit: "ms", Budget: apiBudget,
		Note: fmt.Sprintf("%d readers who look %s on average before they go on; %d answers in %s (%.0f/s), median %.3g ms, on %d cores that the readers share; %d events", opts.Users, pause,
			len(whole), opts.For, float64(len(whole))/opts.For.Seconds(), quantile(whole, 0.5), runtime.GOMAXPROCS(0), opts.Events)}}
	for _, name := range slices.Sorted(maps.Keys(people.times)) {
		times := people.times[name]
		figures = append(figures, Figure{Name: "… " + name, Value: quantile(times, 0.95), Unit: "ms", Budget: apiBudget,
			Note: fmt.Sprintf("%d answers, median %.3g ms, slowest %.3g ms", len(times), quantile(times, 0.5), quantile(times, 1))})
	}
	rush := all(hasty)
	figures = append(figures, Figure{Name: "API without pauses, p95 over all", Value: quantile(rush, 0.95), Unit: "ms",
		Note: fmt.Sprintf("%d at once, each asking on as soon as it has its answers: %.0f answers/s, median %.3g ms", opts.Users, float64(len(rush))/(opts.For/3).Seconds(), quantile(rush, 0.5))})
	return figures, nil
}

// read lets n users read for a while.
func (s *site) read(ctx context.Context, n int, lasts, pause time.Duration) (*taken, error) {
	t := &taken{times: map[string][]time.Duration{}}
	readers := make([]*reader, n)
	for i := range readers {
		var err error
		if readers[i], err = s.join(ctx, i, t.note); err != nil {
			return nil, err
		}
	}
	until, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var group sync.WaitGroup
	for _, r := range readers {
		group.Go(func() {
			for {
				wait := time.Duration(r.random.ExpFloat64() * float64(pause))
				select {
				case <-until.Done():
					return
				case <-time.After(wait):
				}
				r.open(until)
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(t.failed) > 0 {
		return nil, fmt.Errorf("%d of the readers' requests failed, the first: %w", len(t.failed), t.failed[0])
	}
	return t, nil
}
