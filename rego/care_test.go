package rego

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const careful = `
policy_id: "careful"
metrics:
  - {name: "credential_age", source: "vault", threshold: "1h", condition: "greater_than"}
action:
  - {severity: "high"}
enforcement:
  mode: enforce
  reissue: true
  approvals: {revoke: 2, restore: 1, finish: 1}
  business_hours: {zone: "Europe/Berlin", days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}
  freeze:
    - {from: "2026-12-20T00:00:00Z", until: "2027-01-04T00:00:00Z", reason: "year-end close"}
  escalation:
    - {channel: "data-team", after: "1h"}
    - {channel: "security_team", after: "4h"}
  max_collateral: 3
  corrected: {watch: 48h, on_denial: rollback}
`

func TestACarefulPolicyIsRead(t *testing.T) {
	list, err := ParsePolicies("p.yaml", []byte(careful))
	if err != nil {
		t.Fatal(err)
	}
	c := list[0].Enforcement.Care
	h := c.BusinessHours[0]
	if c.Approvals.Revoke != 2 || c.Approvals.Narrow != 0 || c.Approvals.Restore != 1 || c.Approvals.Finish != 1 || *c.MaxCollateral != 3 ||
		h.Zone != "Europe/Berlin" || len(h.Days) != 5 || h.Days[0] != 1 || h.FromMinute != 540 || h.ToMinute != 1020 ||
		c.Freeze[0].Reason != "year-end close" || c.Freeze[0].Until.AsTime().Year() != 2027 ||
		c.Corrected.WatchMs != 48*time.Hour.Milliseconds() || c.Corrected.OnDenial != leastwisev1.Corrected_ROLLBACK ||
		c.Escalation[1].Channel != "security_team" || c.Escalation[1].AfterMs != 4*time.Hour.Milliseconds() {
		t.Errorf("%v", c)
	}
}

func TestWhatACarefulPolicyGetsWrongIsNamed(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"revoke: 2", "revoke: 3"}:                             "from 0 to 2",
		{"revoke: 2", "revok: 2"}:                              "revok",
		{"Europe/Berlin", "Europe/Bern"}:                       "time zone",
		{"[mon, tue, wed, thu, fri]", "[monday]"}:              "no day",
		{`to: "17:00"`, `to: "08:00"`}:                         "not after from",
		{`from: "09:00"`, `from: "9 am"`}:                      "time of day",
		{"2027-01-04T00:00:00Z", "2026-01-04T00:00:00Z"}:       "not after from",
		{"2026-12-20T00:00:00Z", "20 Dec"}:                     "expected a time",
		{`, reason: "year-end close"`, ""}:                     "reason is missing",
		{`{channel: "data-team", after: "1h"}`, `{after: 1h}`}: "channel is missing",
		{"max_collateral: 3", "max_collateral: -1"}:            "from 0 to",
		{"on_denial: rollback", "on_denial: undo"}:             "rollback",
		{"watch: 48h", "watch: long"}:                          "expected",
		{"watch: 48h", "wach: 48h"}:                            "wach",
		{"  reissue: true\n", ""}:                              "reissue: true",
	} {
		text := strings.Replace(careful, change[0], change[1], 1)
		if text == careful {
			t.Fatalf("%q is not there", change[0])
		}
		if _, err := ParsePolicies("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", change[1], err, want)
		}
	}
}

func TestCareAddsUpAndNeverMakesSooner(t *testing.T) {
	one := &leastwisev1.Ladder{RequiresApproval: true, Approvals: &leastwisev1.Approvals{Revoke: 1, Finish: 2}, BusinessHours: []*leastwisev1.Hours{{Zone: "UTC"}}}
	two := &leastwisev1.Ladder{Approvals: &leastwisev1.Approvals{Revoke: 2}, BusinessHours: []*leastwisev1.Hours{{Zone: "UTC"}, {Zone: "Asia/Tokyo"}},
		Escalation: []*leastwisev1.EscalationStep{{Channel: "a"}}}
	all := &leastwisev1.Ladder{}
	for _, l := range []*leastwisev1.Ladder{one, two, one} {
		schemas.Careful(all, l)
	}
	if !all.RequiresApproval || all.Approvals.Revoke != 2 || all.Approvals.Finish != 2 || len(all.BusinessHours) != 2 || len(all.Escalation) != 1 {
		t.Errorf("%v", all)
	}
	watch := func(ms int64, act leastwisev1.Corrected_OnDenial) *leastwisev1.Ladder {
		return &leastwisev1.Ladder{Corrected: &leastwisev1.Corrected{WatchMs: ms, OnDenial: act}}
	}
	for _, c := range []struct {
		of   []*leastwisev1.Ladder
		want string
	}{
		{[]*leastwisev1.Ladder{{}, {}}, "0 ALARM"},
		{[]*leastwisev1.Ladder{watch(5, 1), {}}, "5 ROLLBACK"},
		{[]*leastwisev1.Ladder{watch(5, 1), watch(7, 1)}, "7 ROLLBACK"},
		{[]*leastwisev1.Ladder{watch(5, 1), watch(3, 0), watch(4, 1)}, "5 ALARM"},
	} {
		all := &leastwisev1.Ladder{}
		for _, l := range c.of {
			schemas.Careful(all, l)
		}
		if got := fmt.Sprint(all.Corrected.GetWatchMs(), " ", all.Corrected.GetOnDenial()); got != c.want {
			t.Errorf("%v give %s, want %s", c.of, got, c.want)
		}
	}
	n := func(n uint32) *leastwisev1.Ladder { return &leastwisev1.Ladder{MaxCollateral: &n} }
	if got := schemas.LeastCollateral(n(5), n(2), n(7)); got == nil || *got != 2 {
		t.Errorf("%v", got)
	}
	if schemas.LeastCollateral(n(5), one) != nil || schemas.LeastCollateral() != nil {
		t.Error("a policy that does not say allows some")
	}
}

func TestTheDecisionCarriesTheCareOfItsPolicies(t *testing.T) {
	set := load(t, map[string]string{"careful.yaml": careful})
	v := &Values{}
	v.Set(CredentialAge, (2 * time.Hour).Seconds())
	r := evaluate(t, set, &Subject{Credential: "vault/default/token/a", Type: "token", Source: "vault"}, v)
	for name, l := range map[string]*leastwisev1.Ladder{"whole": r.Ladder, "policy's": r.Violations[0].Ladder} {
		if l.Approvals.GetRevoke() != 2 || len(l.BusinessHours) != 1 || len(l.Freeze) != 1 || len(l.Escalation) != 2 || l.GetMaxCollateral() != 3 ||
			l.Corrected.GetOnDenial() != leastwisev1.Corrected_ROLLBACK {
			t.Errorf("the %s ladder: %v", name, l)
		}
	}
}
