package reach

import (
	"strings"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
)

// Node is a place on a path.
type Node struct {
	// Key of the credential, principal or sensitive thing; of everything and secrets: system/instance/everything.
	Key string `json:"key"`
	// Kind: credential, principal, role, user, service_account, vault_role, everything, secrets, sensitive.
	Kind string `json:"kind"`
	// Name for a reader.
	Name string `json:"name"`
	// Partly says why it may do more than is told; empty: all of its scope is known.
	Partly string `json:"partly,omitempty"`
}

// place is a Node with what may be done from it.
type place struct {
	Node
	system, instance string
	holder           string   // key of the principal, in its canonical form
	self             string   // the principal's name at its issuer
	policies         []string // own policies: ARNs of AWS, names of Vault
	powers           *scope.Powers
	flags            map[string]string  // SPIRE
	mask             bits               // AWS: what may be granted at all
	siblings         map[string]*target // the principals of its issuer, by name
}

// Start is who leaked.
type Start struct {
	// Credential is its key; empty when the question is about a principal.
	Credential string
	Principal  string
	Policies   []string
	Labels     map[string]string
	// Powers in place of what is granted now, for the question what a narrower scope would leave. nil: as granted.
	Powers *scope.Powers
}

func (m *Map) start(s Start) *place {
	key, err := schemas.ParseKey(s.Credential)
	kind, name := "credential", s.Credential
	if err != nil {
		key, err = schemas.ParseKey(s.Principal)
		if err != nil {
			return &place{Node: Node{Key: s.Principal, Kind: "principal", Name: s.Principal, Partly: "nothing is known of it"},
				powers: &scope.Powers{}}
		}
		key.ID, kind, name = "", "principal", s.Principal
	}
	p := &place{Node: Node{Key: name, Kind: kind, Name: name}, system: key.System, instance: key.Instance, flags: s.Labels, policies: s.Policies}
	if of, err := schemas.ParseKey(Canonical(s.Principal)); err == nil {
		p.holder, p.self = of.String(), of.ID
		if t := m.find(p.holder); t != nil {
			p.self = t.name
		}
	}
	p.powers = s.Powers
	if p.powers == nil {
		p.powers = m.Grants.Powers(scope.Query{Credential: key, Principal: s.Principal, Policies: s.Policies, Labels: s.Labels})
	}
	if t := m.find(s.Principal); t != nil && t.grant != nil && key.System == "cloudtrail" {
		p.policies = ownPolicies(t)
	}
	return m.finish(p)
}

func ownPolicies(t *target) (out []string) {
	for _, a := range t.grant.Attached {
		if key, err := schemas.ParseKey(a.Grant); err == nil && !strings.Contains(key.ID, "#") {
			out = append(out, key.ID) // an inline policy has no versions
		}
	}
	return out
}

// place of a principal that was reached.
func (m *Map) place(t *target) *place {
	p := &place{Node: Node{Key: t.key, Kind: t.kind, Name: t.name}, system: t.system, instance: t.instance, holder: t.key, self: t.name}
	if t.role != nil {
		p.policies = t.role.Policies
		p.powers = m.Grants.Scope("vault", t.instance, t.role.Policies).Powers()
		return m.finish(p)
	}
	p.powers = m.Grants.Powers(scope.Query{Credential: schemas.Key{System: t.system, Instance: t.instance, Type: "principal"}, Principal: t.grant.Id})
	if t.system == "cloudtrail" {
		p.policies = ownPolicies(t)
	}
	return m.finish(p)
}

func (m *Map) finish(p *place) *place {
	if !p.powers.Known {
		p.Partly = p.powers.Why
	}
	p.siblings = m.issuers[issuer{p.system, p.instance, "principal"}]
	if len(p.powers.Layers) > 0 {
		p.mask = m.possible.granted(p.powers.Layers[0])
	}
	return p
}

// everythingOf an issuer, and its secrets, are places that lead no further by themselves.
func everythingOf(p *place, kind string) *Node {
	name := map[string]string{everything: "everything in " + p.system + "/" + p.instance, secrets: "secrets held in " + p.system + "/" + p.instance}[kind]
	return &Node{Key: p.system + "/" + p.instance + "/" + kind, Kind: kind, Name: name}
}
