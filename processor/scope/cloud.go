package scope

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Sources whose credentials act as a principal of a cloud.
const (
	aws    = "cloudtrail"
	google = "gcpaudit"
)

// cloudScope collects what a cloud's credential is granted, and what is missing.
type cloudScope struct {
	grants  *Grants // its lock is held
	query   Query
	missing []string
}

func (c *cloudScope) lacks(text string) { c.missing = append(c.missing, text) }

func (c *cloudScope) scope(granted granted) *Scope {
	slices.Sort(c.missing)
	missing := slices.Compact(c.missing)
	return &Scope{Known: len(missing) == 0, Why: strings.Join(missing, "; "), Figures: granted.Figures(), cloud: granted}
}

// aws: the union of what is attached to the principal, within its permissions boundary, within the session's policies.
func (c *cloudScope) aws() *Scope {
	layers := c.awsLayers()
	granted := iam.Evaluate(layers[0])
	for _, bound := range layers[1:] {
		granted = granted.Within(iam.Evaluate(bound))
	}
	return c.scope(granted)
}

// awsLayers are the statements of which each has to grant. Where no inventory tells the principal's policies, what the
// credential's own records name is all that is known.
func (c *cloudScope) awsLayers() [][]*pb.Rule {
	key, policies := c.query.Credential, c.policies()
	principal := c.grants.principal(aws, key.Instance, c.query.principal())
	var layers [][]*pb.Rule
	switch {
	case isRoot(c.query.principal()):
		layers = append(layers, []*pb.Rule{{Actions: []string{"*"}, Resources: []string{"*"}}})
	case principal != nil:
		var ids []string
		for _, a := range principal.Attached {
			ids = append(ids, a.Grant)
		}
		layers = append(layers, c.statements(ids))
		if len(principal.Boundary) > 0 && !principal.Deleted {
			layers = append(layers, c.statements(principal.Boundary))
		}
		if principal.Incomplete != "" {
			c.lacks(principal.Incomplete)
		}
	case len(policies) == 0:
		c.lacks("no inventory tells the policies of " + c.query.named())
		return [][]*pb.Rule{nil}
	case c.query.temporary():
		c.lacks("no inventory tells the policies of " + c.query.named() + ", within which those of the session apply")
		return [][]*pb.Rule{c.statements(policies)}
	default:
		return [][]*pb.Rule{c.statements(policies)}
	}
	if c.query.cut() {
		c.lacks("the session was cut down by a policy that was not fetched")
	}
	if len(policies) > 0 && c.query.temporary() {
		layers = append(layers, c.statements(policies))
	}
	return layers
}

// policies that the credential's records name, as ids of grants.
func (c *cloudScope) policies() []string {
	key := c.query.Credential
	out := make([]string, len(c.query.Policies))
	for i, name := range c.query.Policies {
		out[i] = key.System + "/" + key.Instance + "/policy/" + name
	}
	return out
}

// statements of AWS policies.
func (c *cloudScope) statements(ids []string) (rules []*pb.Rule) {
	for _, id := range ids {
		grant := c.grants.grants[id]
		switch {
		case grant == nil:
			c.lacks(name(id) + " not fetched")
			continue
		case grant.Deleted:
			continue // a policy that does not exist grants nothing
		case grant.Incomplete != "":
			c.lacks(name(id) + ": " + grant.Incomplete)
		}
		for _, rule := range grant.Rules {
			if len(rule.Actions)+len(rule.NotActions) == 0 {
				c.lacks(name(id) + ": a statement tells no actions")
			}
			rules = append(rules, rule)
		}
	}
	return rules
}

// google: the union of the roles bound to the principal, by the last inventory and by what changed since.
func (c *cloudScope) google() *Scope {
	bindings, denies := c.googleBindings()
	granted, missing := gcp.Evaluate(bindings, denies)
	for _, role := range missing {
		c.lacks(role + " not fetched")
	}
	return c.scope(granted)
}

func (c *cloudScope) googleBindings() ([]gcp.Binding, []*pb.Rule) {
	key := c.query.Credential
	principal := c.grants.principal(google, key.Instance, c.query.principal())
	attached, denies := c.grants.attached(principal, key.Instance, c.query.principal())
	switch {
	case principal == nil && len(attached) == 0 && len(c.query.Policies) == 0:
		c.lacks("no inventory tells the roles of " + c.query.named())
	case principal == nil && len(c.query.Policies) == 0:
		c.lacks("no inventory tells the roles of " + c.query.named() + "; these are those that the log saw given")
	case principal != nil && principal.Incomplete != "":
		c.lacks(principal.Incomplete)
	}
	if principal == nil {
		for _, id := range c.policies() {
			attached = append(attached, &pb.Attachment{Grant: id})
		}
	}
	bindings := make([]gcp.Binding, 0, len(attached))
	for _, a := range attached {
		b := gcp.Binding{Role: name(a.Grant), Resource: a.Resource, Conditional: a.Conditional}
		if grant := c.grants.grants[a.Grant]; grant != nil {
			if grant.Incomplete != "" {
				c.lacks(b.Role + ": " + grant.Incomplete)
			}
			b.Rules = grant.Rules
			if grant.Deleted || b.Rules == nil {
				b.Rules = []*pb.Rule{}
			}
		}
		bindings = append(bindings, b)
	}
	return bindings, denies
}

// name is what comes after system/instance/kind/ in the id of a grant.
func name(id string) string {
	parts := strings.SplitN(id, "/", 4)
	return parts[len(parts)-1]
}

// used gives what calls needed of a cloud's scope, each permission once, under the resource patterns it is granted on.
func (s *Scope) used(usages []Usage) []Rule {
	by := map[string][]string{}
	for _, use := range s.cloud.Used(calls(usages)) {
		resource := strings.Join(use.Resources, " ")
		by[resource] = append(by[resource], use.Permission)
	}
	out := make([]Rule, 0, len(by))
	for resource, permissions := range by {
		slices.Sort(permissions)
		out = append(out, Rule{resource, slices.Compact(permissions)})
	}
	slices.SortFunc(out, func(a, b Rule) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

// calls of a cloud name no path apart from what was done.
func calls(usages []Usage) []string {
	out := make([]string, len(usages))
	for i, usage := range usages {
		out[i] = usage.Operation
	}
	return out
}
