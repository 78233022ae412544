package processor

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const matters = `sensitive: [{id: prod, name: "Production secrets", system: vault, resource: "secret/data/prod/*", permissions: read}]
`

// reaching runs a processor that looks all the time what leaks lead to.
func (b *bench) reaching(cat *catalog.Catalog) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := New(Config{Flush: 20 * time.Millisecond, Checkpoint: 60 * time.Millisecond, RememberedIDs: 2000},
		Deps{Env: daemon.NewEnv("processor", slog.New(slog.NewTextHandler(b.t.Output(), nil))), Stream: b.stream, Store: b.store,
			Rules: func() *rego.Set { return b.rules }, Catalog: func() *catalog.Catalog { return cat }})
	if err != nil {
		b.t.Fatal(err)
	}
	p.reachEvery, p.reachRest = 20*time.Millisecond, 0
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) grant(policy, resource string, capabilities ...string) {
	b.t.Helper()
	grant := &pb.Grant{Id: "vault/default/policy/" + policy, AsOf: timestamppb.Now(), Rules: []*pb.Rule{{Resource: resource, Capabilities: capabilities}}}
	value, err := (&pb.Fact{Fact: &pb.Fact_Grant{Grant: grant}}).MarshalVT()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.stream.Publish(b.t.Context(), stream.Message{Topic: schemas.TopicIdentity, Key: []byte(grant.Id), Value: value}); err != nil {
		b.t.Fatal(err)
	}
}

func TestWhatLeaksLeadToStandsInTheTablesAndFollowsWhatIsGranted(t *testing.T) {
	b := newBench(t)
	cat := loadAgents(t, matters)
	issued := func(id, policy string, expires time.Time) *pb.Event {
		ev := said("vault", id, pb.Event_ISSUED, "vault/default/token/"+id, "vault/default/entity/e", 0, map[string]string{"display_name": id})
		ev.Policies, ev.Lifetime = []string{policy}, &pb.Lifetime{ExpiresAt: timestamppb.New(expires)}
		return ev
	}
	later := time.Now().Add(time.Hour)
	b.grant("build", "secret/data/build/*", "read")
	b.grant("root", "*", "read", "update", "sudo")
	stop := b.reaching(cat)
	b.publish(issued("one", "build", later), issued("two", "build", later), issued("over", "build", time.Now().Add(-time.Minute)), issued("root", "root", later))
	b.until("SELECT count() FROM v_exposure WHERE answered", 3)
	b.until("SELECT count() FROM reach FINAL", 2) // two tokens that may do the same are one start
	b.until("SELECT count() FROM v_reach WHERE kind = 'sensitive' AND credential = 'vault/default/token/root' AND place = 'sensitive/prod' AND length = 1 AND certainty = 'allowed' AND steps = ['read secret/data/prod/*']", 1)
	b.until("SELECT count() FROM v_exposure WHERE sensitive = 0 AND credential != 'vault/default/token/root'", 2)
	stop()

	const newest = "SELECT toUInt64(toUnixTimestamp64Nano(max(written_at))) FROM reach"
	written := b.number(newest)
	runs := b.number("SELECT count() FROM reach_runs")
	stop = b.reaching(cat)
	b.until(fmt.Sprintf("SELECT toUInt64(count() > %d) FROM reach_runs WHERE waiting = 0", runs), 1)
	if b.number(newest) != written {
		t.Error("rows were written after a restart at which nothing was news")
	}
	b.grant("build", "secret/data/prod/db", "read")
	b.until("SELECT count() FROM v_exposure WHERE sensitive = 1", 3)
	b.until("SELECT count() FROM v_reach WHERE kind = 'sensitive' AND source = 'vault' AND as_of > since - INTERVAL 1 SECOND", 3)
	b.grant("build", "secret/data/build/*", "read")
	b.until("SELECT count() FROM v_exposure WHERE sensitive = 0", 2)
	stop()
	if n := b.number("SELECT count() FROM reach FINAL"); n != 2 {
		t.Errorf("%d starts", n)
	}
}
