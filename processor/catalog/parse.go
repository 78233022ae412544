package catalog

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/leastwise/leastwise/rego/strictyaml"
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$`)

// pending is an agent whose owner and system may stand in another file.
type pending struct {
	agent         *Agent
	owner, system strictyaml.Node
	ownerID       string
	systemID      string
}

func parse(files []file) (*Catalog, error) {
	c := &Catalog{owners: map[string]*Owner{}, systems: map[string]*System{}, agents: map[string]*Agent{}, things: map[string]*Sensitive{},
		revision: hash(files), anchors: map[anchor][]*rule{}}
	var p strictyaml.Problems
	var agents []pending
	for _, f := range files {
		docs, err := strictyaml.Parse(f.name, f.data)
		if err != nil {
			p.Add(err)
			continue
		}
		if len(docs) == 0 {
			p.Add(&strictyaml.Error{File: f.name, Line: 1, Text: "empty; expected owners, systems, agents or sensitive"})
		}
		for _, doc := range docs {
			keys := p.Mapping(doc, "owners", "systems", "agents", "sensitive")
			if n, ok := keys["owners"]; ok {
				for _, item := range p.List(n) {
					c.addOwner(&p, item)
				}
			}
			if n, ok := keys["systems"]; ok {
				for _, item := range p.List(n) {
					c.addSystem(&p, item)
				}
			}
			if n, ok := keys["sensitive"]; ok {
				for _, item := range p.List(n) {
					c.addSensitive(&p, item)
				}
			}
			if n, ok := keys["agents"]; ok {
				for _, item := range p.List(n) {
					agents = append(agents, c.addAgent(&p, item))
				}
			}
		}
	}
	for _, a := range agents {
		if a.ownerID != "" {
			if a.agent.Owner = c.owners[a.ownerID]; a.agent.Owner == nil {
				p.Addf(a.owner, "%q is no owner of the catalog; expected the id of one under owners", a.ownerID)
			}
		}
		if a.systemID != "" {
			if a.agent.System = c.systems[a.systemID]; a.agent.System == nil {
				p.Addf(a.system, "%q is no system of the catalog; expected the id of one under systems", a.systemID)
			}
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	for _, a := range c.Agents() {
		for i := range a.rules {
			r := &a.rules[i]
			key := r.anchor()
			c.anchors[key] = append(c.anchors[key], r)
			c.accounts = c.accounts || r.kind == "account"
			c.agentIDs = c.agentIDs || r.kind == "agent"
			if key.kind == 'l' && !slices.Contains(c.labels, key.a) {
				c.labels = append(c.labels, key.a)
			}
		}
	}
	return c, nil
}

func where(n strictyaml.Node) string { return fmt.Sprintf("%s:%d", n.File(), n.Line()) }

// needID reads an id and the line it stands on.
func needID(p *strictyaml.Problems, n strictyaml.Node, keys map[string]strictyaml.Node) (string, strictyaml.Node) {
	id, ok := keys["id"]
	if !ok {
		if keys != nil {
			p.Addf(n, "id is missing; expected a short name without spaces")
		}
		return "", n
	}
	text := p.Text(id)
	if text != "" && !idForm.MatchString(text) {
		p.Addf(id, "%q; expected letters, digits, '.', '_', '@' and '-', at most 100", text)
	}
	return text, id
}

// once refuses an id that is taken.
func once(p *strictyaml.Problems, n strictyaml.Node, kind, id, other string) bool {
	if other != "" {
		p.Addf(n, "%s %q is also at %s; expected each id once", kind, id, other)
	}
	return other == ""
}

func optionalText(p *strictyaml.Problems, keys map[string]strictyaml.Node, key string) string {
	if n, ok := keys[key]; ok {
		return p.Text(n)
	}
	return ""
}

func (c *Catalog) addOwner(p *strictyaml.Problems, n strictyaml.Node) {
	keys := p.Mapping(n, "id", "name", "channels", "email", "slack")
	id, at := needID(p, n, keys)
	o := &Owner{ID: id, Name: optionalText(p, keys, "name"), Email: optionalText(p, keys, "email"),
		Slack: optionalText(p, keys, "slack"), Where: where(at)}
	if list, ok := keys["channels"]; ok {
		o.Channels = p.Texts(list)
	}
	if o.Name == "" {
		o.Name = id
	}
	var other string
	if taken := c.owners[id]; taken != nil {
		other = taken.Where
	}
	if once(p, at, "owner", id, other) {
		c.owners[id] = o
	}
}

func (c *Catalog) addSystem(p *strictyaml.Problems, n strictyaml.Node) {
	keys := p.Mapping(n, "id", "name", "url")
	id, at := needID(p, n, keys)
	var other string
	if taken := c.systems[id]; taken != nil {
		other = taken.Where
	}
	if once(p, at, "system", id, other) {
		c.systems[id] = &System{ID: id, Name: optionalText(p, keys, "name"), URL: optionalText(p, keys, "url"), Where: where(at)}
	}
}

func (c *Catalog) addAgent(p *strictyaml.Problems, n strictyaml.Node) pending {
	keys := p.Mapping(n, "id", "name", "owner", "system", "match", "expected_use", "labels", "protected")
	id, at := needID(p, n, keys)
	a := &Agent{ID: id, Name: optionalText(p, keys, "name"), Where: where(at)}
	out := pending{agent: a, owner: keys["owner"], system: keys["system"],
		ownerID: optionalText(p, keys, "owner"), systemID: optionalText(p, keys, "system")}
	if _, ok := keys["owner"]; !ok && keys != nil {
		p.Addf(n, "agent %q has no owner; expected owner: the id of one under owners", id)
	}
	if m, ok := keys["expected_use"]; ok {
		a.ExpectedPerHour = expectedUse(p, m)
	}
	if m, ok := keys["labels"]; ok {
		a.Labels = map[string]string{}
		for key, v := range p.Mapping(m, "*") {
			a.Labels[key] = p.Scalar(v)
		}
	}
	if m, ok := keys["protected"]; ok {
		a.Protected = p.Bool(m)
	}
	if m, ok := keys["match"]; ok {
		for _, item := range p.List(m) {
			if r, ok := parseRule(p, item, a); ok {
				a.rules = append(a.rules, r)
			}
		}
	} else if keys != nil {
		p.Addf(n, "agent %q has no match; expected a list of what its credentials are known by", id)
	}
	var other string
	if taken := c.agents[id]; taken != nil {
		other = taken.Where
	}
	if once(p, at, "agent", id, other) {
		c.agents[id] = a
	}
	return out
}

func expectedUse(p *strictyaml.Problems, n strictyaml.Node) float64 {
	keys := p.Mapping(n, "per_hour", "per_day")
	if keys != nil && len(keys) != 1 {
		p.Addf(n, "%d rates; expected one of per_hour, per_day", len(keys))
	}
	for name, v := range keys {
		rate := p.Number(v)
		if rate <= 0 {
			p.Addf(v, "%v; expected a number above 0", rate)
		}
		if name == "per_day" {
			rate /= 24
		}
		return rate
	}
	return 0
}
