package scope

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Powers answers what a credential or a principal may do on a resource. It counts nothing, and so costs less than a Scope.
type Powers struct {
	// Known tells that nothing is missing; Why says what is. What is unknown may grant more than On says.
	Known bool
	Why   string
	// Rules are Vault's; nil for the others.
	Rules []Rule
	// Layers are AWS's statements: those of the policies, of their boundary, of the session. nil for the others.
	Layers [][]*pb.Rule

	on     func(permission, resource string) level.Verdict
	places func(permission string) []string
}

// On tells whether a permission is granted on a resource, which may be a pattern, of which some is enough; "" asks for
// any at all. A permission of Vault is a capability, its resource a path.
func (p *Powers) On(permission, resource string) level.Verdict {
	if p.on == nil {
		return level.No
	}
	return p.on(permission, resource)
}

// Places are the patterns of resources, or the resources of GCP, on which a permission may be granted: nothing that On
// grants lies outside of them. "*" is everywhere.
func (p *Powers) Places(permission string) []string {
	if p.places == nil {
		return nil
	}
	return p.places(permission)
}

// Powers of a credential or a principal.
func (g *Grants) Powers(q Query) *Powers {
	switch key := q.Credential; key.System {
	case aws, google:
		g.mu.RLock()
		defer g.mu.RUnlock()
		c := cloudScope{grants: g, query: q}
		p := &Powers{}
		if key.System == aws {
			layers := c.awsLayers()
			p.Layers = layers
			p.on = func(permission, resource string) level.Verdict { return iam.On(layers, permission, resource) }
			p.places = func(permission string) []string { return iam.Places(layers[0], permission) }
		} else {
			bindings, denies := c.googleBindings()
			p.on = func(permission, resource string) level.Verdict { return gcp.On(bindings, denies, permission, resource) }
			p.places = func(permission string) []string { return gcp.Places(bindings, permission) }
		}
		p.Known, p.Why = len(c.missing) == 0, strings.Join(c.missing, "; ")
		return p
	default:
		return g.Scope(key.System, key.Instance, q.Policies).Powers()
	}
}

// Powers of a scope of Vault.
func (s *Scope) Powers() *Powers {
	return &Powers{Known: s.Known, Why: s.Why, Rules: s.Rules, on: s.onPath, places: func(capability string) (out []string) {
		for _, rule := range s.Rules {
			if slices.Contains(rule.Capabilities, capability) {
				out = append(out, rule.Resource)
			}
		}
		return out
	}}
}

func (s *Scope) onPath(permission, resource string) level.Verdict {
	if resource == "" || strings.ContainsAny(resource, "*+") {
		return s.onPattern(permission, resource)
	}
	i := s.granting(resource, permission)
	if i < 0 || !slices.Contains(s.Rules[i].Capabilities, permission) {
		return level.No
	}
	if needsSudo(resource) && !slices.Contains(s.Rules[i].Capabilities, "sudo") {
		return level.No
	}
	if strings.Contains(s.Rules[i].Resource, "{{") {
		return level.Perhaps
	}
	return level.Yes
}

// onPattern: a + is taken for a *, which may cover more, and then the answer is only perhaps.
func (s *Scope) onPattern(capability, pattern string) level.Verdict {
	out := level.No
	for _, rule := range s.Rules {
		if !slices.Contains(rule.Capabilities, capability) {
			continue
		}
		if pattern != "" && !iam.Overlap(wide(pattern), wide(rule.Resource)) {
			continue
		}
		if strings.Contains(rule.Resource, "{{") || strings.Contains(rule.Resource+pattern, "+") {
			out = max(out, level.Perhaps)
		} else {
			out = level.Yes
		}
	}
	return out
}

func wide(pattern string) string {
	for {
		from := strings.Index(pattern, "{{")
		to := strings.Index(pattern, "}}")
		if from < 0 || to < from {
			return strings.ReplaceAll(pattern, "+", "*")
		}
		pattern = pattern[:from] + "*" + pattern[to+2:]
	}
}

// PowersOf gives what rules as Use and a proposal have them would grant at an issuer.
func PowersOf(system string, rules []Rule) *Powers {
	p := &Powers{Known: true}
	switch system {
	case aws:
		var statements []*pb.Rule
		for _, rule := range rules {
			statements = append(statements, &pb.Rule{Actions: rule.Capabilities, Resources: strings.Fields(rule.Resource)})
		}
		p.Layers = [][]*pb.Rule{statements}
		p.on = func(permission, resource string) level.Verdict { return iam.On(p.Layers, permission, resource) }
		p.places = func(permission string) []string { return iam.Places(statements, permission) }
	case google:
		var bindings []gcp.Binding
		for _, rule := range rules {
			for _, resource := range strings.Fields(rule.Resource) {
				bindings = append(bindings, gcp.Binding{Rules: []*pb.Rule{{Actions: rule.Capabilities}}, Resource: resource})
			}
		}
		p.on = func(permission, resource string) level.Verdict { return gcp.On(bindings, nil, permission, resource) }
		p.places = func(permission string) []string { return gcp.Places(bindings, permission) }
	default:
		return (&Scope{Known: true, Rules: rules}).Powers()
	}
	return p
}

// Principals calls fn for each principal of a cloud that an inventory told and that is not deleted, in no order, until fn
// gives false. fn must not call g.
func (g *Grants) Principals(system string, fn func(*pb.Grant) bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, list := range g.principals {
		for _, grant := range list {
			if !grant.Deleted && strings.HasPrefix(grant.Id, system+"/") && !fn(grant) {
				return
			}
		}
	}
}

// Grant gives what is known under an id, or nil.
func (g *Grants) Grant(id string) *pb.Grant {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.grants[id]
}

// Permission gives what a call, as an event names it, needs of the scope, and on which resource; "" if it needs none, or
// if no record tells the resource in the form in which grants have it.
func Permission(system, permission, resource string) (name, on string) {
	switch system {
	case "vault":
		operation, _, _ := strings.Cut(permission, " ")
		return capability(operation), resource
	case aws:
		if !strings.HasPrefix(resource, "arn:") {
			resource = ""
		}
		return iam.ActionOf(permission), resource
	case google:
		if !strings.HasPrefix(resource, "//") {
			resource = ""
		}
	}
	return permission, resource
}

// Canonical gives a principal of a source one name, however the source writes it.
func Canonical(system, principal string) string { return canonical(system, principal) }
