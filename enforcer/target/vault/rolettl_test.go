package vault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestThresholdsBecomeLimits(t *testing.T) {
	for text, want := range map[string]time.Duration{"1h": time.Hour, "7d": 7 * 24 * time.Hour, "1d2h": 26 * time.Hour, "2h3m": 123 * time.Minute, "7": 0, "": 0, "d": 0} {
		d := &pb.Decision{Violations: []*pb.Violation{{Metric: "lifetime", Condition: "greater_than", Threshold: text},
			{Metric: "remaining_validity", Condition: "less_than", Threshold: "1m"}}}
		if got := limitOf(d); got != want {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestRealVaultRoleIsBroughtWithinPolicyAndBack(t *testing.T) {
	s := realVault(t)
	s.write(t, "auth/approle/role/ingest", map[string]any{"token_ttl": "4h", "token_max_ttl": "96h", "token_period": "5h"})
	role := func() string {
		t.Helper()
		got, err := s.root.Logical().Read("auth/approle/role/ingest")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintln(got.Data["token_policies"], got.Data["token_ttl"], got.Data["token_max_ttl"], got.Data["token_period"])
	}
	before := role()
	v := s.target(t)
	d := decision(s.login(t).Auth.Accessor)
	d.Violations = []*pb.Violation{{Metric: "lifetime", Condition: "greater_than", Threshold: "2h"}}
	plan, refused, err := v.Plan(t.Context(), d)
	if err != nil || refused != "" {
		t.Fatal(refused, err)
	}
	if want := "token_policies [broad] → [" + plan.PolicyName + "], token_ttl 4h0m0s → 2h0m0s, token_max_ttl 96h0m0s → 2h0m0s, token_period 5h0m0s → 2h0m0s"; !strings.Contains(plan.Narrowed, want) {
		t.Errorf("the plan says %q", plan.Narrowed)
	}
	if role() != before {
		t.Errorf("the plan changed the role to %s", role())
	}
	var done *pb.Reissue
	for range 2 {
		if done, err = v.Reissue(t.Context(), "l1", d, plan); err != nil {
			t.Fatal(err)
		}
	}
	if want := "[" + plan.PolicyName + "] 7200 7200 7200\n"; role() != want {
		t.Errorf("the role is %s", role())
	}
	if auth := s.login(t).Auth; auth.LeaseDuration != 7200 || slices.Contains(auth.Policies, "broad") {
		t.Errorf("the next login gives %+v", auth)
	}
	// Died after half of the rollback.
	var was previous
	if err := json.Unmarshal([]byte(done.Previous), &was); err != nil {
		t.Fatal(err)
	}
	if err := v.setRoleTTL(t.Context(), was.kind(), was.TTLs[1], was.TTLs[1].Was); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Rollback(t.Context(), done); err != nil {
			t.Fatal(err)
		}
		if role() != before {
			t.Errorf("rolled back to %s, it was %s", role(), before)
		}
	}
	s.write(t, "auth/approle/role/ingest", map[string]any{"token_ttl": "3h"})
	changed := role()
	if err := v.Rollback(t.Context(), done); err == nil || target.KindOf(err) != target.Impossible || !strings.Contains(err.Error(), "token_ttl 3h0m0s") || role() != changed {
		t.Errorf("overwrote a later change: %v, %s", err, role())
	}
}
