package api_test

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// asks lets the broker ask for an exception of a policy on behalf of an agent.
func (b *bench) asks(request, policy string) *pb.Exception {
	b.t.Helper()
	e, err := b.rules.Request(b.t.Context(), &pb.Exception{Identity: "spire/default/spiffe_id/spiffe://example.org/ingest", PolicyId: policy, Until: timestamppb.New(b.now.Add(24 * time.Hour)),
		Issuance: &pb.Issuance{Request: request, Agent: "ingest", Owner: "payments", Type: "token", Policies: []string{"wide"}, Rules: []*pb.Rule{{Resource: "secret/a", Capabilities: []string{"read"}}},
			LifetimeSeconds: 7200, Reason: "the migration", Objections: []string{"lifetime is 2h"}}}, rules.Who{Name: "spiffe://example.org/ingest"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.ledger.Put(e)
	return e
}

func TestWhatAnAgentAsksForIsDecidedAsAWholeByAnApprover(t *testing.T) {
	b := newBench(t)
	for _, policy := range []string{"long-lived", "broad"} {
		b.asks("iss-1", policy)
	}
	b.asks("iss-2", "long-lived")
	approver, viewing := b.as("carl", []string{signin.Approver}), b.as("vic", viewer)
	list := func() map[string]contract.Issuance {
		out := map[string]contract.Issuance{}
		for _, one := range get[contract.List[contract.Issuance]](approver, "/v1/issuance").Items {
			out[one.ID] = one
		}
		return out
	}
	one := list()["iss-1"]
	if one.State != "waiting" || len(one.Objections) != 2 || one.Agent != "ingest" || one.Owner != "payments" || one.AskedBy != "spiffe://example.org/ingest" || one.Seconds != 7200 ||
		one.Reason != "the migration" || len(one.Policies) != 1 || one.Rules[0].Path != "secret/a" || one.Until == nil || !one.MayApprove || !one.MayRefuse || one.Objections[0].Policy != "broad" {
		t.Fatalf("%+v", one)
	}
	if seen := get[contract.List[contract.Issuance]](viewing, "/v1/issuance").Items[0]; seen.MayApprove || seen.MayRefuse || seen.WhyNot == nil {
		t.Errorf("to a viewer: %+v", seen)
	}
	because := map[string]any{"reason": "CHG-7"}
	for name, c := range map[string]struct {
		who  *visitor
		path string
		body map[string]any
		want int
	}{
		"a viewer approves": {viewing, "/v1/issuance/iss-1/approve", because, http.StatusForbidden},
		"a viewer refuses":  {viewing, "/v1/issuance/iss-1/refuse", because, http.StatusForbidden},
		"security approves": {b.as("sam", []string{signin.Security}), "/v1/issuance/iss-1/approve", because, http.StatusForbidden},
		"without a reason":  {approver, "/v1/issuance/iss-1/approve", map[string]any{"reason": "  "}, http.StatusUnprocessableEntity},
		"there is none":     {approver, "/v1/issuance/iss-9/approve", because, http.StatusNotFound},
		"who asked":         {b.as("spiffe://example.org/ingest", []string{signin.Approver}), "/v1/issuance/iss-1/approve", because, http.StatusForbidden},
	} {
		if _, status, body := post[contract.Issuance](c.who, c.path, c.body); status != c.want {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if one := list()["iss-1"]; one.State != "waiting" {
		t.Fatalf("%+v", one)
	}
	approved, status, body := post[contract.Issuance](approver, "/v1/issuance/iss-1/approve", because)
	if status != http.StatusOK || approved.State != "approved" || *approved.DecidedBy != "carl" || *approved.DecidedWhy != "CHG-7" || approved.MayApprove || !approved.MayRefuse {
		t.Fatalf("%d %s", status, body)
	}
	refused, status, body := post[contract.Issuance](b.as("sam", []string{signin.Security}), "/v1/issuance/iss-2/refuse", because)
	if status != http.StatusOK || refused.State != "refused" || *refused.DecidedBy != "sam" || refused.MayRefuse {
		t.Fatalf("%d %s", status, body)
	}
	for _, e := range b.rules.ofRequest("iss-1") {
		e.Issuance.IssuedAt, e.Issuance.EndsAt, e.Issuance.Accessor = timestamppb.New(b.now), timestamppb.New(b.now.Add(2*time.Hour)), "acc"
		b.ledger.Put(e)
	}
	if one := list()["iss-1"]; one.State != "issued" || !one.EndsAt.Equal(b.now.Add(2*time.Hour)) || *one.Accessor != "acc" || one.MayRefuse {
		t.Errorf("%+v", one)
	}
	b.asks("iss-3", "long-lived")
	b.now = b.now.Add(25 * time.Hour)
	approver = b.as("carl", []string{signin.Approver}) // the session has ended
	if one := list()["iss-3"]; one.State != "ended" || one.MayApprove {
		t.Errorf("nobody decided in time: %+v", one)
	}
	if n := len(get[contract.List[contract.Issuance]](approver, "/v1/issuance?state=issued").Items); n != 1 {
		t.Errorf("%d are issued", n)
	}
}
