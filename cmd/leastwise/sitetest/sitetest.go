// Package sitetest is a small site in an embedded ClickHouse, for tests of commands that answer from what is stored.
package sitetest

import (
	"fmt"
	"os"
	"path/filepath"
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

// Start is when the site's history begins.
var Start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// Vault is one in which a builder may log in as the deployment role, which reads production secrets.
func Vault(t testing.TB) (*store.DB, *catalog.Catalog) {
	db := storetest.New(t)
	ctx := t.Context()
	if err := db.Migrate(ctx, migrations.FS); err != nil {
		t.Fatal(err)
	}
	grants := []*pb.Grant{
		{Id: "vault/default/policy/build", AsOf: timestamppb.New(Start), Rules: []*pb.Rule{
			{Resource: "auth/approle/role/deploy/role-id", Capabilities: []string{"read"}},
			{Resource: "auth/approle/role/deploy/secret-id", Capabilities: []string{"update"}},
			{Resource: "secret/data/build/*", Capabilities: []string{"read", "update"}}}},
		{Id: "vault/default/policy/deploy", AsOf: timestamppb.New(Start), Rules: []*pb.Rule{{Resource: "secret/data/prod/*", Capabilities: []string{"read"}}}},
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
		used("builder", "secret/data/build/x", 1), used("builder", "secret/data/build/x", 3), used("deployer", "secret/data/prod/db", 2),
	} {
		id := schemas.EventID("vault", "default", ev.RecordId, 0)
		ev.Id = id[:]
		c.Apply(ev, int64(i), true)
		rows.Append(ev, int64(i))
	}
	if err := rows.Insert(ctx, db, 0, Start); err != nil {
		t.Fatal(err)
	}
	now := Start.Add(time.Hour).UnixNano()
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
		Source: "vault", Instance: "default", RecordId: "issue " + token, Action: "login", OccurredAt: timestamppb.New(Start), ObservedAt: timestamppb.New(Start),
		Lifetime: &pb.Lifetime{IssuedAt: timestamppb.New(Start), ExpiresAt: timestamppb.New(Start.Add(48 * time.Hour))},
		Policies: []string{policy}, Labels: map[string]string{"role_name": role, "mount_point": "auth/approle/", "mount_type": "approle"}}
}

func used(token, path string, minute int) *pb.Event {
	at := timestamppb.New(Start.Add(time.Duration(minute) * time.Minute))
	return &pb.Event{Kind: pb.Event_USED, Credential: "vault/default/token/" + token, Principal: "vault/default/entity/" + token,
		Source: "vault", Instance: "default", RecordId: fmt.Sprintf("use %s %d", path, minute), Action: "read", Permission: "read " + path, Resource: path,
		Outcome: pb.Outcome_OUTCOME_SUCCESS, OccurredAt: at, ObservedAt: at}
}

// Use adds one allowed read of a token's.
func Use(t testing.TB, db *store.DB, token, path string, at time.Time) {
	t.Helper()
	ev := used(token, path, 0)
	ev.OccurredAt, ev.RecordId = timestamppb.New(at), at.String()
	id := schemas.EventID("vault", "default", ev.RecordId, 0)
	ev.Id = id[:]
	var rows record.Events
	rows.Append(ev, 1000)
	if err := rows.Insert(t.Context(), db, 0, at); err != nil {
		t.Fatal(err)
	}
}
