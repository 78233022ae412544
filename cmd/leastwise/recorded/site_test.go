package recorded

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/dedup"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// clusters is what the configuration of every processor says.
var clusters = identity.Options{Clusters: map[string]string{"spire/example.org": "prod", "spire/other": "prod"}}

// site is some processors with the Kafka and the ClickHouse that they share, both as values in memory.
type site struct {
	t       testing.TB
	rng     *rand.Rand
	shape   shape
	rules   *rego.Set
	catalog *catalog.Catalog
	clock   time.Time

	partitions []*partition
	facts      []fact // leastwise.identity
	processors []*process
}

// partition of leastwise.events and leastwise.decisions, and its rows in ClickHouse.
type partition struct {
	number    int
	log       [][]byte
	decisions []*pb.Decision
	rows      map[dedup.ID]int64 // events: the offset each id was first seen at
	newest    int64
	state     map[string][]byte // credentials
	committed int64
	worker    *worker // of whichever processor owns it
}

// process is one instance: what it knows of all partitions, and nothing that outlives it.
type process struct {
	grants *scope.Grants
	graph  *identity.Graph
	read   int // of the facts
	ledger *identity.Ledger
	stands map[string]string // findings as the ledger has told them
}

// worker does what the worker of package processor does, call for call.
type worker struct {
	process *process
	core    *core.Core
	linker  *identity.Linker
	catalog *catalog.Catalog
	seen    *dedup.Memory
	next    int64
	pending []row
}

type row struct {
	id     dedup.ID
	offset int64
}

func newSite(t testing.TB, rng *rand.Rand, sh shape, rules *rego.Set, cat *catalog.Catalog) *site {
	s := &site{t: t, rng: rng, shape: sh, rules: rules, catalog: cat, clock: asked.Add(-60 * 24 * time.Hour)}
	if sh.late {
		s.clock = asked.Add(-2 * time.Hour)
	}
	for range sh.processors {
		s.processors = append(s.processors, s.start())
	}
	for n := range sh.partitions {
		p := &partition{number: n, rows: map[dedup.ID]int64{}, newest: -1, state: map[string][]byte{}}
		s.partitions = append(s.partitions, p)
		s.own(p, s.processors[n%sh.processors])
	}
	return s
}

// start gives a processor that has read the facts to their end. Of each key only the last is there still, sometimes.
func (s *site) start() *process {
	p := &process{grants: scope.NewGrants(), graph: identity.New(), ledger: &identity.Ledger{}, stands: map[string]string{}}
	last := map[string]int{}
	compacted := s.rng.IntN(2) == 0
	for i, f := range s.facts {
		last[f.key] = i
	}
	for i, f := range s.facts {
		if !compacted || last[f.key] == i {
			p.take(f.value)
		}
	}
	p.read = len(s.facts)
	return p
}

func (p *process) take(f *pb.Fact) {
	if g := f.GetGrant(); g != nil {
		p.grants.Put(g)
	}
	if l := f.GetLink(); l != nil {
		p.graph.Put(l)
	}
}

// follow reads facts on, and answers where others would lose something.
func (s *site) follow(p *process, most int) {
	for range most {
		if p.read == len(s.facts) {
			return
		}
		f := s.facts[p.read].value
		p.read++
		p.take(f)
		if l := f.GetLink(); l != nil {
			if key, again := p.graph.Answer(s.facts[p.read-1].key, l); again != nil {
				s.tell(key, again)
			}
		}
	}
}

func (s *site) tell(key string, link *pb.Link) {
	s.facts = append(s.facts, fact{key, &pb.Fact{Fact: &pb.Fact_Link{Link: proto.CloneOf(link)}}})
}

// own gives a partition to a processor, which finds of it what was written.
func (s *site) own(p *partition, by *process) {
	w := &worker{process: by, seen: dedup.NewMemory(s.shape.remembered), next: p.committed}
	w.core = core.New(core.Options{Grants: by.grants, Identities: by.graph, Heartbeat: time.Minute, Tick: time.Second})
	w.linker = identity.NewLinker(by.graph, clusters)
	for key, blob := range p.state {
		cred, err := lifecycle.Load(key, blob)
		if err != nil {
			s.t.Fatal(err)
		}
		w.core.Load(cred)
		w.linker.Meet(cred.Principal)
	}
	if len(p.rows) > 0 { // as many as memory would hold; here none, so that the store is asked for each
		w.seen.Forgotten(asked.Add(time.Hour).UnixNano())
	}
	w.seen.Written(p.newest)
	for _, d := range p.decisions {
		w.core.Published(d)
	}
	p.worker = w
}

// deliver appends an event to the partition that its key belongs to.
func (s *site) deliver(ev *pb.Event) {
	p := s.partitions[stream.PartitionFor([]byte(cmp.Or(ev.Credential, ev.RecordId)), len(s.partitions))]
	value, err := ev.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	p.log = append(p.log, value)
}

// turn is one round of a worker's loop: up to so many messages, what follows from them, and perhaps a checkpoint.
func (s *site) turn(p *partition, most int) {
	w := p.worker
	s.clock = s.clock.Add(time.Duration(s.rng.IntN(200)) * time.Millisecond)
	s.inForce(w)
	w.apply(s, p, p.log[w.next:min(len(p.log), int(w.next)+most)])
	s.settle(p, s.clock)
	if s.rng.IntN(3) == 0 {
		w.flush(p)
	}
	if s.shape.checkpoints && s.rng.IntN(8) == 0 {
		s.checkpoint(p)
	}
}

// inForce hands over what is in force, in the order in which the worker does.
func (s *site) inForce(w *worker) {
	w.core.Rules(s.rules)
	if w.catalog != s.catalog {
		w.linker.ClaimCatalog(s.catalog, s.clock)
		w.catalog = s.catalog
	}
	w.core.Catalog(s.catalog)
}

func (s *site) settle(p *partition, at time.Time) {
	w := p.worker
	if err := w.core.Settle(context.Background(), at.UnixNano()); err != nil {
		s.t.Fatal(err)
	}
	for _, ev := range w.core.Derived() {
		s.deliver(ev)
	}
	p.decisions = append(p.decisions, w.core.Decisions()...)
	for _, said := range w.linker.News() {
		s.tell(said.Key, said.Link)
	}
}

func (w *worker) apply(s *site, p *partition, batch [][]byte) {
	type incoming struct {
		ev     *pb.Event
		at     int64
		offset int64
		answer dedup.Answer
	}
	events := make([]incoming, len(batch))
	for i, value := range batch {
		ev := &pb.Event{}
		if err := ev.UnmarshalVT(value); err != nil {
			s.t.Fatal(err)
		}
		in := incoming{ev: ev, at: ev.OccurredAt.AsTime().UnixNano(), offset: w.next}
		in.answer = w.seen.Seen(dedup.ID(ev.Id), in.at, in.offset)
		events[i] = in
		w.next++
	}
	for i := range events {
		if in := &events[i]; in.answer == dedup.Ask {
			first, found := p.rows[dedup.ID(in.ev.Id)]
			in.answer = w.seen.Resolve(dedup.ID(in.ev.Id), in.at, in.offset, first, found)
		}
	}
	for i := range events {
		in := &events[i]
		held := ""
		if e := w.core.Entry(in.ev.Credential); e != nil {
			held = e.Principal
		}
		w.linker.Event(in.ev, held)
		w.core.Apply(in.ev, in.offset, in.answer == dedup.New)
		if in.answer == dedup.New && in.offset > p.newest {
			w.pending = append(w.pending, row{dedup.ID(in.ev.Id), in.offset})
		}
	}
}

// flush writes the rows that wait.
func (w *worker) flush(p *partition) {
	for _, r := range w.pending {
		p.rows[r.id] = r.offset
		p.newest = max(p.newest, r.offset)
	}
	w.pending = nil
	w.seen.Written(p.newest)
}

// checkpoint writes state and commits; a crash may come after any part of it.
func (s *site) checkpoint(p *partition) {
	w := p.worker
	w.flush(p)
	dirty := w.core.Dirty()
	whole := !s.shape.crashes || s.rng.IntN(4) > 0
	if !whole {
		dirty = dirty[:s.rng.IntN(len(dirty)+1)]
	}
	for _, e := range dirty {
		blob, err := e.Marshal()
		if err != nil {
			s.t.Fatal(err)
		}
		p.state[e.Key] = blob
	}
	if !whole {
		s.crash(slices.Index(s.processors, w.process))
		return
	}
	p.committed = w.next
	if s.rng.IntN(2) == 0 {
		w.core.Pack(s.clock.Add(time.Hour).UnixNano()) // all are quiet
	}
}

// crash ends a processor; others, or one that starts in its place, take its partitions over.
func (s *site) crash(n int) {
	died := s.processors[n]
	s.processors[n] = s.start()
	for _, p := range s.partitions {
		if p.worker.process == died {
			s.own(p, s.processors[s.rng.IntN(len(s.processors))])
		}
	}
}

// tellFindings does what the processor's recorder does from time to time.
func (p *process) tellFindings() {
	_, findings := p.ledger.Changes(p.graph)
	for _, f := range findings {
		if f.Standing {
			p.stands[f.Key()] = f.String()
		} else {
			delete(p.stands, f.Key())
		}
	}
}

// behind is whether anything waits to be read.
func (s *site) behind() bool {
	for _, p := range s.partitions {
		if int(p.worker.next) < len(p.log) {
			return true
		}
	}
	return slices.ContainsFunc(s.processors, func(p *process) bool { return p.read < len(s.facts) })
}
