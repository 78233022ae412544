package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/iam/v1"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// change is what Reissue does and Rollback takes back, as JSON in
// Reissue.previous. Old bindings are named, never the whole policy: others
// change it meanwhile.
type change struct {
	Project string `json:"project"`
	Member  string `json:"member"`
	// Remove are roles the member loses; Add those it gets in their place,
	// without any that it has already.
	Remove []string `json:"remove"`
	Add    []string `json:"add"`
}

const fullView = "FULL"

// Plan says which roles of the account on its project could be smaller.
func (t *Target) Plan(ctx context.Context, d *pb.Decision) (*pb.Reissue, string, error) {
	key, err := schemas.ParseKey(d.GetCredential())
	if err != nil || key.Type != typeKey {
		return nil, "only the account of a service-account key is narrowed", nil
	}
	used := permissions(d.GetProposal())
	switch {
	case !t.cfg.Narrow:
		return nil, "roles are left as they are (enforcer.gcp.narrow)", nil
	case d.GetProposal().GetIncomplete() != "":
		return nil, "the observed use is not known whole: " + d.GetProposal().GetIncomplete(), nil
	case len(used) == 0:
		return nil, "no observed use is known, so that no smaller role can be named", nil
	}
	name, err := t.name(ctx, target.Credential{Key: d.GetCredential()})
	if errors.Is(err, errUnknown) {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	if others, err := t.others(ctx, name); err != nil || others > 0 {
		return nil, fmt.Sprintf("the account has %d other enabled keys, whose use this credential's does not tell", others), err
	}
	project := strings.Split(strings.TrimPrefix(name, "projects/"), "/")[0]
	c := change{Project: project, Member: "serviceAccount:" + accountOf(name)}
	policy, err := t.policy(ctx, project)
	if err != nil {
		return nil, "", err
	}
	plan := &pb.Reissue{PolicyName: "projects/" + project + " " + c.Member}
	said, err := t.narrow(ctx, policy, &c, used, plan)
	if err != nil {
		return nil, "", err
	}
	if len(c.Remove) == 0 {
		return nil, "no role of " + c.Member + " on " + project + " can be smaller: " + said, nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, "", impossible("note the account's roles", err)
	}
	plan.Previous, plan.Narrowed = string(raw), said
	plan.PolicyText = "remove " + strings.Join(c.Remove, ", ") + "; add " + or(strings.Join(c.Add, ", "), "nothing")
	return plan, "", nil
}

// others counts the account's other keys that are enabled.
func (t *Target) others(ctx context.Context, name string) (int, error) {
	account, _, _ := strings.Cut(name, "/keys/")
	list, err := t.keysOf(ctx, account)
	n := 0
	for _, k := range list {
		if k.Name != name && t.state(k, k.Name).Status == target.Alive {
			n++
		}
	}
	return n, err
}

// permissions that observed use justifies.
func permissions(p *pb.Proposal) map[string]bool {
	used := map[string]bool{}
	for _, rule := range p.GetRules() {
		for _, name := range append(slices.Clone(rule.Actions), rule.Capabilities...) {
			if strings.Count(name, ".") >= 2 && !strings.Contains(name, "*") {
				used[name] = true
			}
		}
	}
	return used
}

// narrow fills in the change, role by role.
func (t *Target) narrow(ctx context.Context, policy *cloudresourcemanager.Policy, c *change, used map[string]bool, plan *pb.Reissue) (string, error) {
	var said []string
	var candidates []*iam.Role
	has := rolesOf(policy, c.Member)
	for _, role := range has {
		granted, err := t.role(ctx, role)
		if err != nil {
			return "", err
		}
		plan.GrantedBefore += uint32(len(granted))
		var keep []string
		for _, p := range granted {
			if used[p] {
				keep = append(keep, p)
			}
		}
		if len(keep) == 0 {
			c.Remove = append(c.Remove, role)
			said = append(said, role+" is removed: none of its "+fmt.Sprint(len(granted))+" permissions was used")
			continue
		}
		if candidates == nil {
			if candidates, err = t.candidates(ctx, c.Project); err != nil {
				return "", err
			}
		}
		best := smallest(candidates, granted, keep)
		if best == nil || len(best.IncludedPermissions) >= len(granted) {
			plan.GrantedAfter += uint32(len(granted))
			said = append(said, role+" stays: no smaller predefined role holds what was used")
			continue
		}
		c.Remove = append(c.Remove, role)
		if !slices.Contains(has, best.Name) && !slices.Contains(c.Add, best.Name) {
			c.Add = append(c.Add, best.Name)
			plan.GrantedAfter += uint32(len(best.IncludedPermissions))
		}
		said = append(said, fmt.Sprintf("%s (%d permissions) becomes %s (%d), of which %d were used", role, len(granted), best.Name, len(best.IncludedPermissions), len(keep)))
	}
	if len(has) == 0 {
		said = append(said, "it has none there without a condition")
	}
	return strings.Join(said, "; "), nil
}

// rolesOf are the roles that a member has without a condition. Those with one
// stay: what they give is not known here.
func rolesOf(policy *cloudresourcemanager.Policy, member string) []string {
	var list []string
	for _, b := range policy.Bindings {
		if b.Condition == nil && slices.Contains(b.Members, member) {
			list = append(list, b.Role)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// smallest of the predefined roles that hold all of keep and nothing but what
// is granted.
func smallest(candidates []*iam.Role, granted, keep []string) *iam.Role {
	within := map[string]bool{}
	for _, p := range granted {
		within[p] = true
	}
	var best *iam.Role
	for _, role := range candidates {
		n := len(role.IncludedPermissions)
		if !strings.HasPrefix(role.Name, "roles/") || role.Deleted || n == 0 ||
			best != nil && (n > len(best.IncludedPermissions) || n == len(best.IncludedPermissions) && role.Name > best.Name) {
			continue
		}
		missing := slices.ContainsFunc(keep, func(p string) bool { return !slices.Contains(role.IncludedPermissions, p) })
		broader := slices.ContainsFunc(role.IncludedPermissions, func(p string) bool { return !within[p] })
		if !missing && !broader {
			best = role
		}
	}
	return best
}

func (t *Target) role(ctx context.Context, name string) ([]string, error) {
	r, err := call(ctx, t, "read what a role holds", name, "iam.roles.get", func(ctx context.Context) (*iam.Role, error) {
		if strings.HasPrefix(name, "projects/") {
			return t.iam.Projects.Roles.Get(name).Context(ctx).Do()
		}
		if strings.HasPrefix(name, "organizations/") {
			return t.iam.Organizations.Roles.Get(name).Context(ctx).Do()
		}
		return t.iam.Roles.Get(name).Context(ctx).Do()
	})
	if err != nil {
		return nil, err
	}
	return r.IncludedPermissions, nil
}

// candidates are the roles that can be given on the project.
func (t *Target) candidates(ctx context.Context, project string) ([]*iam.Role, error) {
	var list []*iam.Role
	resource := "//cloudresourcemanager.googleapis.com/projects/" + project
	for token := ""; ; {
		page, err := call(ctx, t, "list the roles that can be given", resource, "iam.roles.list", func(ctx context.Context) (*iam.QueryGrantableRolesResponse, error) {
			return t.iam.Roles.QueryGrantableRoles(&iam.QueryGrantableRolesRequest{FullResourceName: resource, View: fullView, PageSize: 1000, PageToken: token}).Context(ctx).Do()
		})
		if err != nil {
			return nil, err
		}
		list = append(list, page.Roles...)
		if token = page.NextPageToken; token == "" {
			return list, nil
		}
	}
}

// policy with version 3, or conditions of bindings would be lost on the way
// back.
func (t *Target) policy(ctx context.Context, project string) (*cloudresourcemanager.Policy, error) {
	return call(ctx, t, "read the project's policy", "projects/"+project, "resourcemanager.projects.getIamPolicy", func(ctx context.Context) (*cloudresourcemanager.Policy, error) {
		return t.manager.Projects.GetIamPolicy(project, &cloudresourcemanager.GetIamPolicyRequest{
			Options: &cloudresourcemanager.GetPolicyOptions{RequestedPolicyVersion: 3}}).Context(ctx).Do()
	})
}

// Reissue puts the smaller roles in place. Done twice it changes nothing more.
func (t *Target) Reissue(ctx context.Context, _ string, _ *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	c, err := decode(plan)
	if err != nil {
		return nil, err
	}
	return plan, t.apply(ctx, c.Project, c.Member, c.Remove, c.Add)
}

// Rollback gives the former roles back and takes those that were put in their
// place.
func (t *Target) Rollback(ctx context.Context, done *pb.Reissue) error {
	c, err := decode(done)
	if err != nil {
		return err
	}
	return t.apply(ctx, c.Project, c.Member, c.Add, c.Remove)
}

func decode(r *pb.Reissue) (change, error) {
	var c change
	if err := json.Unmarshal([]byte(r.GetPrevious()), &c); err != nil || c.Project == "" || c.Member == "" {
		return c, impossible("read the plan", errors.New("the journal's plan is none of this target"))
	}
	return c, nil
}

// apply writes one policy with the etag it was read with: a change in between
// makes it fail, and the next try reads anew.
func (t *Target) apply(ctx context.Context, project, member string, remove, add []string) error {
	policy, err := t.policy(ctx, project)
	if err != nil {
		return err
	}
	if policy.Etag == "" {
		return impossible("write the project's policy", errors.New("it came without an etag, and without one a change by somebody else would be lost"))
	}
	changed := false
	for _, b := range policy.Bindings {
		if at := slices.Index(b.Members, member); b.Condition == nil && slices.Contains(remove, b.Role) && at >= 0 {
			b.Members = slices.Delete(b.Members, at, at+1)
			changed = true
		}
	}
	policy.Bindings = slices.DeleteFunc(policy.Bindings, func(b *cloudresourcemanager.Binding) bool { return len(b.Members) == 0 })
	for _, role := range add {
		changed = bind(policy, member, role) || changed
	}
	if !changed {
		return nil
	}
	policy.Version = 3
	_, err = call(ctx, t, "write the project's policy", "projects/"+project, "resourcemanager.projects.setIamPolicy", func(ctx context.Context) (*cloudresourcemanager.Policy, error) {
		return t.manager.Projects.SetIamPolicy(project, &cloudresourcemanager.SetIamPolicyRequest{Policy: policy}).Context(ctx).Do()
	})
	if status(err, http.StatusNotFound) {
		return impossible("write the project's policy", errors.New("the project does not exist any more"))
	}
	return err
}

func bind(policy *cloudresourcemanager.Policy, member, role string) (changed bool) {
	for _, b := range policy.Bindings {
		if b.Condition == nil && b.Role == role {
			if slices.Contains(b.Members, member) {
				return false
			}
			b.Members = append(b.Members, member)
			return true
		}
	}
	policy.Bindings = append(policy.Bindings, &cloudresourcemanager.Binding{Role: role, Members: []string{member}})
	return true
}
