package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/api"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/ledger"
	"github.com/leastwise/leastwise/console/live"
	"github.com/leastwise/leastwise/console/read"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

// topics is a Kafka of one process: what is published is followed at once.
type topics struct {
	mu    sync.Mutex
	all   []stream.Message
	woken chan struct{}
	away  error
}

func newTopics() *topics { return &topics{woken: make(chan struct{})} }

func (k *topics) Publish(_ context.Context, msgs ...stream.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away != nil {
		return k.away
	}
	k.all = append(k.all, msgs...)
	close(k.woken)
	k.woken = make(chan struct{})
	return nil
}

func (k *topics) Ping(context.Context) error { return k.away }

func (k *topics) Follow(ctx context.Context, topic string, caughtUp func(), fn func(stream.Message) error) error {
	for at, told := 0, false; ; {
		k.mu.Lock()
		fresh, woken := k.all[at:], k.woken
		k.mu.Unlock()
		for _, m := range fresh {
			if at++; m.Topic == topic {
				if err := fn(m); err != nil {
					return err
				}
			}
		}
		if !told {
			told = true
			caughtUp()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		}
	}
}

// bench is an API with all that it stands on, behind its guard.
type bench struct {
	t        *testing.T
	db       *store.DB
	fleet    *fleet.Fleet
	read     *read.Reader
	log      *topics
	rules    *ruling
	ledger   *ledger.Ledger
	answers  *answering
	sessions *signin.Sessions
	server   *httptest.Server
	now      time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, db: storetest.New(t), log: newTopics(), answers: &answering{}, now: time.Now().UTC().Truncate(time.Second)}
	if err := b.db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return b.now }
	b.rules = &ruling{log: b.log, now: clock, set: rules.Settings{Mode: "observe", Limit: 20}}
	hub := live.New()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	b.fleet = fleet.New(fleet.Options{Store: b.db, Log: logger, Now: clock, Changed: hub.Changed})
	b.read = read.New(b.db, b.rules, clock)
	known := ledger.New(b.log, b.rules, b.rules, logger, hub.Changed)
	b.ledger = known
	b.sessions = signin.NewSessions(time.Hour, 10_000, clock)
	guard := signin.NewGuard(signin.Guard{Sessions: b.sessions, Loopback: true, Hosts: func() []string { return []string{strings.TrimPrefix(b.server.URL, "http://")} }})
	b.server = httptest.NewServer(guard.Wrap(api.New(api.Deps{Fleet: b.fleet, Read: b.read, Ledger: known, Policies: b.rules, Exceptions: b.rules,
		Questions: b.answers, Names: b.rules, Hub: hub, Guard: guard, Log: logger, Now: clock, Version: "test"})))
	t.Cleanup(b.server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- known.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); known.Problem() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(known.Problem())
		}
	}
	return b
}

// row is a credential to be written; zero values take the defaults of an ordinary one.
type row struct {
	key, agent, owner, principal, parent string
	issued, expires                      time.Duration // from now; 0 of expires: never
	revoked                              bool
	weight                               float64 // 0: scope unknown
	attempts, uses                       uint64
	labels                               map[string]string
	policies                             []string
	offset                               int64
	blob                                 *pb.CredentialState
}

func (b *bench) write(rows ...row) {
	b.t.Helper()
	insert, err := b.db.PrepareBatch(b.t.Context(), `INSERT INTO credentials (credential, type, source, instance, principal, agent, owner, issued_at, expires_at,
		never_expires, revoked_at, last_used_at, parent, scope_known, scope_permissions, scope_weight, uses, uses_24h, denied_permissions, labels, policies, blob,
		kafka_partition, applied_offset, written_at)`)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, r := range rows {
		key, err := schemas.ParseKey(r.key)
		if err != nil {
			b.t.Fatal(err)
		}
		issued := b.now.Add(r.issued)
		var expires, revoked *time.Time
		if r.expires != 0 {
			at := b.now.Add(r.expires)
			expires = &at
		}
		if r.revoked {
			revoked = &b.now
		}
		var weight *float64
		var permissions *uint64
		if r.weight != 0 {
			n := uint64(r.weight)
			weight, permissions = &r.weight, &n
		}
		if r.blob == nil {
			r.blob = &pb.CredentialState{Key: r.key}
		}
		blob, err := r.blob.MarshalVT()
		if err != nil {
			b.t.Fatal(err)
		}
		used := b.now.Add(-time.Minute)
		if err := insert.Append(r.key, key.Type, key.System, key.Instance, r.principal, r.agent, r.owner, issued, expires, r.expires == 0, revoked, used, r.parent,
			r.weight != 0, permissions, weight, r.uses, r.uses, r.attempts, r.labels, r.policies, string(blob), uint32(0), r.offset, b.now.Add(time.Duration(i))); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := insert.Send(); err != nil {
		b.t.Fatal(err)
	}
}

// exec writes one row.
func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	columns, _, _ := strings.Cut(query, " VALUES")
	insert, err := b.db.PrepareBatch(b.t.Context(), columns)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := insert.Append(args...); err != nil {
		b.t.Fatal(err)
	}
	if err := insert.Send(); err != nil {
		b.t.Fatal(err)
	}
}

// record writes a record as the recorder does, without its chain.
func (b *bench) record(topic, key string, offset int64, m interface{ MarshalVT() ([]byte, error) }) {
	b.t.Helper()
	raw, err := m.MarshalVT()
	if err != nil {
		b.t.Fatal(err)
	}
	zero := string(make([]byte, 32))
	b.exec("INSERT INTO audit_log (topic, kafka_partition, kafka_offset, key, value, at, previous_hash, hash, written_at) VALUES", topic, uint32(0), offset, key, string(raw), b.now, zero, zero, b.now)
}

// violate lets a credential stand past long-lived.
func (b *bench) violate(key string, offset int64, deviation float64) *pb.Decision {
	d := &pb.Decision{Credential: key, DecidedAt: timestamppb.New(b.now), InputRevision: fmt.Sprint(offset),
		Ladder:     &pb.Ladder{Mode: pb.Ladder_ENFORCE, Revoke: true},
		Violations: []*pb.Violation{{PolicyId: "long-lived", Metric: "lifetime", Value: "90d", Threshold: "1h", Condition: "greater_than", Severity: "high", Deviation: deviation}}}
	b.record(schemas.TopicDecisions, key, offset, d)
	return d
}

// see lets the fleet read what was written.
func (b *bench) see() {
	b.t.Helper()
	if err := b.fleet.Read(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// visitor is somebody signed in.
type visitor struct {
	b      *bench
	cookie string
	csrf   string
}

func (b *bench) as(name string, roles []string, owners ...string) *visitor {
	token, session := b.sessions.Start(signin.Person{Name: name, Roles: roles, Owners: owners, By: signin.ByLink})
	return &visitor{b, token, session.CSRF}
}

func (v *visitor) do(method, path string, body any, head map[string]string) (int, http.Header, []byte) {
	v.b.t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			v.b.t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(v.b.t.Context(), method, v.b.server.URL+path, in)
	if err != nil {
		v.b.t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "leastwise", Value: v.cookie})
	r.Header.Set("X-CSRF-Token", v.csrf)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range head {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		v.b.t.Fatal(err)
	}
	defer response.Body.Close()
	out, err := io.ReadAll(response.Body)
	if err != nil {
		v.b.t.Fatal(err)
	}
	return response.StatusCode, response.Header, out
}

func get[T any](v *visitor, path string) T {
	v.b.t.Helper()
	var out T
	status, _, body := v.do(http.MethodGet, path, nil, nil)
	if status != http.StatusOK {
		v.b.t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		v.b.t.Fatalf("%s: %v: %s", path, err, body)
	}
	return out
}

func post[T any](v *visitor, path string, in any) (T, int, string) {
	v.b.t.Helper()
	var out T
	status, _, body := v.do(http.MethodPost, path, in, nil)
	if status == http.StatusOK {
		if err := json.Unmarshal(body, &out); err != nil {
			v.b.t.Fatalf("%s: %v: %s", path, err, body)
		}
	}
	return out, status, string(body)
}
