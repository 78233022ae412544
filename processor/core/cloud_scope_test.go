package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const complexPolicy = `policy_id: "complex"
description: "More than five permissions."
metrics:
  - {name: permission_scope_complexity, source: iam, threshold: "5", condition: greater_than}
action:
  - {severity: high, channel: security_team, remediation_hint: "Reduce it."}
`

// cloud applies an event of a credential of a cloud.
func (w *world) cloud(kind pb.Event_Kind, credential, principal, permission string, after time.Duration) {
	w.offset++
	key, _ := schemas.ParseKey(credential)
	id := schemas.EventID("test", credential, fmt.Sprint(w.offset), 0)
	w.core.Apply(&pb.Event{Id: id[:], Kind: kind, Credential: credential, Principal: principal, Permission: permission,
		Source: key.System, Instance: key.Instance, OccurredAt: at(after), ObservedAt: at(after)}, w.offset, true)
}

func TestComplexityOfCloudCredentialsIsMeasuredThroughTheirPrincipal(t *testing.T) {
	for source, c := range map[string]struct {
		credential, principal, used, denied string
		grants                              []*pb.Grant
		permissions                         float64
	}{
		"aws": {"cloudtrail/default/session/ASIAEXAMPLE", "cloudtrail/default/principal/arn:aws:iam::111122223333:role/agents/loader", "s3:GetObject", "iam:CreateUser",
			[]*pb.Grant{
				{Id: "cloudtrail/default/principal/arn:aws:iam::111122223333:role/agents/loader", Attached: []*pb.Attachment{{Grant: "cloudtrail/default/policy/p"}}},
				{Id: "cloudtrail/default/policy/p", Rules: []*pb.Rule{
					{Actions: []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "sqs:SendMessage"}, Resources: []string{"*"}},
					{Actions: []string{"sqs:*Message", "s3:GetObjectAcl"}, Resources: []string{"*"}, Conditional: true},
					{Actions: []string{"s3:Delete*"}, Resources: []string{"*"}, Deny: true},
				}}}, 6},
		"gcp": {"gcpaudit/default/service_account_key/1", "gcpaudit/default/principal/serviceAccount:agent@p.iam.gserviceaccount.com", "a.b.get", "a.b.delete",
			[]*pb.Grant{
				{Id: "gcpaudit/default/principal/serviceAccount:agent@p.iam.gserviceaccount.com",
					Attached: []*pb.Attachment{{Grant: "gcpaudit/default/policy/projects/p/roles/r", Resource: "//cloudresourcemanager.googleapis.com/projects/p"}}},
				{Id: "gcpaudit/default/policy/projects/p/roles/r", Rules: []*pb.Rule{{Actions: []string{"a.b.get", "a.b.list", "a.b.create", "a.b.update", "a.b.patch", "a.b.use"}}}},
			}, 6},
	} {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t, complexPolicy, "")
			w.cloud(pb.Event_USED, c.credential, c.principal, c.used, time.Minute)
			w.cloud(pb.Event_DENIED, c.credential, c.principal, c.denied, time.Minute)
			if got := w.settle(time.Hour); slices.ContainsFunc(got, func(d *pb.Decision) bool { return len(d.Violations) > 0 }) {
				t.Fatalf("an unknown scope was counted: %v", got)
			}
			for _, grant := range c.grants {
				grant.AsOf = at(0)
				w.grants.Put(grant)
			}
			got := w.settle(time.Hour + time.Minute)
			if len(got) != 1 || len(got[0].Violations) != 1 || got[0].Violations[0].PolicyId != "complex" {
				t.Fatalf("%v", got)
			}
			_, values := w.core.Measure(c.credential, start.Add(time.Hour).UnixNano())
			if v, ok := values.Get(rego.ScopeComplexity); !ok || v != c.permissions {
				t.Errorf("complexity %v, want %v: %+v", v, c.permissions, w.core.Entry(c.credential).Scope.Figures)
			}
			if v, ok := values.Get(rego.UnusedPermissionRatio); !ok || v != 1-1/c.permissions {
				t.Errorf("unused %v, want all but the one that was used and not the denied", v)
			}
			if _, ok := values.Get(rego.ScopeWeight); !ok {
				t.Error("no weight")
			}
			if p := got[0].Proposal; p.Granted != 6 || p.Proposed != 1 || !strings.Contains(p.Rules[0].String(), c.used) {
				t.Errorf("%v", p)
			}
		})
	}
}
