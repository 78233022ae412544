package core

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/silence"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const idlePolicy = `policy_id: "idle"
description: "Not used."
metrics:
  - {name: idle_time, source: vault, threshold: "1h", condition: greater_than}
action:
  - {severity: high, channel: security_team, remediation_hint: "Give it back."}
enforcement: {mode: enforce, grace: 10m, revoke: true, reissue: true}
`

func TestNothingIsConcludedFromTheSilenceOfASource(t *testing.T) {
	w := newWorld(t, idlePolicy, "")
	silent := map[string]silence.Reading{silence.Key("vault", "default"): {Since: start.Add(30 * time.Minute).UnixNano(), Why: "its collector is gone"}}
	w.issue("a", 0, 50*time.Hour)
	w.core.Silence(silent)
	if got := w.settle(2 * time.Hour); len(got) != 0 {
		t.Fatalf("called idle although its source is silent: %v", got)
	}
	e := w.core.Entry(key("a"))
	w.grants.Put(&pb.Grant{Id: "vault/default/policy/ingest", AsOf: at(0), Rules: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read"}}}})
	if _, why := w.core.proposal(e, start.Add(2*time.Hour).UnixNano()); why == "" {
		t.Error("a narrower scope is proposed from a log with a hole")
	}
	w.core.Silence(nil)
	got := w.settle(2*time.Hour + time.Minute)
	if len(got) != 1 || len(got[0].Violations) != 1 {
		t.Fatalf("well again, and nothing was decided: %v", got)
	}
	w.core.Silence(silent)
	if got := w.settle(2*time.Hour + 2*time.Minute); len(got) != 1 || len(got[0].Violations) != 0 {
		t.Fatalf("silent again, and the violation stands: %v", got)
	}
	w.core.Silence(map[string]silence.Reading{"spire/default": {Since: 1}})
	if got := w.settle(2*time.Hour + 3*time.Minute); len(got) != 1 || !strings.Contains(got[0].Violations[0].PolicyId, "idle") {
		t.Errorf("another source is silent: %v", got)
	}
}
