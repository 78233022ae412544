package processor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const agents = `owners: [{id: payments}, {id: sre}]
systems: [{id: registry}]
agents:
  - id: ingest
    owner: payments
    system: registry
    match: [{spiffe_id: spiffe://example.org/in}]
`

func loadAgents(t *testing.T, text string) *catalog.Catalog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// startWith runs a processor whose catalog may change.
func (b *bench) startWith(cat *atomic.Pointer[catalog.Catalog]) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := New(Config{Flush: 20 * time.Millisecond, Checkpoint: 60 * time.Millisecond, RememberedIDs: 2000,
		Clusters: map[string]string{"vault/default/auth/k8s": "prod", "spire/example.org": "prod"}},
		Deps{Env: daemon.NewEnv("processor", slog.New(slog.NewTextHandler(b.t.Output(), nil))), Stream: b.stream, Store: b.store,
			Rules: func() *rego.Set { return b.rules }, Catalog: cat.Load})
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func said(source, record string, kind pb.Event_Kind, credential, principal string, minutes int, labels map[string]string) *pb.Event {
	id := schemas.EventID(source, "default", record, 0)
	at := timestamppb.New(time.Now().Add(time.Duration(minutes-60) * time.Minute))
	return &pb.Event{Id: id[:], Kind: kind, Credential: credential, Principal: principal, Source: source, Instance: "default",
		OccurredAt: at, ObservedAt: at, RecordId: record, Labels: labels}
}

func TestLinksMadeOfEventsLeadToTheOwnerAndSurviveARestart(t *testing.T) {
	b := newBench(t)
	var cat atomic.Pointer[catalog.Catalog]
	cat.Store(loadAgents(t, agents))
	stop := b.startWith(&cat)
	const token, entity = "vault/default/token/hmac-sha256:7d", "vault/default/entity/e-1"
	entry := said("spire", "entry", pb.Event_USED, "", "", 2, map[string]string{"selectors": "k8s:ns:pay,k8s:sa:in"})
	entry.Resource = "spiffe://example.org/in"
	b.publish(
		said("vault", "login", pb.Event_ISSUED, token, entity, 1, map[string]string{"mount_type": "kubernetes", "mount_point": "auth/k8s/",
			"meta.service_account_namespace": "pay", "meta.service_account_name": "in"}),
		entry,
	)
	owned := "SELECT count() FROM v_credentials WHERE credential = '" + token + "' AND owner = 'payments' AND agent = 'ingest' AND system_of_record = 'registry'"
	b.until(owned, 1)
	b.until("SELECT count() FROM v_identities WHERE status = 'owned' AND owners = ['catalog/default/owner/payments'] AND has(names, '"+entity+"')", 1)
	stop()

	// The next processor knows the links from the topic alone: the events are not read again.
	stop = b.startWith(&cat)
	b.publish(said("vault", "second", pb.Event_ISSUED, "vault/default/token/hmac-sha256:7e", entity, 3, nil))
	b.until("SELECT count() FROM v_credentials WHERE owner = 'payments'", 2)

	var page bytes.Buffer
	graph, subject, err := record.Who(t.Context(), b.store, "hmac-sha256:7d")
	if err != nil {
		t.Fatal(err)
	}
	if err := graph.Describe(&page, subject); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{token, "owner             payments", "system of record  registry", "vault default record login",
		"the cluster of auth/k8s vouched", "SPIRE gives spiffe://example.org/in", "catalog.yaml:7", "FINDINGS: none"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("who does not tell %q:\n%s", want, page.String())
		}
	}
	if _, _, err := record.Who(t.Context(), b.store, "nobody-at-all"); !errors.Is(err, record.ErrNobody) {
		t.Errorf("a name that nobody has: %v", err)
	}
	before := time.Now()

	// The catalog gives the agent away, and another agent claims the same name.
	cat.Store(loadAgents(t, strings.Replace(agents, "owner: payments", "owner: sre", 1)))
	b.until("SELECT count() FROM v_credentials WHERE owner = 'sre'", 2)
	cat.Store(loadAgents(t, agents+"  - {id: twin, owner: sre, match: [{vault_entity: e-1}]}\n"))
	b.until("SELECT count() FROM v_credentials WHERE owner = '' AND position(owner_evidence, 'claimed by') = 1 OR position(owner_evidence, 'two owners') > 0", 2)
	b.until("SELECT count() FROM v_identity_conflicts WHERE kind = 'two_owners' AND length(claims) = 2 AND length(evidence) >= 4", 1)
	cat.Store(loadAgents(t, agents))
	b.until("SELECT count() FROM v_identity_conflicts", 0)
	b.until("SELECT count() FROM v_credentials WHERE owner = 'payments'", 2)
	stop()

	graph, subject, err = record.Who(t.Context(), b.store, "spiffe://example.org/in")
	if err != nil {
		t.Fatal(err)
	}
	for _, asOf := range []int64{0, before.UnixNano()} {
		subject.AsOf = asOf
		if r := graph.Resolve(subject.Query); len(r.Owners) != 1 || r.Owners[0] != "catalog/default/owner/payments" {
			t.Errorf("as of %d: %v", asOf, r.Owners)
		}
	}
	if n := b.number("SELECT count() FROM v_link_history WHERE retracted AND kind = 'OWNED_BY'"); n < 2 {
		t.Errorf("history has %d owners taken back", n)
	}
}
