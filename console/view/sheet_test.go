package view

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/rules"
)

// A sheet says of every day what judging it anew says, whatever the policy, the values and the threshold.
func TestASheetSaysWhatJudgingEachDaySays(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	conditions := []string{"greater_than", "greater_or_equal", "less_than", "less_or_equal", "equals", "not_equals"}
	for range 2000 {
		p := &rules.Policy{MatchAll: random.IntN(2) == 0}
		for range 1 + random.IntN(3) {
			m := rules.Metric{Name: "m", Condition: conditions[random.IntN(len(conditions))], Value: float64(random.IntN(4))}
			if random.IntN(3) == 0 {
				m.Sources = []string{"vault"}
			}
			p.Metrics = append(p.Metrics, m)
		}
		at := random.IntN(len(p.Metrics))
		h := History{At: make([]time.Time, 4)}
		for range 5 {
			values, known, alive := [3][4]float64{}, [3][4]bool{}, [4]bool{}
			for day := range 4 {
				alive[day] = random.IntN(4) > 0
				for m := range 3 {
					values[m][day], known[m][day] = float64(random.IntN(4)), random.IntN(3) > 0
				}
			}
			h.Items = append(h.Items, Happened{Key: "k", Source: []string{"vault", "spire"}[random.IntN(2)],
				Alive: func(day int) bool { return alive[day] },
				Value: func(metric, day int) (float64, bool) { return values[metric][day], known[metric][day] }})
		}
		sheet := NewSheet(p, at, h)
		threshold := float64(random.IntN(4))
		thresholds := make([]float64, len(p.Metrics))
		for m := range p.Metrics {
			thresholds[m] = p.Metrics[m].Value
		}
		thresholds[at] = threshold
		for i := range h.Items {
			for day := range sheet.days {
				k := i*sheet.days + day
				if (sheet.rest[k] == absent) != !h.Items[i].Alive(day) {
					t.Fatalf("day %d: rest %d, alive %t", day, sheet.rest[k], h.Items[i].Alive(day))
				}
				if sheet.rest[k] == absent {
					continue
				}
				wantPast, wantUnknown := judge(h.Items[i].Source, p, thresholds, func(m int) (float64, bool) { return h.Items[i].Value(m, day) })
				if gotPast, gotUnknown := sheet.judge(i, k, threshold); gotPast != wantPast || gotUnknown != wantUnknown {
					t.Fatalf("%+v, metric %d at %v, source %s: %t %t, want %t %t", p, at, threshold, h.Items[i].Source, gotPast, gotUnknown, wantPast, wantUnknown)
				}
			}
		}
	}
}
