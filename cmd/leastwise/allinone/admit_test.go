package allinone

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestTheConsoleAnswersAtIssuanceFromWhatIsStored(t *testing.T) {
	inForce, client := consoleRules(t)
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicExceptions, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	var facts record.Facts
	facts.Add(&pb.Fact{Fact: &pb.Fact_Grant{Grant: &pb.Grant{Id: "vault/default/policy/payments-read", AsOf: timestamppb.New(time.Now()),
		Rules: []*pb.Rule{{Resource: "secret/data/payments/*", Capabilities: []string{"read", "list"}}}}}})
	if err := facts.Flush(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	a := admissionOf{&Engines{Stream: client, Store: db}, inForce, time.Now}
	ask := func(policy string) *contract.Admission {
		t.Helper()
		out, err := a.Admit(t.Context(), &contract.AdmissionRequest{Agent: "ingest", Type: "token", Source: "vault", Lifetime: "30m", Reason: "r",
			Scope: &contract.AdmissionScope{Vault: &contract.AdmissionVault{Policies: []string{policy}}}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := ask("payments-read"); out.Permissions == nil || *out.Permissions != 2 || *out.Owner != "payments" || !out.ExceptionsAsked || !out.Allowed {
		t.Errorf("%+v", out)
	}
	if out := ask("other"); out.Permissions != nil || !strings.Contains(*out.ScopeWhy, "other not fetched") {
		t.Errorf("%+v", out)
	}
	if _, err := a.Admit(t.Context(), &contract.AdmissionRequest{Agent: "nobody", Type: "token", Source: "vault", Lifetime: "1h", Reason: "r"}); !errors.Is(err, rules.ErrRefused) {
		t.Errorf("an agent that is not there: %v", err)
	}
	if _, err := a.Admit(t.Context(), &contract.AdmissionRequest{Agent: "ingest", Type: "token", Source: "vault", Reason: "r"}); !errors.Is(err, rules.ErrRefused) || !strings.Contains(err.Error(), "no lifetime") {
		t.Errorf("no lifetime: %v", err)
	}
	db.Close()
	if out := ask("payments-read"); out.Permissions != nil || !strings.Contains(*out.ScopeWhy, "ClickHouse did not answer") {
		t.Errorf("without ClickHouse: %+v", out)
	}
}
