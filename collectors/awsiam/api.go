package awsiam

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// ask the API for a snapshot, page by page. The SDK tries again what was throttled.
func ask(ctx context.Context, client *iam.Client) (*account, error) {
	var all account
	var marker *string
	for n := 1; ; n++ {
		page, err := client.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Marker: marker})
		if err != nil {
			return nil, fmt.Errorf("page %d of GetAccountAuthorizationDetails: %w", n, err)
		}
		all.take(page)
		if !page.IsTruncated {
			return &all, all.check()
		}
		if text(page.Marker) == "" || text(page.Marker) == text(marker) {
			return nil, fmt.Errorf("page %d of GetAccountAuthorizationDetails says that there is more, and not where", n)
		}
		marker = page.Marker
	}
}

func (a *account) take(page *iam.GetAccountAuthorizationDetailsOutput) {
	for _, u := range page.UserDetailList {
		a.Users = append(a.Users, user{Arn: text(u.Arn), Groups: u.GroupList, Attached: attachedOf(u.AttachedManagedPolicies),
			Inline: inlineOf(u.UserPolicyList), Boundary: boundaryOf(u.PermissionsBoundary)})
	}
	for _, g := range page.GroupDetailList {
		a.Groups = append(a.Groups, group{Arn: text(g.Arn), GroupName: text(g.GroupName),
			Attached: attachedOf(g.AttachedManagedPolicies), Inline: inlineOf(g.GroupPolicyList)})
	}
	for _, r := range page.RoleDetailList {
		a.Roles = append(a.Roles, role{Arn: text(r.Arn), Attached: attachedOf(r.AttachedManagedPolicies),
			Inline: inlineOf(r.RolePolicyList), Boundary: boundaryOf(r.PermissionsBoundary)})
	}
	for _, p := range page.Policies {
		m := managed{Arn: text(p.Arn), DefaultVersionId: text(p.DefaultVersionId)}
		for _, v := range p.PolicyVersionList {
			m.Versions = append(m.Versions, version{VersionId: text(v.VersionId), IsDefaultVersion: v.IsDefaultVersion, Document: decoded(text(v.Document))})
		}
		a.Policies = append(a.Policies, m)
	}
}

func attachedOf(list []types.AttachedPolicy) []attached {
	out := make([]attached, len(list))
	for i, p := range list {
		out[i] = attached{text(p.PolicyArn)}
	}
	return out
}

func inlineOf(list []types.PolicyDetail) []inline {
	out := make([]inline, len(list))
	for i, p := range list {
		out[i] = inline{text(p.PolicyName), decoded(text(p.PolicyDocument))}
	}
	return out
}

func boundaryOf(b *types.AttachedPermissionsBoundary) *boundary {
	if b == nil {
		return nil
	}
	return &boundary{text(b.PermissionsBoundaryArn)}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
