package aws

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/leastwise/leastwise/enforcer/target"
)

// need is what one step asks of the enforcer's own policy.
type need struct {
	sid      string
	step     string
	actions  []string
	resource string // the last part of an ARN of IAM; * alone: no ARN
}

// needs is the only list of what the enforcer may do: the policy text and the
// check of capabilities are made from it.
func (c Config) needs() []need {
	list := []need{
		{"Keys", "find, deactivate and enable access keys", []string{"iam:GetAccessKeyLastUsed", "iam:ListAccessKeys", "iam:UpdateAccessKey"}, "user/*"},
		{"Count", "count live keys, and know whose account a key is of", []string{"iam:ListUsers", "sts:GetAccessKeyInfo"}, "*"},
		{"Sessions", "deny sessions of a role everything, and take that back", []string{"iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy", "iam:PutRolePolicy"}, "role/*"},
		{"OwnRights", "see what the enforcer itself may do", []string{"iam:SimulatePrincipalPolicy"}, "*"},
	}
	if !c.KeepKeys {
		list = append(list, need{"DeleteKeys", "delete keys some time after they were deactivated", []string{"iam:DeleteAccessKey"}, "user/*"})
	}
	if c.Narrow {
		list = append(list,
			need{"NarrowRoles", "narrow a role to what it used, and put it back", []string{"iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"}, "role/*"},
			need{"NarrowUsers", "narrow a user to what it used, and put it back", []string{"iam:AttachUserPolicy", "iam:DeleteUserPolicy", "iam:DetachUserPolicy", "iam:GetUser", "iam:GetUserPolicy",
				"iam:ListAttachedUserPolicies", "iam:ListGroupsForUser", "iam:ListUserPolicies", "iam:PutUserPolicy"}, "user/*"},
			need{"Managed", "read what managed policies grant", []string{"iam:GetPolicy", "iam:GetPolicyVersion"}, "policy/*"})
	}
	return list
}

// PolicyJSON is the IAM policy that the enforcer needs with c. Roles that AWS
// keeps are taken out, and with role_arn the enforcer's own.
func (c Config) PolicyJSON() string {
	doc := document{}
	base := "arn:aws:iam::*:"
	if c.RoleARN != "" {
		base = c.RoleARN[:strings.LastIndex(c.RoleARN, ":role/")+1]
	}
	for _, n := range c.needs() {
		resource := n.resource
		switch {
		case strings.HasPrefix(resource, "policy/"): // AWS's own are of no account
			resource = base[:strings.Index(base, ":iam:")] + ":iam::*:" + resource
		case resource != "*":
			resource = base + resource
		}
		doc.Statements = append(doc.Statements, statement{Sid: n.sid, Effect: "Allow", Action: n.actions, Resource: texts{resource}}.raw())
	}
	never := statement{Sid: "Never", Effect: "Deny", Action: texts{"iam:AttachRolePolicy", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy"},
		Resource: texts{base + "role/aws-reserved/*", base + "role/aws-service-role/*"}}
	if c.RoleARN != "" {
		never.Resource = append(never.Resource, c.RoleARN)
	}
	doc.Statements = append(doc.Statements, never.raw())
	return doc.text() + "\n"
}

// errNotSimulated: the endpoint does not simulate policies, as moto does not.
var errNotSimulated = errors.New("this endpoint does not simulate policies")

// Capabilities asks IAM what the enforcer's own policies lack. Where IAM can
// not simulate them, what only reads is tried, and what changes is not known.
func (t *Target) Capabilities(ctx context.Context) ([]target.Missing, error) {
	missing, _, err := t.capabilities(ctx)
	return missing, err
}

// capabilities tells, too, whether everything was checked.
func (t *Target) capabilities(ctx context.Context) (missing []target.Missing, whole bool, err error) {
	me, err := t.whoami(ctx)
	if err != nil {
		return nil, false, err
	}
	if me.kind == "root" {
		return nil, true, nil // the doctor refuses it
	}
	missing, err = t.simulate(ctx, me)
	switch {
	case errors.Is(err, errNotSimulated):
		missing, err = t.tryReads(ctx)
		return missing, false, err
	case target.KindOf(err) == target.Permission && err != nil:
		var e *target.Error
		errors.As(err, &e)
		lacks := e.Missing
		missing, err = t.tryReads(ctx)
		return append([]target.Missing{lacks}, missing...), false, err
	}
	return missing, err == nil, err
}

// simulate asks IAM about every action
// (https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html).
// It knows the policies of the enforcer's role or user, and its boundary; not
// those of the organization.
func (t *Target) simulate(ctx context.Context, me self) ([]target.Missing, error) {
	s := step{"iam:SimulatePrincipalPolicy", "*", "see what the enforcer itself may do"}
	source := me.arn
	if me.kind == "role" {
		// The ARN of a session leaves out the role's path.
		out, err := call(ctx, t, step{"iam:GetRole", "role/" + me.name, s.words}, t.aws.iam.GetRole, &iam.GetRoleInput{RoleName: &me.name})
		if err != nil {
			return nil, err
		}
		source = str(out.Role.Arn)
	}
	var missing []target.Missing
	for _, n := range t.cfg.needs() {
		in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &source, ActionNames: n.actions}
		if n.resource != "*" {
			partition, _, _ := strings.Cut(me.arn, ":iam:")
			partition, _, _ = strings.Cut(partition, ":sts:")
			in.ResourceArns = []string{partition + ":iam::" + me.account + ":" + strings.TrimSuffix(n.resource, "*") + "any"}
		}
		for {
			out, err := call(ctx, t, s, t.aws.iam.SimulatePrincipalPolicy, in)
			var u *unreadable
			if says(err, "NotImplemented") || says(err, "InvalidAction") || errors.As(err, &u) && (u.status == 500 || u.status == 501) {
				return nil, errNotSimulated
			}
			if err != nil {
				return nil, err
			}
			for _, r := range out.EvaluationResults {
				if r.EvalDecision != types.PolicyEvaluationDecisionTypeAllowed {
					missing = append(missing, target.Missing{Path: n.resource, Capability: str(r.EvalActionName), Step: n.step})
				}
			}
			if in.Marker = out.Marker; !out.IsTruncated || str(out.Marker) == "" {
				break
			}
		}
	}
	return missing, nil
}

// tryReads tries what changes nothing. A thing that does not exist is asked
// for: IAM answers that, or that it may not be asked.
func (t *Target) tryReads(ctx context.Context) ([]target.Missing, error) {
	none, one := "leastwise-asks-what-it-may", int32(1)
	h := holder{t, "role", none}
	tries := []func() error{
		func() error {
			_, err := call(ctx, t, step{"iam:ListUsers", "*", "list users"}, t.aws.iam.ListUsers, &iam.ListUsersInput{MaxItems: &one})
			return err
		},
		func() error { _, err := t.keysOf(ctx, none); return err },
		func() error { _, _, _, err := h.look(ctx); return err },
		func() error { _, err := h.get(ctx, DenyPolicy); return err },
	}
	if t.cfg.Narrow {
		u := holder{t, "user", none}
		tries = append(tries,
			func() error { _, err := h.inline(ctx); return err }, func() error { _, err := h.attached(ctx); return err },
			func() error { _, _, _, err := u.look(ctx); return err }, func() error { _, err := u.get(ctx, ScopePolicy); return err },
			func() error { _, err := u.inline(ctx); return err }, func() error { _, err := u.attached(ctx); return err },
			func() error { _, err := u.groups(ctx); return err })
	}
	var missing []target.Missing
	for _, try := range tries {
		var e *target.Error
		switch err := try(); {
		case err == nil || gone(err):
		case errors.As(err, &e) && e.Kind == target.Permission:
			missing = append(missing, e.Missing)
		default:
			return nil, err
		}
	}
	return missing, nil
}
