package scope

import (
	"slices"

	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Through lists, for every permission, the names of the policies or roles of a cloud that grant it. What a boundary, a
// session or a deny takes away is still named: Credential says what is left.
func (g *Grants) Through(q Query) map[string][]string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	out := map[string][]string{}
	add := func(by string, names ...[]string) {
		for _, permission := range slices.Concat(names...) {
			if !slices.Contains(out[permission], by) {
				out[permission] = append(out[permission], by)
			}
		}
	}
	key := q.Credential
	c := cloudScope{grants: g, query: q}
	principal := g.principal(key.System, key.Instance, q.principal())
	switch key.System {
	case aws:
		ids := c.policies()
		if principal != nil {
			ids = nil
			for _, a := range principal.Attached {
				ids = append(ids, a.Grant)
			}
		}
		for _, id := range ids {
			if grant := g.grants[id]; grant != nil && !grant.Deleted {
				granted := iam.Evaluate(grant.Rules)
				allow, conditional := granted.Names()
				add(name(id), allow, conditional, granted.Unknown())
			}
		}
	case google:
		attached, _ := g.attached(principal, key.Instance, q.principal())
		if principal == nil {
			for _, id := range c.policies() {
				attached = append(attached, &pb.Attachment{Grant: id})
			}
		}
		for _, a := range attached {
			b := gcp.Binding{Role: name(a.Grant), Resource: a.Resource, Conditional: a.Conditional}
			if grant := g.grants[a.Grant]; grant != nil {
				b.Rules = grant.Rules
			}
			granted, _ := gcp.Evaluate([]gcp.Binding{b}, nil)
			allow, conditional := granted.Names()
			add(b.Role, allow, conditional, granted.Unknown())
		}
	}
	return out
}
