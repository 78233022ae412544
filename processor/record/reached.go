package record

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/reach"
)

const (
	// maxStarts are looked at: those that most live credentials share come first.
	maxStarts = 50_000
	// keptPrincipals of an answer are written; all that is sensitive, everything and secrets are, up to keptPlaces.
	keptPrincipals = 50
	keptPlaces     = 1000
	// reachedRows is how many rows one INSERT holds.
	reachedRows = 2000
)

// ReachStart is what a leak starts from: live credentials that may do the same share one.
type ReachStart struct {
	ID               uint64
	Source, Instance string
	reach.Start
}

// ReachStarts gives what leaks of the live credentials start from, those of the most credentials first, and whether there
// are more than are looked at.
func ReachStarts(ctx context.Context, conn *store.DB) (out []ReachStart, more bool, err error) {
	rows, err := conn.Query(ctx, `SELECT start, min(credential), argMin(source, credential), argMin(instance, credential), argMin(principal, credential),
		argMin(policies, credential), argMin(labels, credential)
		FROM v_reach_starts GROUP BY start ORDER BY count() DESC, start LIMIT ?`, maxStarts+1)
	if err != nil {
		return nil, false, fmt.Errorf("read what leaks start from: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if len(out) == maxStarts {
			return out, true, rows.Err()
		}
		var s ReachStart
		if err := rows.Scan(&s.ID, &s.Credential, &s.Source, &s.Instance, &s.Principal, &s.Policies, &s.Labels); err != nil {
			return nil, false, fmt.Errorf("read what leaks start from: %w", err)
		}
		out = append(out, s)
	}
	return out, false, rows.Err()
}

// Reached is the answer for one start.
type Reached struct {
	ReachStart
	Answer *reach.Answer
	Since  time.Time
}

// ReachedBefore is what the table tells of a start.
type ReachedBefore struct {
	Hash             uint64
	Since, WrittenAt time.Time
}

// ReachedStarts gives what the table tells, by start.
func ReachedStarts(ctx context.Context, conn *store.DB) (map[uint64]ReachedBefore, error) {
	rows, err := conn.Query(ctx, `SELECT start, hash, since, written_at FROM reach FINAL`)
	if err != nil {
		return nil, fmt.Errorf("read what was reached: %w", err)
	}
	defer rows.Close()
	out := map[uint64]ReachedBefore{}
	for rows.Next() {
		var start uint64
		var before ReachedBefore
		if err := rows.Scan(&start, &before.Hash, &before.Since, &before.WrittenAt); err != nil {
			return nil, fmt.Errorf("read what was reached: %w", err)
		}
		out[start] = before
	}
	return out, rows.Err()
}

// Hash of what is told, without the evidence, which a newer record of the same replaces.
func (r *Reached) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %d", r.Answer.Start.Partly, r.Answer.Count()["principals"])
	for _, p := range kept(r.Answer) {
		fmt.Fprintf(h, "\n%q %d %t", p.To, p.Certainty, p.Stays)
		for _, s := range p.Steps {
			fmt.Fprintf(h, " %q %d %q %q", s.To.Key, s.Certainty, s.Rule, s.Does)
		}
	}
	return h.Sum64()
}

// kept are the paths of an answer that are written.
func kept(a *reach.Answer) (out []reach.Path) {
	principals := 0
	for _, p := range a.Paths {
		if p.Group() == "principals" {
			if principals++; principals > keptPrincipals {
				break // they come last
			}
		}
		if len(out) < keptPlaces {
			out = append(out, p)
		}
	}
	return out
}

// InsertReached writes answers. Written again, the newest replaces.
func InsertReached(ctx context.Context, conn *store.DB, all []Reached, now time.Time) error {
	for begin := 0; begin < len(all); begin += reachedRows {
		if err := insertReached(ctx, conn, all[begin:min(begin+reachedRows, len(all))], now); err != nil {
			return err
		}
	}
	return nil
}

func insertReached(ctx context.Context, conn *store.DB, all []Reached, now time.Time) error {
	n := len(all)
	start, hash, principals := counts(n), counts(n), counts(n)
	source, instance, principal, partly := texts(n), texts(n), texts(n), texts(n)
	places, kinds, names, certainty := make([][]string, n), make([][]string, n), make([][]string, n), make([][]string, n)
	stays, since := make([][]bool, n), make([]time.Time, n)
	lists := func() [][][]string { return make([][][]string, n) }
	via, steps, certainties, rules, evidence := lists(), lists(), lists(), lists(), lists()
	for i := range all {
		r := &all[i]
		start[i], hash[i], principals[i], since[i] = r.ID, r.Hash(), uint64(r.Answer.Count()["principals"]), r.Since
		source[i], instance[i], principal[i], partly[i] = r.Source, r.Instance, r.Principal, r.Answer.Start.Partly
		for _, p := range kept(r.Answer) {
			places[i], kinds[i], names[i] = append(places[i], p.To.Key), append(kinds[i], p.To.Kind), append(names[i], p.To.Name)
			certainty[i], stays[i] = append(certainty[i], p.Certainty.String()), append(stays[i], p.Stays)
			var to, does, certain, rule, rests []string
			for _, s := range p.Steps {
				to, does, certain = append(to, s.To.Key), append(does, s.Does), append(certain, s.Certainty.String())
				rule, rests = append(rule, s.Rule), append(rests, s.Evidence)
			}
			via[i], steps[i], certainties[i] = append(via[i], to), append(steps[i], does), append(certainties[i], certain)
			rules[i], evidence[i] = append(rules[i], rule), append(evidence[i], rests)
		}
	}
	return insert(ctx, conn, "reach", n, []column{{"start", start}, {"source", source}, {"instance", instance}, {"principal", principal},
		{"places", places}, {"kinds", kinds}, {"names", names}, {"certainty", certainty}, {"stays", stays}, {"via", via}, {"steps", steps},
		{"steps_certainty", certainties}, {"rules", rules}, {"evidence", evidence}, {"principals", principals}, {"partly", partly},
		{"hash", hash}, {"since", since}, {"written_at", repeat(now, n)}})
}

// ReachRun tells how far the answers are up to date.
type ReachRun struct {
	At                                     time.Time
	Starts, Waiting, Principals, Sensitive int
}

// InsertReachRun writes one.
func InsertReachRun(ctx context.Context, conn *store.DB, r ReachRun) error {
	one := func(n int) []uint64 { return []uint64{uint64(n)} }
	return insert(ctx, conn, "reach_runs", 1, []column{{"at", []time.Time{r.At}}, {"starts", one(r.Starts)}, {"waiting", one(r.Waiting)},
		{"principals", one(r.Principals)}, {"sensitive", one(r.Sensitive)}})
}
