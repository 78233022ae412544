package exception

import (
	"errors"
	"testing"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestAnAgentsRequestIsDecidedAsAWhole(t *testing.T) {
	c := log(t)
	want := func(request, policy string) {
		t.Helper()
		e := ask()
		e.PolicyId, e.RequestedBy, e.Issuance = policy, "spiffe://example.org/a", &pb.Issuance{Request: request}
		if _, err := Request(t.Context(), c, e, Limits{}, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, policy := range []string{"long", "broad"} {
		want("iss-1", policy)
	}
	want("iss-2", "long")
	valid := func() (n int) {
		t.Helper()
		list, err := List(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if Valid(e, now) {
				n++
			}
		}
		return n
	}
	none := func(string) (Limits, error) { return Limits{}, nil }
	onlyCarol := func(policy string) (Limits, error) {
		if policy == "long" {
			return Limits{Approvers: []string{"carol"}}, nil
		}
		return Limits{}, nil
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-1", "spiffe://example.org/A ", "x", none, now); !errors.Is(err, ErrSelfApproval) {
		t.Errorf("who asked approves: %v", err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-1", "bob", " ", none, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a reason: %v", err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-1", "bob", "x", onlyCarol, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("one of its policies has other approvers: %v", err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-9", "bob", "x", none, now); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "", "bob", "x", none, now); !errors.Is(err, ErrNotFound) {
		t.Errorf("no request: %v", err)
	}
	if n := valid(); n != 0 {
		t.Fatalf("%d are approved by what was refused", n)
	}
	all, err := ApproveIssuance(t.Context(), c, "iss-1", "carol", "CHG-7", onlyCarol, now)
	if err != nil || len(all) != 2 || valid() != 2 || all[0].ApprovedWhy != "CHG-7" {
		t.Fatalf("%v, %v", all, err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-1", "dan", "again", none, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("approved twice: %v", err)
	}
	ends := now.Add(time.Hour)
	if err := Issued(t.Context(), c, "iss-1", "acc", ends, now); err != nil {
		t.Fatal(err)
	}
	if list, err := List(t.Context(), c); err != nil || valid() != 2 || !list[0].Issuance.EndsAt.AsTime().Equal(ends) && !list[1].Issuance.EndsAt.AsTime().Equal(ends) {
		t.Errorf("%v, %v", list, err)
	}
	if all, err = RefuseIssuance(t.Context(), c, "iss-1", "sam", "it leaked", now.Add(time.Minute)); err != nil || valid() != 0 || all[1].RevokedWhy != "it leaked" || all[1].Issuance.Accessor != "acc" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-1", "carol", "after all", none, now); !errors.Is(err, ErrOver) {
		t.Errorf("approved after its refusal: %v", err)
	}
	if _, err := ApproveIssuance(t.Context(), c, "iss-2", "carol", "late", none, now.Add(25*time.Hour)); !errors.Is(err, ErrOver) {
		t.Errorf("approved too late: %v", err)
	}
}
