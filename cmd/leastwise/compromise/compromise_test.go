package compromise

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// site is a Vault in which a builder may log in as the deployment role, which reads production secrets.
func site(t *testing.T) (*store.DB, *catalog.Catalog) {
	db := storetest.New(t)
	ctx := t.Context()
	if err := db.Migrate(ctx, migrations.FS); err != nil {
		t.Fatal(err)
	}
	grants := []*pb.Grant{
		{Id: "vault/default/policy/build", AsOf: timestamppb.New(start), Rules: []*pb.Rule{
			{Resource: "auth/approle/role/deploy/role-id", Capabilities: []string{"read"}},
			{Resource: "auth/approle/role/deploy/secret-id", Capabilities: []string{"update"}},
			{Resource: "secret/data/build/*", Capabilities: []string{"read"}}}},
		{Id: "vault/default/policy/deploy", AsOf: timestamppb.New(start), Rules: []*pb.Rule{{Resource: "secret/data/prod/*", Capabilities: []string{"read"}}}},
	}
	var facts record.Facts
	registry := scope.NewGrants()
	for _, g := range grants {
		registry.Put(g)
		facts.Add(&pb.Fact{Fact: &pb.Fact_Grant{Grant: g}})
	}
	if err := facts.Flush(ctx, db); err != nil {
		t.Fatal(err)
	}
	c := core.New(core.Options{Grants: registry, Observation: 30 * 24 * time.Hour})
	var rows record.Events
	for i, ev := range []*pb.Event{
		issued("builder", "build", "build"), issued("deployer", "deploy", "deploy"),
		used("builder", "secret/data/build/x", 1), used("deployer", "secret/data/prod/db", 2),
	} {
		id := schemas.EventID("vault", "default", ev.RecordId, 0)
		ev.Id = id[:]
		c.Apply(ev, int64(i), true)
		rows.Append(ev, int64(i))
	}
	if err := rows.Insert(ctx, db, 0, start); err != nil {
		t.Fatal(err)
	}
	now := start.Add(time.Hour).UnixNano()
	if err := c.Settle(ctx, now); err != nil {
		t.Fatal(err)
	}
	if err := record.Credentials(ctx, db, 0, c.Dirty(), now); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(file, []byte("sensitive:\n  - {id: prod, name: \"Production secrets\", system: vault, resource: \"secret/data/prod/*\", permissions: read}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return db, cat
}

func issued(token, role, policy string) *pb.Event {
	return &pb.Event{Kind: pb.Event_ISSUED, Credential: "vault/default/token/" + token, Principal: "vault/default/entity/" + token,
		Source: "vault", Instance: "default", RecordId: "issue " + token, Action: "login", OccurredAt: timestamppb.New(start), ObservedAt: timestamppb.New(start),
		Lifetime: &pb.Lifetime{IssuedAt: timestamppb.New(start), ExpiresAt: timestamppb.New(start.Add(48 * time.Hour))},
		Policies: []string{policy}, Labels: map[string]string{"role_name": role, "mount_point": "auth/approle/", "mount_type": "approle"}}
}

func used(token, path string, minute int) *pb.Event {
	at := timestamppb.New(start.Add(time.Duration(minute) * time.Minute))
	return &pb.Event{Kind: pb.Event_USED, Credential: "vault/default/token/" + token, Principal: "vault/default/entity/" + token,
		Source: "vault", Instance: "default", RecordId: "use " + path, Action: "read", Permission: "read " + path, Resource: path,
		Outcome: pb.Outcome_OUTCOME_SUCCESS, OccurredAt: at, ObservedAt: at}
}

func ask(t *testing.T, db *store.DB, cat *catalog.Catalog, name, after string) (*Report, string) {
	t.Helper()
	r, err := Ask(context.WithoutCancel(t.Context()), db, cat, Question{Name: name, At: start.Add(time.Hour), After: after})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	return r, text.String()
}

func TestALeakedCredentialIsFollowedToWhatIsSensitive(t *testing.T) {
	db, cat := site(t)
	r, text := ask(t, db, cat, "token/builder", "rightsize")
	before, after := r.Leaks[0].Before, r.Leaks[0].After
	if len(before.Paths) == 0 || before.Paths[0].To.Key != "sensitive/prod" || len(before.Paths[0].Steps) != 2 {
		t.Fatalf("%+v", before)
	}
	if n := after.Count()["sensitive"] + after.Count()["principals"]; n != 0 {
		t.Errorf("narrowed to what was used it reaches %+v", after.Paths)
	}
	if h := r.Leaks[0].Hours; h == nil || *h != 47 {
		t.Errorf("hours %v", h)
	}
	for _, want := range []string{"works      until 2026-11-22 12:00 UTC, 47.0 hours", "1. it can make itself a secret id of auth/approle/role/deploy and log in",
		"2. it can read secret/data/prod/*", "narrowed to what was used", "its newest token has these policies: vault/default/token/deployer"} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
}

func TestWhatTheLogProvesIsToldWithItsRecord(t *testing.T) {
	db, cat := site(t)
	r, _ := ask(t, db, cat, "entity/deployer", "revoke")
	path := r.Leaks[0].Before.Paths[0]
	if path.Certainty.String() != "proven" || !strings.Contains(path.Steps[0].Evidence, "use secret/data/prod/db") {
		t.Errorf("%+v", path)
	}
	if r.Leaks[0].Credential != "vault/default/token/deployer" || len(r.Leaks[0].After.Paths) != 0 || *r.Leaks[0].AfterHours != 0 {
		t.Errorf("%+v", r.Leaks[0])
	}
}

func TestNobodyKnownIsAnError(t *testing.T) {
	db, cat := site(t)
	if _, err := Ask(t.Context(), db, cat, Question{Name: "no such thing", At: start}); err == nil || !strings.Contains(err.Error(), ErrNobody.Error()) {
		t.Errorf("%v", err)
	}
}
