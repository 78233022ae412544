package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
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

// ruling stands for the enforcer's rules and the policies: as few of them as the API's own behaviour needs.
type ruling struct {
	log *topics
	now func() time.Time

	mu  sync.Mutex
	set rules.Settings
	// metrics of the one policy, where a test wants others than its own.
	metrics []rules.Metric
	acts    []*pb.Control
}

func (r *ruling) Apply(m stream.Message) error {
	c := &pb.Control{}
	if err := c.UnmarshalVT(m.Value); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch c.Setting {
	case pb.Control_MODE:
		r.set.Mode = c.Value
	case pb.Control_KILL_SWITCH:
		r.set.Killed, r.set.By, r.set.Why, r.set.At = c.Value == "on", c.SetBy, c.Reason, c.SetAt.AsTime()
	}
	r.acts = append(r.acts, c)
	return nil
}

func (r *ruling) ApproveAct(ctx context.Context, ladder, act string, who rules.Who, reason string) error {
	return r.put(ctx, "approve/"+ladder+"/"+act+"/"+who.Name, &pb.Control{Setting: pb.Control_APPROVE, Value: ladder, Act: act, SetBy: who.Name, Reason: reason})
}

// written are the records of a setting on a ladder, each person's and act's newest.
func (r *ruling) written(setting pb.Control_Setting, ladder string) map[string]*pb.Control {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]*pb.Control{}
	for _, c := range r.acts {
		if c.Setting == setting && c.Value == ladder {
			out[c.Act+" "+c.SetBy] = c
		}
	}
	return out
}

func (r *ruling) Approvals(ladder, act string) (list []rules.Approval) {
	for _, c := range r.written(pb.Control_APPROVE, ladder) {
		if c.Act == act {
			list = append(list, rules.Approval{By: c.SetBy, At: c.SetAt.AsTime()})
		}
	}
	slices.SortFunc(list, func(a, b rules.Approval) int { return strings.Compare(a.By, b.By) })
	return list
}

func (r *ruling) Resume(ctx context.Context, who rules.Who, reason string) error {
	return r.put(ctx, "resume", &pb.Control{Setting: pb.Control_RESUME, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Restore(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return r.put(ctx, "restore/"+ladder, &pb.Control{Setting: pb.Control_RESTORE, Value: ladder, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Restoring(ladder string) *rules.Wish {
	for _, c := range r.written(pb.Control_RESTORE, ladder) {
		return &rules.Wish{By: c.SetBy, Reason: c.Reason, At: c.SetAt.AsTime()}
	}
	return nil
}

func (r *ruling) RollBack(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return r.put(ctx, "rollback/"+ladder, &pb.Control{Setting: pb.Control_ROLLBACK, Value: ladder, SetBy: who.Name, Reason: reason})
}

func (r *ruling) RollingBack(ladder string) bool {
	return len(r.written(pb.Control_ROLLBACK, ladder)) > 0
}

func (r *ruling) Now() rules.Settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

func (r *ruling) put(ctx context.Context, key string, c *pb.Control) error {
	c.SetAt = timestamppb.New(r.now())
	raw, err := c.MarshalVT()
	if err != nil {
		return err
	}
	m := stream.Message{Topic: schemas.TopicControl, Key: []byte(key), Value: raw}
	return errors.Join(r.log.Publish(ctx, m), r.Apply(m))
}

func (r *ruling) Kill(ctx context.Context, on bool, who rules.Who, reason string) error {
	return r.put(ctx, "kill_switch", &pb.Control{Setting: pb.Control_KILL_SWITCH, Value: map[bool]string{true: "on", false: "off"}[on], SetBy: who.Name, Reason: reason})
}

func (r *ruling) SetMode(ctx context.Context, mode string, who rules.Who, reason string) error {
	return r.put(ctx, "mode", &pb.Control{Setting: pb.Control_MODE, Value: mode, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Decode(m stream.Message) (*pb.Exception, error) {
	e := &pb.Exception{}
	return e, e.UnmarshalVT(m.Value)
}

func (r *ruling) write(ctx context.Context, e *pb.Exception) (*pb.Exception, error) {
	raw, err := e.MarshalVT()
	if err != nil {
		return nil, err
	}
	return e, r.log.Publish(ctx, stream.Message{Topic: schemas.TopicExceptions, Key: []byte(e.Id), Value: raw})
}

func (r *ruling) find(id string) (*pb.Exception, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	var found *pb.Exception
	for _, m := range r.log.all {
		if m.Topic == schemas.TopicExceptions && string(m.Key) == id {
			found = &pb.Exception{}
			if err := found.UnmarshalVT(m.Value); err != nil {
				return nil, err
			}
		}
	}
	if found == nil {
		return nil, rules.ErrNotFound
	}
	return found, nil
}

func (r *ruling) Request(ctx context.Context, e *pb.Exception, who rules.Who) (*pb.Exception, error) {
	if !e.Until.AsTime().After(r.now()) {
		return nil, fmt.Errorf("%w: until is not in the future", rules.ErrRefused)
	}
	r.log.mu.Lock()
	e.Id = fmt.Sprintf("ex-%d", len(r.log.all))
	r.log.mu.Unlock()
	e.RequestedBy, e.RequestedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) Approve(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	e, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if why := r.MayApprove(e, who); why != "" {
		return nil, fmt.Errorf("%w: %s", rules.ErrForbidden, why)
	}
	e.ApprovedBy, e.ApprovedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) Revoke(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	e, err := r.find(id)
	if err != nil {
		return nil, err
	}
	e.RevokedBy, e.RevokedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) ofRequest(request string) (out []*pb.Exception) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	byID := map[string]*pb.Exception{}
	for _, m := range r.log.all {
		if e, err := r.Decode(m); m.Topic == schemas.TopicExceptions && err == nil && e.GetIssuance().GetRequest() == request {
			byID[e.Id] = e
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out
}

func (r *ruling) ApproveIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	all := r.ofRequest(request)
	if len(all) == 0 {
		return nil, rules.ErrNotFound
	}
	for _, e := range all {
		if why := r.MayApprove(e, who); why != "" {
			return nil, fmt.Errorf("%w: %s", rules.ErrForbidden, why)
		}
		e.ApprovedBy, e.ApprovedAt, e.ApprovedWhy = who.Name, timestamppb.New(r.now()), why
		if _, err := r.write(ctx, e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *ruling) RefuseIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	all := r.ofRequest(request)
	if len(all) == 0 {
		return nil, rules.ErrNotFound
	}
	for _, e := range all {
		e.RevokedBy, e.RevokedAt, e.RevokedWhy = who.Name, timestamppb.New(r.now()), why
		if _, err := r.write(ctx, e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *ruling) MayApprove(e *pb.Exception, who rules.Who) string {
	if e.RequestedBy == who.Name {
		return "You asked for it."
	}
	return ""
}

func (r *ruling) Valid(e *pb.Exception, now time.Time) bool {
	return e.ApprovedAt.IsValid() && e.RevokedAt == nil && e.Until.AsTime().After(now)
}

func (r *ruling) Rego() []rules.Text {
	return []rules.Text{{File: "decision.rego", Source: "package leastwise"}}
}

func (r *ruling) All() ([]rules.Policy, string) {
	if r.metrics != nil {
		return []rules.Policy{{ID: "long-lived", Title: "Lives too long", Severity: "high", Mode: "enforce", MatchAll: true, Metrics: r.metrics, Line: 3}}, "r2"
	}
	return []rules.Policy{{ID: "long-lived", Title: "Lives too long", Severity: "high", Mode: "enforce",
		Metrics: []rules.Metric{{Name: "lifetime", Source: "any", Condition: "greater_than", Text: "1h", Unit: "seconds", Value: 3600}}}}, "r1"
}

func (r *ruling) Applying(rules.Subject) []string { return []string{"long-lived"} }

func (r *ruling) Parse(_, text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return d.Seconds(), err
}

func (r *ruling) Expected(agent string) float64 {
	if agent == "busy" {
		return 2
	}
	return 0
}

func (r *ruling) Node(key string) string { return key }

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
