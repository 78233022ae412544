package exception

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var now = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func log(t *testing.T) *stream.Client {
	t.Helper()
	c := kafkatest.New(t)
	if err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicExceptions, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask() *pb.Exception {
	return &pb.Exception{Credential: "vault/default/token/a", PolicyId: "long-lived", Reason: "migration", RequestedBy: "Alice", Until: timestamppb.New(now.Add(24 * time.Hour))}
}

func TestALifeOfAnException(t *testing.T) {
	c := log(t)
	x, err := Request(t.Context(), c, ask(), Limits{MaxDuration: 48 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	var index Index
	covered := func() bool {
		t.Helper()
		list, err := List(t.Context(), c)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		index.Put(list[0])
		return index.Cover("vault/default/token/a", "", []string{"long-lived"}, now.Add(time.Hour)).All
	}
	if covered() {
		t.Error("a request alone covers")
	}
	for _, self := range []string{"Alice", "alice", " ALICE "} {
		if _, err := Approve(t.Context(), c, x.Id, self, Limits{}, now); !errors.Is(err, ErrSelfApproval) {
			t.Errorf("%q approves: %v", self, err)
		}
	}
	if _, err := Approve(t.Context(), c, x.Id, "bob", Limits{Approvers: []string{"carol"}}, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("not among the approvers: %v", err)
	}
	if _, err := Approve(t.Context(), c, x.Id, "bob", Limits{MaxDuration: time.Hour}, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("longer than the policy allows now: %v", err)
	}
	if _, err := Approve(t.Context(), c, x.Id, "", Limits{}, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("nobody approves: %v", err)
	}
	if _, err := Approve(t.Context(), c, "ex-nonesuch", "bob", Limits{}, now); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if covered() {
		t.Error("a refused approval covers")
	}
	if _, err := Approve(t.Context(), c, x.Id, "Bob", Limits{Approvers: []string{"bob"}, MaxDuration: 48 * time.Hour}, now); err != nil {
		t.Fatal(err)
	}
	if !covered() {
		t.Error("the approved one does not cover")
	}
	if _, err := Revoke(t.Context(), c, x.Id, "carol", now); err != nil {
		t.Fatal(err)
	}
	if covered() {
		t.Error("a revoked one covers")
	}
	if _, err := Approve(t.Context(), c, x.Id, "bob", Limits{}, now); !errors.Is(err, ErrOver) {
		t.Errorf("approved after its revocation: %v", err)
	}
}

func TestARequestThatSaysTooLittleIsRefused(t *testing.T) {
	for want, spoil := range map[string]func(e *pb.Exception){
		"one of credential":   func(e *pb.Exception) { e.Credential = "" },
		"identity":            func(e *pb.Exception) { e.Identity = "vault/default/entity/e" },
		"policy's id":         func(e *pb.Exception) { e.PolicyId = " " },
		"reason":              func(e *pb.Exception) { e.Reason = "\t" },
		"who asks":            func(e *pb.Exception) { e.RequestedBy = " " },
		"an end":              func(e *pb.Exception) { e.Until = nil },
		"not in the future":   func(e *pb.Exception) { e.Until = timestamppb.New(now) },
		"max_duration":        func(e *pb.Exception) { e.Until = timestamppb.New(now.Add(49 * time.Hour)) },
		"system/instance/typ": func(e *pb.Exception) { e.Credential = "abc" },
	} {
		e := ask()
		spoil(e)
		_, err := Request(t.Context(), nil, e, Limits{MaxDuration: 48 * time.Hour}, now)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestARequestCanNotBringItsOwnApproval(t *testing.T) {
	c := log(t)
	e := ask()
	e.Id, e.ApprovedBy, e.ApprovedAt = "ex-chosen", "bob", timestamppb.New(now)
	x, err := Request(t.Context(), c, e, Limits{}, now)
	if err != nil || x.ApprovedBy != "" || x.ApprovedAt != nil || x.Id == "ex-chosen" || Valid(x, now) {
		t.Errorf("%v, %v", x, err)
	}
}

func TestCoverAsksForEveryPolicyAndEndsWithTheFirst(t *testing.T) {
	approved := func(id, credential, identity, policy string, hours int) *pb.Exception {
		e := ask()
		e.Id, e.Credential, e.Identity, e.PolicyId = id, credential, identity, policy
		e.ApprovedBy, e.ApprovedAt, e.RequestedAt = "bob", timestamppb.New(now), timestamppb.New(now)
		e.Until = timestamppb.New(now.Add(time.Duration(hours) * time.Hour))
		return e
	}
	var x Index
	const cred, who = "vault/default/token/a", "vault/default/entity/e"
	x.Put(approved("1", cred, "", "a", 1))
	x.Put(approved("2", cred, "", "a", 3))
	x.Put(approved("3", "", who, "b", 2))
	if c := x.Cover(cred, who, []string{"a", "b"}, now); !c.All || c.ID != "3" || !c.Until.Equal(now.Add(2*time.Hour)) {
		t.Errorf("%+v", c)
	}
	if c := x.Cover(cred, "", []string{"a", "b"}, now); c.All || len(c.Excepted) != 1 {
		t.Errorf("without the identity: %+v", c)
	}
	if c := x.Cover(cred, who, nil, now); c.All {
		t.Error("no policy is all policies")
	}
	if c := x.Cover(cred, who, []string{"a"}, now.Add(3*time.Hour)); c.All {
		t.Error("covers after its end")
	}
	x.Put(approved("4", "", who, "*", 9))
	if c := x.Cover(cred, who, []string{"a", "b", "c"}, now); !c.All || c.ID != "4" {
		t.Errorf("with *: %+v", c)
	}
	moved := proto.CloneOf(approved("4", "vault/default/token/other", "", "*", 9))
	x.Put(moved)
	if c := x.Cover(cred, who, []string{"c"}, now); c.All {
		t.Error("the former subject is still covered")
	}
}
