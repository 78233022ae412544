package allinone

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/console/rules"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	cloud   = "cloudtrail/111122223333/"
	account = "arn:aws:iam::111122223333:role/agent"
)

func TestACloudsPolicyIsExpandedPermissionByPermission(t *testing.T) {
	grants := []*pb.Grant{
		{Id: cloud + "principal/" + account, Attached: []*pb.Attachment{{Grant: cloud + "policy/read"}, {Grant: cloud + "policy/send"}}},
		{Id: cloud + "policy/read", Rules: []*pb.Rule{{Actions: []string{"s3:GetObject*"}, Resources: []string{"*"}}, {Actions: []string{"s3:GetObjectAcl"}, Resources: []string{"*"}, Deny: true}}},
		{Id: cloud + "policy/send", Rules: []*pb.Rule{{Actions: []string{"sqs:SendMessage"}, Resources: []string{"*"}, Conditional: true}, {Actions: []string{"s3:GetObject"}, Resources: []string{"*"}}}},
	}
	got, missing := cloudsOf{}.Granted(grants, rules.Holder{Credential: cloud + "access_key/AKIA1", Principal: cloud + "principal/" + account, UsedComplete: true,
		Used: []*pb.PermissionUse{{Permission: "s3:GetObject", Count: 7, LastAt: 5}}})
	if missing != "" {
		t.Errorf("missing: %s", missing)
	}
	by := map[string]rules.Permission{}
	for _, p := range got {
		by[p.Name] = p
	}
	if p := by["s3:GetObject"]; p.Level != "read" || p.Weight != 2 || p.Uses != 7 || p.LastAt != 5 || fmt.Sprint(slices.Sorted(slices.Values(p.By))) != "[read send]" {
		t.Errorf("what was used: %+v", p)
	}
	if p := by["s3:GetObjectTagging"]; p.Level != "read" || p.Uses != 0 || p.Conditional {
		t.Errorf("what a pattern stands for: %+v", p)
	}
	if p := by["sqs:SendMessage"]; p.Level != "write" || !p.Conditional || fmt.Sprint(p.By) != "[send]" {
		t.Errorf("what a condition guards: %+v", p)
	}
	if _, there := by["s3:GetObjectAcl"]; there {
		t.Error("what is denied is granted")
	}
	if got, missing := (cloudsOf{}).Granted(nil, rules.Holder{Credential: cloud + "access_key/AKIA1", Principal: cloud + "principal/" + account}); len(got) != 0 || missing == "" {
		t.Errorf("without an inventory: %v, missing %q", got, missing)
	}
}
