package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/leastwise/leastwise/enforcer/target"
)

// holder of policies: a role or a user. IAM has each request twice.
type holder struct {
	t          *Target
	kind, name string // kind is role or user
}

func (h holder) step(action, words string) step {
	kind := map[string]string{"role": "Role", "user": "User"}[h.kind]
	return step{"iam:" + strings.ReplaceAll(action, "X", kind), h.kind + "/" + h.name, words}
}

func (h holder) limit() int {
	if h.kind == "user" {
		return userLimit
	}
	return roleLimit
}

// look gives the holder's unchangeable id, its path, and whether a permissions
// boundary limits it.
func (h holder) look(ctx context.Context) (id, path string, bounded bool, err error) {
	s := h.step("GetX", "look at the "+h.kind)
	if h.kind == "user" {
		out, err := call(ctx, h.t, s, h.t.aws.iam.GetUser, &iam.GetUserInput{UserName: &h.name})
		if err != nil {
			return "", "", false, err
		}
		return str(out.User.UserId), str(out.User.Path), out.User.PermissionsBoundary != nil, nil
	}
	out, err := call(ctx, h.t, s, h.t.aws.iam.GetRole, &iam.GetRoleInput{RoleName: &h.name})
	if err != nil {
		return "", "", false, err
	}
	return str(out.Role.RoleId), str(out.Role.Path), out.Role.PermissionsBoundary != nil, nil
}

// inline gives the names of the holder's inline policies, sorted.
func (h holder) inline(ctx context.Context) (names []string, err error) {
	s := h.step("ListXPolicies", "list the "+h.kind+"'s inline policies")
	for marker, more := (*string)(nil), true; more; {
		if h.kind == "user" {
			out, err := call(ctx, h.t, s, h.t.aws.iam.ListUserPolicies, &iam.ListUserPoliciesInput{UserName: &h.name, Marker: marker})
			if err != nil {
				return nil, err
			}
			names, marker, more = append(names, out.PolicyNames...), out.Marker, out.IsTruncated && str(out.Marker) != ""
			continue
		}
		out, err := call(ctx, h.t, s, h.t.aws.iam.ListRolePolicies, &iam.ListRolePoliciesInput{RoleName: &h.name, Marker: marker})
		if err != nil {
			return nil, err
		}
		names, marker, more = append(names, out.PolicyNames...), out.Marker, out.IsTruncated && str(out.Marker) != ""
	}
	slices.Sort(names)
	return names, nil
}

// get gives an inline policy as it was written.
func (h holder) get(ctx context.Context, policy string) (string, error) {
	s := h.step("GetXPolicy", "read inline policy "+policy)
	if h.kind == "user" {
		out, err := call(ctx, h.t, s, h.t.aws.iam.GetUserPolicy, &iam.GetUserPolicyInput{UserName: &h.name, PolicyName: &policy})
		if err != nil {
			return "", err
		}
		return plain(str(out.PolicyDocument)), nil
	}
	out, err := call(ctx, h.t, s, h.t.aws.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: &h.name, PolicyName: &policy})
	if err != nil {
		return "", err
	}
	return plain(str(out.PolicyDocument)), nil
}

func (h holder) put(ctx context.Context, policy, text string) error {
	s := h.step("PutXPolicy", "write inline policy "+policy)
	if h.kind == "user" {
		_, err := call(ctx, h.t, s, h.t.aws.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: &h.name, PolicyName: &policy, PolicyDocument: &text})
		return err
	}
	_, err := call(ctx, h.t, s, h.t.aws.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: &h.name, PolicyName: &policy, PolicyDocument: &text})
	return err
}

// remove an inline policy; one that is not there is no error.
func (h holder) remove(ctx context.Context, policy string) error {
	s := h.step("DeleteXPolicy", "delete inline policy "+policy)
	var err error
	if h.kind == "user" {
		_, err = call(ctx, h.t, s, h.t.aws.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: &h.name, PolicyName: &policy})
	} else {
		_, err = call(ctx, h.t, s, h.t.aws.iam.DeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: &h.name, PolicyName: &policy})
	}
	if gone(err) {
		return nil
	}
	return err
}

// attached gives the ARNs of the holder's managed policies, sorted.
func (h holder) attached(ctx context.Context) (arns []string, err error) {
	s := h.step("ListAttachedXPolicies", "list the "+h.kind+"'s managed policies")
	take := func(list []types.AttachedPolicy) {
		for _, p := range list {
			arns = append(arns, str(p.PolicyArn))
		}
	}
	for marker, more := (*string)(nil), true; more; {
		if h.kind == "user" {
			out, err := call(ctx, h.t, s, h.t.aws.iam.ListAttachedUserPolicies, &iam.ListAttachedUserPoliciesInput{UserName: &h.name, Marker: marker})
			if err != nil {
				return nil, err
			}
			take(out.AttachedPolicies)
			marker, more = out.Marker, out.IsTruncated && str(out.Marker) != ""
			continue
		}
		out, err := call(ctx, h.t, s, h.t.aws.iam.ListAttachedRolePolicies, &iam.ListAttachedRolePoliciesInput{RoleName: &h.name, Marker: marker})
		if err != nil {
			return nil, err
		}
		take(out.AttachedPolicies)
		marker, more = out.Marker, out.IsTruncated && str(out.Marker) != ""
	}
	slices.Sort(arns)
	return arns, nil
}

// attach a managed policy; doing it again is no error at IAM.
func (h holder) attach(ctx context.Context, arn string) error {
	s := h.step("AttachXPolicy", "attach managed policy "+arn)
	var err error
	if h.kind == "user" {
		_, err = call(ctx, h.t, s, h.t.aws.iam.AttachUserPolicy, &iam.AttachUserPolicyInput{UserName: &h.name, PolicyArn: &arn})
	} else {
		_, err = call(ctx, h.t, s, h.t.aws.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: &h.name, PolicyArn: &arn})
	}
	return err
}

// detach a managed policy; one that is not attached is no error.
func (h holder) detach(ctx context.Context, arn string) error {
	s := h.step("DetachXPolicy", "detach managed policy "+arn)
	var err error
	if h.kind == "user" {
		_, err = call(ctx, h.t, s, h.t.aws.iam.DetachUserPolicy, &iam.DetachUserPolicyInput{UserName: &h.name, PolicyArn: &arn})
	} else {
		_, err = call(ctx, h.t, s, h.t.aws.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: &h.name, PolicyArn: &arn})
	}
	if gone(err) {
		return nil
	}
	return err
}

// managed gives the version in force of a managed policy.
func (t *Target) managed(ctx context.Context, arn string) (string, error) {
	words := "read managed policy " + arn
	p, err := call(ctx, t, step{"iam:GetPolicy", arn, words}, t.aws.iam.GetPolicy, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return "", err
	}
	if p.Policy == nil || str(p.Policy.DefaultVersionId) == "" {
		return "", &target.Error{Op: words, Err: fmt.Errorf("IAM's answer names no version")}
	}
	v, err := call(ctx, t, step{"iam:GetPolicyVersion", arn, words}, t.aws.iam.GetPolicyVersion,
		&iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: p.Policy.DefaultVersionId})
	if err != nil {
		return "", err
	}
	return plain(str(v.PolicyVersion.Document)), nil
}

// groups that a user is in.
func (h holder) groups(ctx context.Context) (names []string, err error) {
	for in := (&iam.ListGroupsForUserInput{UserName: &h.name}); ; {
		out, err := call(ctx, h.t, h.step("ListGroupsForX", "list the user's groups"), h.t.aws.iam.ListGroupsForUser, in)
		if err != nil {
			return nil, err
		}
		for _, g := range out.Groups {
			names = append(names, str(g.GroupName))
		}
		if in.Marker = out.Marker; !out.IsTruncated || str(out.Marker) == "" {
			return names, nil
		}
	}
}
