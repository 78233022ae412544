package figures

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// decisions measures one evaluation with fifty policies loaded, of a credential that stands past three of them.
func decisions(ctx context.Context, opts Options, _ string, _ fleet.AuditTruth) ([]figure, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: filepath.Join(opts.Dir, "policies")})
	if err != nil {
		return nil, fmt.Errorf("load policies: %w", err)
	}
	set := engine.Current()
	subject := rego.Subject{Credential: "vault/bench/token/a", Type: "token", Source: "vault"}
	var values rego.Values
	values.Set(rego.CredentialAge, 10)
	values.Set(rego.IdleTime, 10)
	values.Set(rego.ElevationAttempts, 4125) // past p01 (4010), p06 (4060) and p11 (4110)
	opts.Progress("deciding 2000 times with 50 policies")
	times := make([]time.Duration, 2000)
	violated := 0
	for i := range times {
		began := time.Now()
		result, err := set.Evaluate(ctx, &subject, &values)
		times[i] = time.Since(began)
		if err != nil {
			return nil, fmt.Errorf("decide: %w", err)
		}
		violated = len(result.Violations)
	}
	slices.Sort(times)
	return []figure{{name: "one decision, median", value: float64(times[len(times)/2].Nanoseconds()) / 1000, unit: "µs", budget: 150, atMost: true,
		note: fmt.Sprintf("50 policies loaded, %d violated", violated)}}, nil
}

const restored = 200_000

// memory measures what a quiet credential costs, and how long it takes to bring 200,000 back.
func memory(ctx context.Context, opts Options, _ string, _ fleet.AuditTruth) ([]figure, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: filepath.Join(opts.Dir, "policies")})
	if err != nil {
		return nil, fmt.Errorf("load policies: %w", err)
	}
	opts.Progress("holding and restoring %d quiet credentials", restored)
	now := time.Now()
	later := now.Add(time.Hour).UnixNano()
	states := make([][]byte, 0, restored)
	keys := make([]string, 0, restored)
	c := core.New(core.Options{Grants: scope.NewGrants()})
	before := heap()
	offset := int64(0)
	for i := range restored {
		for _, ev := range quiet(i, now) {
			offset++
			c.Apply(ev, offset, true)
		}
		if i%10_000 == 9999 {
			if err := c.Settle(ctx, now.UnixNano()); err != nil {
				return nil, err
			}
			c.Dirty()
			c.Pack(later)
		}
	}
	each := float64(heap()-before) / restored
	c.Entries(func(e *core.Entry) {
		blob, err2 := e.Marshal()
		if err2 != nil {
			err = err2
		}
		keys, states = append(keys, e.Key), append(states, blob)
	})
	if err != nil {
		return nil, err
	}
	c = core.New(core.Options{Grants: scope.NewGrants()})
	began := time.Now()
	c.Rules(engine.Current())
	for i := range keys {
		cred, err := lifecycle.Load(keys[i], states[i])
		if err != nil {
			return nil, err
		}
		c.Load(cred)
	}
	if err := c.Settle(ctx, now.UnixNano()); err != nil {
		return nil, err
	}
	took := time.Since(began)
	runtime.KeepAlive(c)
	return []figure{
		{name: "quiet credential in memory", value: each, unit: "bytes", budget: 500, atMost: true, note: "issued, used three times, packed"},
		{name: "200,000 credentials restored", value: took.Seconds(), unit: "s", budget: 4, atMost: true,
			note: "state decoded, deadlines set, 50 policies looked at"},
	}, nil
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func quiet(i int, now time.Time) []*pb.Event {
	key := fmt.Sprintf("vault/default/token/hmac-sha256:%064x", i)
	event := func(kind pb.Event_Kind, n uint32) *pb.Event {
		id := schemas.EventID("vault", "default", key, n)
		return &pb.Event{Id: id[:], Kind: kind, Credential: key, OccurredAt: timestamppb.New(now),
			Principal: fmt.Sprintf("vault/default/entity/15e30d73-c7ea-998c-3fc8-%012d", i%1000)}
	}
	issued := event(pb.Event_ISSUED, 0)
	issued.Lifetime = &pb.Lifetime{IssuedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(now.Add(48 * time.Hour)), Renewable: true}
	issued.Policies, issued.Labels = []string{"default", "ingest"}, map[string]string{"role_name": "ingest", "mount_point": "auth/approle/"}
	events := []*pb.Event{issued}
	for n := range uint32(3) {
		used := event(pb.Event_USED, n+1)
		used.Permission = "read secret/data/ingest/a"
		events = append(events, used)
	}
	return events
}
