package scope

import (
	"testing"

	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

type on = func(permission, resource string) level.Verdict

func TestAPermissionOnAResource(t *testing.T) {
	allow := func(action, resource string, conditional bool) *pb.Rule {
		return &pb.Rule{Actions: []string{action}, Resources: []string{resource}, Conditional: conditional}
	}
	deny := func(action, resource string, conditional bool) *pb.Rule {
		r := allow(action, resource, conditional)
		r.Deny = true
		return r
	}
	layers := func(layers ...[]*pb.Rule) on {
		return func(permission, resource string) level.Verdict { return iam.On(layers, permission, resource) }
	}
	aws := func(rules ...*pb.Rule) on { return layers(rules) }
	google := func(b ...gcp.Binding) on {
		return func(permission, resource string) level.Verdict { return gcp.On(b, nil, permission, resource) }
	}
	vault := func(rules ...Rule) on { return (&Scope{Rules: rules}).Powers().On }
	role := "arn:aws:iam::1:role/deploy"
	sa := "//iam.googleapis.com/projects/p/serviceAccounts/x@p.iam.gserviceaccount.com"
	for _, test := range []struct {
		name                 string
		on                   on
		permission, resource string
		want                 level.Verdict
	}{
		{"the very resource", aws(allow("iam:PassRole", role, false)), "iam:PassRole", role, level.Yes},
		{"action in another case", aws(allow("IAM:passrole", role, false)), "iam:PassRole", role, level.Yes},
		{"another resource", aws(allow("iam:PassRole", "arn:aws:iam::1:role/other", false)), "iam:PassRole", role, level.No},
		{"a wildcard", aws(allow("iam:*", "arn:aws:iam::1:role/*", false)), "iam:PassRole", role, level.Yes},
		{"under a condition", aws(allow("iam:PassRole", "*", true)), "iam:PassRole", role, level.Perhaps},
		{"a variable stands for anything", aws(allow("iam:CreateAccessKey", "arn:aws:iam::1:user/${aws:username}", false)), "iam:CreateAccessKey", "arn:aws:iam::1:user/a", level.Perhaps},
		{"denied there", aws(allow("iam:*", "*", false), deny("iam:PassRole", role, false)), "iam:PassRole", role, level.No},
		{"denied elsewhere", aws(allow("iam:*", "*", false), deny("iam:PassRole", "arn:aws:iam::1:role/x", false)), "iam:PassRole", role, level.Yes},
		{"denied sometimes", aws(allow("iam:*", "*", false), deny("iam:PassRole", role, true)), "iam:PassRole", role, level.Perhaps},
		{"denied on part of a pattern", aws(allow("s3:GetObject", "*", false), deny("s3:GetObject", "arn:aws:s3:::a/x", false)), "s3:GetObject", "arn:aws:s3:::a/*", level.Perhaps},
		{"NotResource leaves it out", aws(&pb.Rule{Actions: []string{"s3:*"}, NotResources: []string{"arn:aws:s3:::a/*"}}), "s3:GetObject", "arn:aws:s3:::a/k", level.No},
		{"NotResource leaves another out", aws(&pb.Rule{Actions: []string{"s3:*"}, NotResources: []string{"arn:aws:s3:::b/*"}}), "s3:GetObject", "arn:aws:s3:::a/k", level.Yes},
		{"patterns that overlap", aws(allow("s3:GetObject", "arn:aws:s3:::a/*.csv", false)), "s3:GetObject", "arn:aws:s3:::a/2026*", level.Yes},
		{"patterns that do not", aws(allow("s3:GetObject", "arn:aws:s3:::a/x*", false)), "s3:GetObject", "arn:aws:s3:::a/y*", level.No},
		{"on anything", aws(allow("lambda:CreateFunction", "arn:aws:lambda:*:*:function:f", false)), "lambda:CreateFunction", "", level.Yes},
		{"on nothing", aws(allow("lambda:CreateFunction", "*", false), deny("lambda:*", "*", false)), "lambda:CreateFunction", "", level.No},
		{"within a boundary", layers([]*pb.Rule{allow("*", "*", false)}, []*pb.Rule{allow("s3:*", "*", false)}), "iam:PassRole", role, level.No},

		{"a role on the project", google(gcp.Binding{Role: "roles/iam.serviceAccountTokenCreator", Resource: "//cloudresourcemanager.googleapis.com/projects/p"}), "iam.serviceAccounts.getAccessToken", sa, level.Yes},
		{"a role on another project", google(gcp.Binding{Role: "roles/iam.serviceAccountTokenCreator", Resource: "//cloudresourcemanager.googleapis.com/projects/q"}), "iam.serviceAccounts.getAccessToken", sa, level.No},
		{"a role on the account itself", google(gcp.Binding{Role: "roles/iam.serviceAccountTokenCreator", Resource: sa}), "iam.serviceAccounts.getAccessToken", sa, level.Yes},
		{"a role on a folder", google(gcp.Binding{Role: "roles/iam.serviceAccountTokenCreator", Resource: "//cloudresourcemanager.googleapis.com/folders/1"}), "iam.serviceAccounts.getAccessToken", sa, level.Perhaps},
		{"under a condition of the binding", google(gcp.Binding{Role: "roles/iam.serviceAccountTokenCreator", Resource: sa, Conditional: true}), "iam.serviceAccounts.getAccessToken", sa, level.Perhaps},
		{"a permission the role has not", google(gcp.Binding{Role: "roles/storage.objectViewer", Resource: sa}), "iam.serviceAccounts.getAccessToken", sa, level.No},

		{"a path", vault(Rule{"secret/data/a", []string{"read"}}), "read", "secret/data/a", level.Yes},
		{"another capability", vault(Rule{"secret/data/a", []string{"list"}}), "read", "secret/data/a", level.No},
		{"the more specific rule decides", vault(Rule{"secret/*", []string{"read"}}, Rule{"secret/data/a", []string{"list"}}), "read", "secret/data/a", level.No},
		{"a path that needs sudo", vault(Rule{"sys/auth/*", []string{"create"}}), "create", "sys/auth/x", level.No},
		{"with sudo", vault(Rule{"sys/auth/*", []string{"create", "sudo"}}), "create", "sys/auth/x", level.Yes},
		{"a pattern", vault(Rule{"secret/data/prod/db", []string{"read"}}), "read", "secret/data/prod/*", level.Yes},
		{"another pattern", vault(Rule{"secret/data/dev/*", []string{"read"}}), "read", "secret/data/prod/*", level.No},
		{"a segment for anything", vault(Rule{"secret/data/+/db", []string{"read"}}), "read", "secret/data/prod/*", level.Perhaps},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.on(test.permission, test.resource); got != test.want {
				t.Errorf("On(%s, %s) = %d, want %d", test.permission, test.resource, got, test.want)
			}
		})
	}
}
