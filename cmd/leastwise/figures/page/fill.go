package page

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

//go:embed fleet.sql
var fleetSQL string

// kinds of agents, of which each has a state of its own.
const kinds = 50

// fill writes the fleet and its history into empty tables, as processor and recorder do: rows of credentials and events by
// ClickHouse from the seed, decisions, journal and exceptions through the recorder's own writer, so that the audit log proves
// itself.
func fill(ctx context.Context, db *store.DB, opts Options) ([]*pb.Exception, error) {
	blobs := make([]string, kinds)
	for i := range blobs {
		state, err := stateOf(i).MarshalVT()
		if err != nil {
			return nil, err
		}
		blobs[i] = "'" + hex.EncodeToString(state) + "'"
	}
	named := strings.NewReplacer("{seed}", strconv.Itoa(opts.Seed), "{credentials}", strconv.Itoa(opts.Credentials), "{events}", strconv.Itoa(opts.Events),
		"{kinds}", strconv.Itoa(kinds), "{blobs}", "["+strings.Join(blobs, ", ")+"]")
	for _, statement := range strings.Split(fleetSQL, "\n;\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := db.Exec(ctx, named.Replace(statement)); err != nil {
			return nil, fmt.Errorf("make the fleet: %w", err)
		}
	}
	past, err := violators(ctx, db)
	if err != nil {
		return nil, err
	}
	exceptions, err := history(ctx, db, past)
	if err != nil {
		return nil, err
	}
	// Each violation that stands is confirmed again and again; here every other hour for thirty days.
	if err := db.Exec(ctx, `INSERT INTO decisions (credential, decided_at, policy_revision, input_revision, policies, metrics, values, thresholds, severities, deviations, deviation, mode, owner, agent, kafka_partition, kafka_offset)
		SELECT credential, decided_at - toIntervalHour(back * 2 + 24), 'bench', credential, policies, metrics, values, thresholds, severities, deviations, deviation, mode, owner, agent, kafka_partition, kafka_offset - back * 10000
		FROM decisions_in_force FINAL CROSS JOIN (SELECT number + 1 AS back FROM numbers(348)) AS hours`); err != nil {
		return nil, fmt.Errorf("make the fleet: confirmed decisions: %w", err)
	}
	if err := wholeWeeks(ctx, db); err != nil {
		return nil, err
	}
	return exceptions, db.Exec(ctx, "DROP VIEW bench_credentials")
}

// wholeWeeks does now what the engine does a day after a week's last row: its parts become one.
func wholeWeeks(ctx context.Context, db *store.DB) error {
	rows, err := db.Query(ctx, `SELECT DISTINCT table, partition FROM system.parts
		WHERE active AND database = currentDatabase() AND table IN ('events', 'decisions') AND partition < toString(toMonday(today()))`)
	if err != nil {
		return fmt.Errorf("make the fleet: weeks: %w", err)
	}
	defer rows.Close()
	var statements []string
	for rows.Next() {
		var table, week string
		if err := rows.Scan(&table, &week); err != nil {
			return fmt.Errorf("make the fleet: weeks: %w", err)
		}
		statements = append(statements, "OPTIMIZE TABLE "+table+" PARTITION '"+week+"' FINAL")
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("make the fleet: weeks: %w", err)
	}
	for _, statement := range statements {
		if err := db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("make the fleet: weeks: %w", err)
		}
	}
	return nil
}

// stateOf is what the processor remembers of the use of a credential of one kind.
func stateOf(kind int) *pb.CredentialState {
	s := &pb.CredentialState{Uses: 100}
	for i := range 3 + kind%12 {
		s.Used = append(s.Used, &pb.PermissionUse{Permission: fmt.Sprintf("read secret/data/batch/task-%d/", kind), Leaves: []string{fmt.Sprintf("item-%d", i)}, Count: 7})
	}
	return s
}

// violator is a credential that stands past policies.
type violator struct {
	key, source, instance, typ, principal, agent, owner string
	issued, expires                                     time.Time
	never                                               bool
	weight                                              float64
	attempts                                            uint64
	policies                                            []string
}

func violators(ctx context.Context, db *store.DB) ([]violator, error) {
	rows, err := db.Query(ctx, `SELECT credential, source, instance, type, principal, agent, owner, assumeNotNull(issued_at), ifNull(expires_at, now64(9)), never_expires, ifNull(scope_weight, 0), denied_permissions, violated_policies
		FROM credentials FINAL WHERE notEmpty(violated_policies) ORDER BY credential`)
	if err != nil {
		return nil, fmt.Errorf("make the fleet: %w", err)
	}
	defer rows.Close()
	var out []violator
	for rows.Next() {
		var v violator
		if err := rows.Scan(&v.key, &v.source, &v.instance, &v.typ, &v.principal, &v.agent, &v.owner, &v.issued, &v.expires, &v.never, &v.weight, &v.attempts, &v.policies); err != nil {
			return nil, fmt.Errorf("make the fleet: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// decision on a violator.
func (v *violator) decision(at time.Time) *pb.Decision {
	d := &pb.Decision{Credential: v.key, DecidedAt: timestamppb.New(at), AsOf: timestamppb.New(at), PolicyRevision: "bench", InputRevision: v.key,
		Ladder:  &pb.Ladder{Mode: pb.Ladder_ENFORCE, GraceMs: 7 * 86_400_000, Revoke: true},
		Subject: &pb.Subject{Type: v.typ, Source: v.source, Instance: v.instance, Principal: v.principal, Agent: v.agent, IssuedAt: timestamppb.New(v.issued)}}
	if v.owner != "" {
		d.Subject.Owner = &pb.Owner{Id: v.owner, Name: v.owner, Channels: []string{"owners"}, Evidence: "catalog.yaml:4"}
	}
	for _, policy := range v.policies {
		one := &pb.Violation{PolicyId: policy, Reason: "threshold_passed", Channel: "owners", Ladder: d.Ladder, Hint: "Log in anew for each task."}
		switch policy {
		case "long-lived":
			life := v.expires.Sub(v.issued).Hours() / 24
			one.Metric, one.Condition, one.Severity, one.Threshold, one.Value, one.Deviation = "lifetime", "greater_than", "high", "30d", fmt.Sprintf("%.0fd", life), life/30-1
			if v.never {
				one.Value, one.Deviation = "never ends", 1e15
			}
		case "broad":
			one.Metric, one.Condition, one.Severity, one.Threshold, one.Value, one.Deviation = "scope_weight", "greater_than", "medium", "150", fmt.Sprint(v.weight), v.weight/150-1
		case "probing":
			one.Metric, one.Condition, one.Severity, one.Threshold, one.Value, one.Deviation = "elevation_attempts", "greater_or_equal", "critical", "5", fmt.Sprint(v.attempts), float64(v.attempts-4)/5
		default:
			one.Metric, one.Condition, one.Severity, one.Threshold, one.Value, one.Deviation = "unresolved_identity", "equals", "medium", "true", "yes", 1
		}
		d.Violations = append(d.Violations, one)
	}
	return d
}

// Sizes of what the recorder wrote.
const (
	partitions = 4
	rounds     = 24     // decisions of each violator in the audit log, one an hour
	firstAt    = 10e6   // offset of the oldest, so that the history before has room
	nobody     = "nora" // who asked for exceptions
)

type writer struct {
	ctx     context.Context
	db      *store.DB
	topic   string
	pending []record.History
	chains  []record.Chain
	offsets []int64
	queued  int
}

func newWriter(ctx context.Context, db *store.DB, topic string, first int64) *writer {
	w := &writer{ctx: ctx, db: db, topic: topic, chains: make([]record.Chain, partitions), offsets: make([]int64, partitions)}
	for i := range w.offsets {
		w.offsets[i] = first
	}
	w.reset()
	return w
}

func (w *writer) reset() {
	w.queued, w.pending = 0, make([]record.History, partitions)
	for i := range w.pending {
		w.pending[i] = record.History{Topic: w.topic, Partition: uint32(i)}
	}
}

func (w *writer) add(i int, key string, m interface{ MarshalVT() ([]byte, error) }, at time.Time) error {
	value, err := m.MarshalVT()
	if err != nil {
		return err
	}
	w.offsets[i]++
	w.queued++
	return errors.Join(w.pending[i].Add(w.offsets[i], []byte(key), value, at), w.flush(20_000))
}

func (w *writer) flush(unless int) error {
	if w.queued < unless || w.queued == 0 {
		return nil
	}
	for i := range w.pending {
		if err := w.pending[i].Write(w.ctx, w.db, &w.chains[i], time.Now()); err != nil {
			return fmt.Errorf("make the fleet: %w", err)
		}
	}
	w.reset()
	return nil
}

// history writes decisions, the enforcer's journal and exceptions.
func history(ctx context.Context, db *store.DB, past []violator) ([]*pb.Exception, error) {
	now := time.Now()
	decided := newWriter(ctx, db, schemas.TopicDecisions, firstAt)
	for round := range rounds {
		at := now.Add(-time.Duration(rounds-round-1) * time.Hour)
		for i := range past {
			if err := decided.add(i%partitions, past[i].key, past[i].decision(at), at); err != nil {
				return nil, err
			}
		}
	}
	journal := newWriter(ctx, db, schemas.TopicEnforcement, 0)
	for i := range past {
		if i%2 == 1 || !slices.Contains(past[i].policies, "long-lived") && !slices.Contains(past[i].policies, "broad") {
			continue
		}
		for _, l := range ladder(&past[i], i, now) {
			if err := journal.add(i%partitions, past[i].key, l, l.At.AsTime()); err != nil {
				return nil, err
			}
		}
	}
	var exceptions []*pb.Exception
	asked := record.History{Topic: schemas.TopicExceptions}
	for i := range 400 {
		v := past[i*7%len(past)]
		e := &pb.Exception{Id: fmt.Sprintf("ex-%d", i), Credential: v.key, PolicyId: v.policies[0], Reason: "A customer's contract names this key.", Ticket: fmt.Sprintf("OPS-%d", i),
			Until: timestamppb.New(now.Add(time.Duration(i-80) * time.Hour)), RequestedBy: nobody, RequestedAt: timestamppb.New(now.Add(-time.Duration(200+i) * time.Hour))}
		if i%5 != 0 {
			e.ApprovedBy, e.ApprovedAt = "sam", timestamppb.New(now.Add(-time.Duration(150+i)*time.Hour))
		}
		exceptions = append(exceptions, e)
		value, err := e.MarshalVT()
		if err != nil {
			return nil, err
		}
		if err := asked.Add(int64(i), []byte(e.Id), value, e.RequestedAt.AsTime()); err != nil {
			return nil, err
		}
	}
	var chain record.Chain
	return exceptions, errors.Join(decided.flush(0), journal.flush(0), asked.Write(ctx, db, &chain, now))
}

// ladder of a violator: most wait for the end of their grace period, some are held back, some were revoked.
func ladder(v *violator, i int, now time.Time) []*pb.LadderState {
	begun := now.Add(-time.Duration(i%160) * time.Hour)
	d := v.decision(begun)
	step := uint64(0)
	entry := func(state pb.LadderState_State, after time.Duration) *pb.LadderState {
		step++
		return &pb.LadderState{Credential: v.key, LadderId: fmt.Sprintf("l-%d", i), Step: step, State: state, At: timestamppb.New(begun.Add(after)), Decision: d, Writer: "enforcer-0",
			NotifiedAt: timestamppb.New(begun.Add(time.Second)), Told: []string{"owners"}, RevokeAt: timestamppb.New(begun.Add(7 * 24 * time.Hour))}
	}
	out := []*pb.LadderState{entry(pb.LadderState_VIOLATED, 0), entry(pb.LadderState_NOTIFIED, time.Second)}
	switch {
	case i%40 == 2:
		held := entry(pb.LadderState_HELD, time.Minute)
		held.Waiting = "budget: 20 of 20 this hour"
		out = append(out, held)
	case i%10 == 4:
		intended, done, closed := entry(pb.LadderState_REVOKE_INTENDED, time.Hour), entry(pb.LadderState_REVOKED, time.Hour+time.Second), entry(pb.LadderState_CLOSED, time.Hour+2*time.Second)
		done.Proof = "lookup of the accessor: 403, no such token"
		closed.Proof = done.Proof
		closed.Reissue = &pb.Reissue{PolicyName: fmt.Sprintf("leastwise-%d", i), GrantedBefore: uint32(math.Max(2, v.weight)), GrantedAfter: 2}
		out = append(out, intended, done, closed)
	}
	return out
}
