package awsiam

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/awsiam/policy"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// System is the source whose credentials the grants are of.
const System = "cloudtrail"

// Read gives the grants of a snapshot file, policies before principals, each sorted by id. instance is that of the
// credentials ("" is default); asOf is when the snapshot was taken.
func Read(r io.Reader, instance string, asOf time.Time) ([]*leastwisev1.Grant, error) {
	snapshot, err := readSnapshot(r)
	if err != nil {
		return nil, err
	}
	grants := snapshot.grants(instance)
	for _, grant := range grants {
		grant.AsOf = timestamppb.New(asOf)
	}
	return grants, nil
}

// Recognise tells whether a file that begins like this may be a snapshot.
func Recognise(beginning []byte) bool {
	text := string(beginning[:min(len(beginning), 4096)])
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n\ufeff"), "{") {
		return false
	}
	for _, list := range []string{`"UserDetailList"`, `"GroupDetailList"`, `"RoleDetailList"`} {
		if strings.Contains(text, list) {
			return true
		}
	}
	return false
}

// grants of a snapshot, not dated.
func (a *account) grants(instance string) []*leastwisev1.Grant {
	if instance == "" {
		instance = "default"
	}
	b := builder{instance: instance, groups: map[string]attachments{}}
	for _, p := range a.Policies {
		b.managed(p)
	}
	for _, g := range a.Groups {
		b.groups[g.GroupName] = b.attachments(g.Arn, g.Attached, g.Inline)
	}
	for _, r := range a.Roles {
		b.principal(r.Arn, b.attachments(r.Arn, r.Attached, r.Inline), r.Boundary, nil)
		b.trust(r)
	}
	for _, u := range a.Users {
		all := b.attachments(u.Arn, u.Attached, u.Inline)
		var missing []string
		for _, name := range u.Groups {
			own, ok := b.groups[name]
			if !ok {
				missing = append(missing, name)
			}
			all = append(all, own...)
		}
		b.principal(u.Arn, all, u.Boundary, missing)
	}
	byID := func(x, y *leastwisev1.Grant) int { return strings.Compare(x.Id, y.Id) }
	slices.SortFunc(b.policies, byID)
	slices.SortFunc(b.principals, byID)
	return append(b.policies, b.principals...)
}

// attachments are ids of policies' grants.
type attachments []string

type builder struct {
	instance             string
	groups               map[string]attachments // by name, which is unique in an account
	policies, principals []*leastwisev1.Grant
}

func (b *builder) id(kind, name string) string {
	return schemas.Key{System: System, Instance: b.instance, Type: kind, ID: name}.String()
}

func (b *builder) policy(name string, text document) string {
	grant := &leastwisev1.Grant{Id: b.id("policy", name)}
	rules, err := policy.Parse(text)
	if err != nil {
		grant.Incomplete = err.Error()
	}
	grant.Rules = rules
	b.policies = append(b.policies, grant)
	return grant.Id
}

// trust tells who may act as a role. A snapshot without the document says nothing of it.
func (b *builder) trust(r role) {
	if r.Trust == nil {
		return
	}
	grant := &leastwisev1.Grant{Id: b.id("trust", r.Arn)}
	rules, err := policy.ParseTrust(r.Trust)
	if err != nil {
		grant.Incomplete = err.Error()
	}
	grant.Rules = rules
	b.policies = append(b.policies, grant)
}

// managed takes the version in force; the others grant nothing.
func (b *builder) managed(p managed) {
	at := slices.IndexFunc(p.Versions, func(v version) bool { return v.IsDefaultVersion })
	if at < 0 {
		at = slices.IndexFunc(p.Versions, func(v version) bool { return p.DefaultVersionId != "" && v.VersionId == p.DefaultVersionId })
	}
	if at < 0 {
		b.policies = append(b.policies, &leastwisev1.Grant{Id: b.id("policy", p.Arn), Incomplete: "the snapshot lacks its default version"})
		return
	}
	b.policy(p.Arn, p.Versions[at].Document)
}

func (b *builder) attachments(arn string, managed []attached, inline []inline) (out attachments) {
	for _, a := range managed {
		out = append(out, b.id("policy", a.PolicyArn))
	}
	for _, i := range inline {
		out = append(out, b.policy(arn+"#"+i.PolicyName, i.PolicyDocument))
	}
	return out
}

func (b *builder) principal(arn string, all attachments, bound *boundary, missing []string) {
	grant := &leastwisev1.Grant{Id: b.id("principal", arn)}
	slices.Sort(all)
	for _, id := range slices.Compact(all) {
		grant.Attached = append(grant.Attached, &leastwisev1.Attachment{Grant: id})
	}
	if bound != nil && bound.PermissionsBoundaryArn != "" {
		grant.Boundary = []string{b.id("policy", bound.PermissionsBoundaryArn)}
	}
	if len(missing) > 0 {
		grant.Incomplete = fmt.Sprintf("the snapshot lacks %d of its groups, such as %s", len(missing), missing[0])
	}
	b.principals = append(b.principals, grant)
}
