package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/rego/strictyaml"
)

// Query is what an issuer says of a credential.
type Query struct {
	// Principal is the identity key, system/instance/type/id.
	Principal string
	Source    string
	Type      string
	Labels    map[string]string
	Policies  []string
}

// Match is what the catalog says of it.
type Match struct {
	// Agent is nil if none is known. Of several agents of one owner it is the one with the closest rule.
	Agent  *Agent
	Owner  *Owner
	System *System
	// Evidence is the file:line of the rule that matched; of all of them if there is a conflict.
	Evidence string
	// Conflict says who else claims the credential; then Agent, Owner and System are nil.
	Conflict string
	// Protected: one of the agents that match is. In a conflict the doubt protects.
	Protected bool
}

// rule is one entry of an agent's match list; everything that it names must hold.
type rule struct {
	agent     *Agent
	principal string // id of the principal, such as the entity id, SPIFFE ID or ARN; or a whole identity key
	kind      string // what the principal must be: entity, spiffe, aws, gcp, account, agent; "" for a whole key
	cluster   string // of an account: the only cluster in which the rule holds; "" for all
	mount     string
	role      string
	labels    []label
	where     string
}

type label struct{ key, value string }

// anchor is the part of a rule that is looked up; the rest is then compared.
type anchor struct {
	kind byte // 'p' principal, 'r' role, 'l' label
	a, b string
}

func (r *rule) anchor() anchor {
	switch {
	case r.principal != "":
		return anchor{'p', r.principal, ""}
	case r.role != "":
		return anchor{'r', r.mount, r.role}
	}
	return anchor{'l', r.labels[0].key, r.labels[0].value}
}

// weight ranks rules of one owner: the one that names more is closer.
func (r *rule) weight() int {
	n := len(r.labels)
	if r.principal != "" {
		n += 4
	}
	if r.role != "" {
		n += 2
	}
	return n
}

// ruleKeys are the keys of an entry of match.
var ruleKeys = []string{"vault_entity", "vault_role", "metadata", "display_name", "spiffe_id", "aws_role",
	"gcp_service_account", "kubernetes_service_account", "agent_id", "label"}

func parseRule(p *strictyaml.Problems, n strictyaml.Node, agent *Agent) (rule, bool) {
	r := rule{agent: agent, where: where(n)}
	keys := p.Mapping(n, ruleKeys...)
	if keys == nil {
		return r, false
	}
	for _, id := range []struct{ key, kind, form string }{
		{"vault_entity", "entity", ""}, {"spiffe_id", "spiffe", "spiffe://"}, {"aws_role", "aws", "arn:"},
		{"gcp_service_account", "gcp", ""}, {"kubernetes_service_account", "account", ""}, {"agent_id", "agent", ""},
	} {
		v, ok := keys[id.key]
		if !ok {
			continue
		}
		if r.principal != "" {
			p.Addf(v, "a second identity in one entry; expected one, and another entry for the other")
			return r, false
		}
		r.kind = id.kind
		if id.kind == "account" {
			r.principal, r.cluster = parseAccount(p, v)
			continue
		}
		r.principal = p.Text(v)
		switch {
		case !strings.HasPrefix(r.principal, id.form):
			p.Addf(v, "%q; expected it to begin with %s", r.principal, id.form)
		case id.kind == "gcp" && !isServiceAccountEmail(r.principal):
			p.Addf(v, "%q; expected the email of a service account, such as ingest@project.iam.gserviceaccount.com", r.principal)
		case id.kind == "entity" && strings.Count(r.principal, "/") >= 3:
			r.kind = ""
		}
	}
	if v, ok := keys["vault_role"]; ok {
		role := p.Mapping(v, "mount", "role")
		r.mount, r.role = mountName(optionalText(p, role, "mount")), optionalText(p, role, "role")
		if r.mount == "" || r.role == "" {
			p.Addf(v, `mount or role is missing; expected {mount: "auth/approle/", role: "ingest"}`)
		}
	}
	if v, ok := keys["display_name"]; ok {
		r.labels = append(r.labels, label{"display_name", p.Text(v)})
	}
	for key, prefix := range map[string]string{"metadata": "meta.", "label": ""} {
		if v, ok := keys[key]; ok {
			for name, value := range p.Mapping(v, "*") {
				r.labels = append(r.labels, label{prefix + name, p.Scalar(value)})
			}
		}
	}
	slices.SortFunc(r.labels, func(a, b label) int { return strings.Compare(a.key, b.key) })
	if r.principal == "" && r.role == "" && len(r.labels) == 0 {
		p.Addf(n, "empty; expected at least one of %s", strings.Join(ruleKeys, ", "))
		return r, false
	}
	return r, true
}

// mountName makes "approle", "auth/approle" and "auth/approle/" one.
func mountName(mount string) string {
	return strings.TrimPrefix(strings.Trim(mount, "/"), "auth/")
}

func (r *rule) matches(q *Query, principalType, principalID string) bool {
	switch r.kind {
	case "entity":
		if principalType != "entity" || principalID != r.principal {
			return false
		}
	case "gcp":
		if strings.TrimPrefix(principalID, gcpMember) != r.principal {
			return false
		}
	case "account":
		if !r.isAccount(q, principalID) {
			return false
		}
	case "agent":
		if (principalType != "agent" || principalID != r.principal) && q.agentID() != r.principal {
			return false
		}
	case "spiffe", "aws":
		if principalID != r.principal {
			return false
		}
	default:
		if r.principal != "" && q.Principal != r.principal {
			return false
		}
	}
	if r.role != "" && (q.Labels["role_name"] != r.role || mountName(q.Labels["mount_point"]) != r.mount) {
		return false
	}
	for _, l := range r.labels {
		if q.Labels[l.key] != l.value {
			return false
		}
	}
	return true
}

// Resolve finds the agent of a credential and who answers for it. The zero Match means that nobody is known.
func (c *Catalog) Resolve(q Query) Match {
	if c == nil || len(c.anchors) == 0 {
		return Match{}
	}
	var one [4]*rule // most credentials match one rule or two
	found := c.find(&q, one[:0])
	if len(found) == 0 {
		return Match{}
	}
	return choose(found)
}

// find appends the rules that match; one may come twice, found by two ways.
func (c *Catalog) find(q *Query, found []*rule) []*rule {
	principalType, principalID := splitPrincipal(q.Principal)
	look := func(key anchor) {
		for _, r := range c.anchors[key] {
			if r.matches(q, principalType, principalID) {
				found = append(found, r)
			}
		}
	}
	if principalID != "" {
		look(anchor{'p', strings.TrimPrefix(principalID, gcpMember), ""})
		look(anchor{'p', q.Principal, ""})
	}
	if c.accounts && len(q.Labels) > 0 {
		if subject := q.Labels[subjectLabel]; subject != "" {
			look(anchor{'p', subject, ""})
		}
		if name := q.Labels[accountName]; name != "" {
			look(anchor{'p', ServiceAccountUser(q.Labels[accountNamespace], name), ""})
		}
	}
	if c.agentIDs {
		if id := q.agentID(); id != "" {
			look(anchor{'p', id, ""})
		}
	}
	if role := q.Labels["role_name"]; role != "" {
		look(anchor{'r', mountName(q.Labels["mount_point"]), role})
	}
	for _, key := range c.labels {
		if value, ok := q.Labels[key]; ok {
			look(anchor{'l', key, value})
		}
	}
	return found
}

// choose is independent of the order in which the rules were found.
func choose(found []*rule) Match {
	best := found[0]
	conflict, protected := false, false
	for _, r := range found {
		protected = protected || r.agent.Protected
		conflict = conflict || r.agent.Owner != best.agent.Owner || r.agent.System != best.agent.System
		if w, b := r.weight(), best.weight(); w > b || w == b && (r.agent.ID < best.agent.ID || r.agent == best.agent && r.where < best.where) {
			best = r
		}
	}
	if !conflict {
		return Match{Agent: best.agent, Owner: best.agent.Owner, System: best.agent.System, Evidence: best.where, Protected: protected}
	}
	claims := make([]string, 0, len(found))
	places := make([]string, 0, len(found))
	for _, r := range found {
		claim := fmt.Sprintf("agent %s of owner %s", r.agent.ID, r.agent.Owner.ID)
		if r.agent.System != nil {
			claim += " in system " + r.agent.System.ID
		}
		claims = append(claims, claim+" ("+r.where+")")
		places = append(places, r.where)
	}
	slices.Sort(claims)
	slices.Sort(places)
	return Match{Conflict: "claimed by " + strings.Join(slices.Compact(claims), " and "),
		Evidence: strings.Join(slices.Compact(places), ", "), Protected: protected}
}

// splitPrincipal gives the last two parts of system/instance/type/id; the id may hold slashes.
func splitPrincipal(key string) (kind, id string) {
	for part := 0; part < 2; part++ {
		slash := strings.IndexByte(key, '/')
		if slash < 0 {
			return "", ""
		}
		key = key[slash+1:]
	}
	kind, id, _ = strings.Cut(key, "/")
	return kind, id
}
