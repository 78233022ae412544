// Package recorded holds the product to its promise that a history has one result: events of all sources, recorded from the
// real things where there are recordings, go through what the processor does of each partition in many orders.
package recorded

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

var (
	rounds = flag.Uint64("rounds", 200, "how many orders to try")
	seed   = flag.Uint64("seed", 0, "try only the order of this seed")
)

// shape is how a history is divided and disturbed.
type shape struct {
	partitions, processors, batch int
	remembered                    int // event ids held in memory
	repeats                       float64
	shuffled                      bool
	checkpoints, crashes          bool
	// late: the history lies in the past when it is read, so that what ends is told while words on it are still to come.
	late bool
}

// plain is one processor that reads all in the order it was told, and lives for ever.
var plain = shape{partitions: 1, processors: 1, batch: 500, remembered: 1_000_000}

func random(rng *rand.Rand) shape {
	return shape{partitions: 1 + rng.IntN(8), processors: 1 + rng.IntN(3), batch: 64 << rng.IntN(5), remembered: 100 << rng.IntN(8),
		repeats: rng.Float64() * rng.Float64(), shuffled: true, checkpoints: rng.IntN(4) > 0, crashes: rng.IntN(2) == 0, late: rng.IntN(2) == 0}
}

// run takes a history through a site and gives what is known in the end.
func (w world) run(t testing.TB, h told, sh shape, rng *rand.Rand) *result {
	s := newSite(t, rng, sh, w.rules[0], w.cats[0])
	type delivery struct {
		event int // index, or
		fact  int
	}
	var order []delivery
	for i := range h.events {
		order = append(order, delivery{i, -1})
		if rng.Float64() < sh.repeats {
			order = append(order, delivery{i, -1})
		}
	}
	for i := range h.facts {
		order = append(order, delivery{-1, i})
	}
	if sh.shuffled {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	edited := rng.IntN(max(1, len(order))) // then the catalog becomes what it is in the end
	for i, d := range order {
		if d.event >= 0 {
			s.deliver(h.events[d.event])
		} else {
			s.facts = append(s.facts, h.facts[d.fact])
		}
		if i == edited {
			s.catalog = w.cats[1]
		}
		if rng.IntN(sh.batch) > 0 {
			continue
		}
		s.turn(s.partitions[rng.IntN(len(s.partitions))], 1+rng.IntN(2*sh.batch))
		s.follow(s.processors[rng.IntN(len(s.processors))], rng.IntN(100))
		if rng.IntN(16) == 0 {
			s.processors[rng.IntN(len(s.processors))].tellFindings()
		}
		if sh.crashes && rng.IntN(len(order)/sh.batch/3+3) == 0 {
			s.crash(rng.IntN(len(s.processors)))
		}
	}
	for s.behind() {
		for _, p := range s.partitions {
			s.turn(p, 1000)
		}
		for _, p := range s.processors {
			s.follow(p, len(s.facts))
		}
	}
	return s.ask(w.rules[1])
}

// world is what does not change from order to order.
type world struct {
	rules [2]*rego.Set        // one revision; the second set makes a core look at every credential again
	cats  [2]*catalog.Catalog // before and after an edit
}

func TestAnyOrderAndDivisionOfAMixedHistoryGivesTheSame(t *testing.T) {
	h, w := spread(t), world{rules: [2]*rego.Set{shipped(t), shipped(t)}, cats: catalogs(t)}
	want := w.run(t, h, plain, rand.New(rand.NewPCG(0, 0)))
	want.mustTell(t)
	t.Logf("%d events and %d facts give %s", len(h.events), len(h.facts), want.outline())
	if *seed != 0 {
		w.hold(t, h, want, *seed)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // many small worlds, each soon garbage: else half the time goes there
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := next.Add(1); n <= *rounds && !t.Failed(); n = next.Add(1) {
				w.hold(t, h, want, n)
			}
		})
	}
	workers.Wait()
}

// hold fails if the order and division of a seed give something else.
func (w world) hold(t *testing.T, h told, want *result, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	sh := random(rng)
	d := differences(want, w.run(t, h, sh, rng), sh)
	if len(d) == 0 {
		return
	}
	t.Errorf("seed %d, %+v (again: go test ./recorded -run AnyOrder -seed %d):\n%s", seed, sh, seed, outline(d))
	few, d := w.shrink(t, h, seed, d)
	t.Errorf("%d of the events and %d facts are enough:\n%s\n%s", len(few.events), len(few.facts), outline(d), few)
}

func differences(want, got *result, sh shape) []string {
	if sh.late {
		want, got = want.withoutEarlyEnds(got), got.withoutEarlyEnds(want)
	}
	return want.differs(got)
}

// shrink leaves out ever smaller parts of the history as long as something differs, within some seconds' work.
func (w world) shrink(t *testing.T, h told, seed uint64, d []string) (told, []string) {
	differ := func(h told) []string {
		rng := rand.New(rand.NewPCG(seed, 7))
		sh := random(rng)
		return differences(w.run(t, h, plain, rand.New(rand.NewPCG(0, 0))), w.run(t, h, sh, rng), sh)
	}
	if fewer := differ(told{events: h.events}); len(fewer) > 0 {
		h, d = told{events: h.events}, fewer
	}
	tries := 0
	for part := len(h.events) / 2; part > 0; part /= 2 {
		for begin := 0; begin < len(h.events) && tries < 150; {
			tries++
			without := told{slices.Concat(h.events[:begin], h.events[min(len(h.events), begin+part):]), h.facts}
			if fewer := differ(without); len(without.events) > 0 && len(fewer) > 0 {
				h, d = without, fewer
			} else {
				begin += part
			}
		}
	}
	return h, d
}

// String lists the events, if they are few.
func (h told) String() string {
	if len(h.events) > 12 {
		return "too many to show"
	}
	var lines []string
	for _, ev := range h.events {
		lines = append(lines, fmt.Sprintf("%s %s %s by %s at %s, record %s/%d", ev.Source, ev.Kind, ev.Credential, ev.Principal,
			ev.OccurredAt.AsTime().Format(time.RFC3339Nano), ev.RecordId, ev.Index))
	}
	return strings.Join(lines, "\n")
}

// shipped are the policies that come with the product.
func shipped(t testing.TB) *rego.Set {
	t.Helper()
	engine, err := rego.New(context.Background(), rego.Options{PolicyDir: "../../../examples/policies"})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Current()
}

const owners = `owners: [{id: payments}, {id: sre}]
systems: [{id: registry}, {id: cmdb}]
agents:
  - id: ingest
    owner: payments
    system: registry
    match:
      - spiffe_id: spiffe://example.org/ingest
      - vault_entity: 15e30d73-c7ea-998c-3fc8-499be4067012
      - agent_id: agent-1
    expected_use: {per_hour: 400}
  - id: diag
    owner: %s
    system: cmdb
    match:
      - spiffe_id: spiffe://example.org/diag
      - aws_role: "arn:aws:iam::444455556666:role/diag"
      - agent_id: agent-2
  - id: people
    owner: sre
    match:
      - vault_entity: f600407e-d08c-8155-eadc-2ce27f04b592
      - aws_role: "arn:aws:iam::111122223333:role/people"
%s`

// catalogs before and after an edit: one agent changes hands, one that was a mistake goes.
func catalogs(t testing.TB) [2]*catalog.Catalog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	load := func(text string) *catalog.Catalog {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cat, err := catalog.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return cat
	}
	const mistake = `  - id: mistake
    owner: sre
    system: cmdb
    match:
      - vault_entity: f8d53b93-628a-3761-b406-dfa4396fc03d
      - spiffe_id: spiffe://example.org/ingest
`
	return [2]*catalog.Catalog{load(fmt.Sprintf(owners, "payments", mistake)), load(fmt.Sprintf(owners, "sre", ""))}
}
