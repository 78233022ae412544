package processor

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/dedup"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// BenchmarkWorker is what a partition's worker does between Kafka and ClickHouse, for 20,000 tokens of Vault and ten
// events of each: unmarshal, tell repeats, link identities, apply, collect rows, settle, and marshal what follows. The
// clock stands at the log's end, or half a year later, when all of it is history and every token has expired.
func BenchmarkWorker(b *testing.B) {
	log := auditLog(20_000, 180_000)
	rules := fiftyPolicies(b)
	for name, later := range map[string]time.Duration{"live": 0, "history": 180 * 24 * time.Hour} {
		b.Run(name, func(b *testing.B) {
			events := 0
			b.ReportAllocs()
			for b.Loop() {
				events += len(log)
				w := newLoneWorker(rules)
				began := time.Now()
				w.read(b, log, 1500, func() time.Time { return logEnds.Add(later + time.Since(began)) }, nil)
				if w.core.Len() != 20_000 {
					b.Fatalf("%d credentials", w.core.Len())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}

// loneWorker is a worker without Kafka and ClickHouse.
type loneWorker struct{ *worker }

func newLoneWorker(rules *rego.Set) loneWorker {
	p := &Processor{metrics: newMetrics(prometheus.NewRegistry()), grants: scope.NewGrants(), graph: identity.New()}
	w := &worker{p: p, core: core.New(core.Options{Grants: p.grants, Identities: p.graph}), seen: dedup.NewMemory(1_000_000),
		linker: identity.NewLinker(p.graph, identity.Options{}), newest: -1}
	w.core.Rules(rules)
	return loneWorker{w}
}

// read does what run does with these messages, and with those that follow from them, in batches of n. done, if set, is
// called with every batch that is done with.
func (w loneWorker) read(tb testing.TB, log []stream.Message, n int, clock func() time.Time, done func([]stream.Message)) {
	var following []stream.Message
	offset := int64(0)
	for len(log)+len(following) > 0 {
		if len(log) == 0 {
			log, following = following, nil
		}
		batch := make([]stream.Message, min(n, len(log)))
		copy(batch, log)
		log = log[len(batch):]
		for i := range batch {
			batch[i].Offset = offset
			offset++
		}
		if err := w.apply(context.Background(), batch); err != nil {
			tb.Fatal(err)
		}
		now := clock()
		if err := w.core.Settle(context.Background(), now.UnixNano()); err != nil {
			tb.Fatal(err)
		}
		for _, ev := range w.core.Derived() {
			m, err := eventMessage(ev)
			if err != nil {
				tb.Fatal(err)
			}
			following = append(following, m)
		}
		w.core.Decisions()
		if _, err := w.links(); err != nil {
			tb.Fatal(err)
		}
		if w.rows.Len() >= 50_000 {
			w.newest = w.rows.Last()
			w.rows.Reset()
			w.seen.Written(w.newest)
			w.core.Dirty()
			w.core.Pack(now.UnixNano())
		}
		if done != nil {
			done(batch)
		}
	}
}

func fiftyPolicies(tb testing.TB) *rego.Set {
	dir := tb.TempDir()
	for i := range 50 {
		metric := [...]string{"credential_age", "elevation_attempts", "idle_time", "permission_scope_complexity", "lifetime"}[i%5]
		unit := [...]string{"d", "", "d", "", "d"}[i%5]
		text := fmt.Sprintf("policy_id: \"p%02d\"\nmetrics:\n  - {name: %s, source: vault, threshold: \"%d%s\", condition: greater_than}\n"+
			"action:\n  - {severity: low, channel: team, remediation_hint: \"Rotate.\"}\n", i, metric, 4000+10*i, unit)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("p%02d.yaml", i)), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	engine, err := rego.New(context.Background(), rego.Options{PolicyDir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	return engine.Current()
}

var logEnds = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// auditLog is what the Vault collector makes of an hour's audit log: logins through Kubernetes during its first half,
// calls spread over all who are logged in, two in a hundred refused, one in a hundred a renewal.
func auditLog(credentials, calls int) []stream.Message {
	rng := rand.New(rand.NewPCG(1, 2))
	began := logEnds.Add(-time.Hour)
	var out []stream.Message
	var tokens []auditToken
	total := credentials + calls
	for k := range total {
		at := began.Add(time.Hour * time.Duration(k) / time.Duration(total))
		say := func(ev *pb.Event, record string, index uint32) {
			id := schemas.EventID("vault", "bench", record, index)
			ev.Id, ev.RecordId, ev.Index, ev.Source, ev.Instance = id[:], record, index, "vault", "bench"
			ev.OccurredAt, ev.ObservedAt = timestamppb.New(at), timestamppb.New(at.Add(time.Second))
			ev.Position = fmt.Sprintf("/var/log/vault/audit.log:%d", 1500*k)
			value, err := ev.MarshalVT()
			if err != nil {
				panic(err)
			}
			out = append(out, stream.Message{Key: []byte(ev.Credential), Value: value})
		}
		record := uuid(rng)
		if len(tokens) < credentials && len(tokens)*total <= 2*k*credentials {
			t := newAuditToken(rng, len(tokens), at)
			tokens = append(tokens, t)
			ev := t.call("", "update auth/kubernetes/login", "auth/kubernetes/", "kubernetes")
			say(&pb.Event{Kind: pb.Event_NOTED, Action: ev.Action, Permission: ev.Permission, Resource: ev.Resource,
				RemoteAddress: ev.RemoteAddress, Labels: map[string]string{"mount_point": "auth/kubernetes/", "mount_type": "kubernetes"}}, record, 0)
			say(t.told(pb.Event_ISSUED, "auth/kubernetes/login"), record, 1)
			continue
		}
		t := &tokens[rng.IntN(len(tokens))]
		item := rng.IntN(40)
		switch chance := rng.IntN(100); {
		case chance < 2:
			ev := t.call("permission denied", fmt.Sprintf("read sys/policies/acl/admin-%d", item%12), "sys/", "system")
			ev.Kind, ev.Outcome = pb.Event_DENIED, pb.Outcome_OUTCOME_FAILURE
			say(ev, record, 0)
		case chance < 3:
			ev := t.call("", "update auth/token/renew-self", "auth/token/", "token")
			ev.Kind = pb.Event_NOTED
			say(ev, record, 0)
			renewed := t.told(pb.Event_RENEWED, "auth/token/renew-self")
			renewed.Lifetime.ExpiresAt, renewed.Lifetime.Renewable = timestamppb.New(at.Add(t.ttl)), true
			say(renewed, record, 1)
		case chance < 20:
			say(t.call("", fmt.Sprintf("update secret/data/team-%d/results/item-%d", t.role, item%20), "secret/", "kv"), record, 0)
		default:
			say(t.call("", fmt.Sprintf("read secret/data/team-%d/inputs/item-%d", t.role, item), "secret/", "kv"), record, 0)
		}
	}
	return out
}

type auditToken struct {
	key, principal, address, account, uid string
	role                                  int
	policies                              []string
	issued                                time.Time
	ttl                                   time.Duration
}

func newAuditToken(rng *rand.Rand, n int, at time.Time) auditToken {
	role := rng.IntN(50)
	return auditToken{key: "vault/bench/token/hmac-sha256:" + strings.ReplaceAll(uuid(rng)+uuid(rng), "-", ""),
		principal: "vault/bench/entity/" + uuid(rng), address: fmt.Sprintf("10.%d.%d.7", n%256, role),
		account: fmt.Sprintf("agent-%d", n%100), uid: uuid(rng), role: role, issued: at,
		ttl: [...]time.Duration{2, 8, 48, 1440}[rng.IntN(4)] * time.Hour,
		policies: []string{"agent-baseline", fmt.Sprintf("agent-role-%d-read", role), fmt.Sprintf("agent-role-%d-write", role),
			"default", "observability-metrics-push", "pki-workload-issue"}}
}

func uuid(rng *rand.Rand) string {
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

func (t *auditToken) lifetime() *pb.Lifetime {
	whole := t.issued.Truncate(time.Second)
	return &pb.Lifetime{IssuedAt: timestamppb.New(whole), ExpiresAt: timestamppb.New(whole.Add(t.ttl))}
}

func (t *auditToken) display() string  { return fmt.Sprintf("kubernetes-agents-agent-role-%d", t.role) }
func (t *auditToken) roleName() string { return fmt.Sprintf("agent-role-%d", t.role) }

func (t *auditToken) call(refusal, permission, mount, kind string) *pb.Event {
	action, path, _ := strings.Cut(permission, " ")
	return &pb.Event{Kind: pb.Event_USED, Credential: t.key, Principal: t.principal, Action: action, Permission: permission,
		Resource: path, Error: refusal, Lifetime: t.lifetime(), Policies: t.policies, GrantedBy: t.policies[1:3], RemoteAddress: t.address,
		Labels: map[string]string{"display_name": t.display(), "mount_point": mount, "mount_type": kind, "role_name": t.roleName()}}
}

// told is an issuance or a renewal.
func (t *auditToken) told(kind pb.Event_Kind, path string) *pb.Event {
	ev := &pb.Event{Kind: kind, Credential: t.key, Principal: t.principal, Action: "update", Resource: path,
		Outcome: pb.Outcome_OUTCOME_SUCCESS, Lifetime: t.lifetime(), Policies: t.policies, RemoteAddress: t.address,
		Labels: map[string]string{"display_name": t.display(), "meta.service_account_name": t.account,
			"meta.service_account_namespace": fmt.Sprintf("agents-team-%d", t.role), "meta.service_account_uid": t.uid, "role_name": t.roleName()}}
	if kind == pb.Event_ISSUED {
		ev.Orphan, ev.Labels["mount_point"], ev.Labels["mount_type"] = true, "auth/kubernetes/", "kubernetes"
	}
	return ev
}
