package catalog

import "github.com/leastwise/leastwise/rego/strictyaml"

// addSensitive reads one entry of `sensitive`.
func (c *Catalog) addSensitive(p *strictyaml.Problems, n strictyaml.Node) {
	keys := p.Mapping(n, "id", "name", "system", "instance", "resource", "permissions", "opens")
	id, at := needID(p, n, keys)
	s := &Sensitive{ID: id, Name: optionalText(p, keys, "name"), System: optionalText(p, keys, "system"),
		Instance: optionalText(p, keys, "instance"), Resource: optionalText(p, keys, "resource"),
		Opens: optionalText(p, keys, "opens"), Where: where(at)}
	if list, ok := keys["permissions"]; ok {
		s.Permissions = p.Texts(list)
	}
	if s.Name == "" {
		s.Name = id
	}
	if s.Instance == "" {
		s.Instance = "default"
	}
	switch {
	case keys == nil:
		return
	case s.System != "vault" && s.System != "cloudtrail" && s.System != "gcpaudit":
		p.Addf(at, "system %q; expected the source whose permissions lead to it: vault, cloudtrail or gcpaudit", s.System)
	case s.Resource == "":
		p.Addf(n, "sensitive %q has no resource; expected a path of Vault, an ARN, or a full resource name of GCP, with * for anything", id)
	case len(s.Permissions) == 0:
		p.Addf(n, "sensitive %q has no permissions; expected those of which any gives access, such as read, s3:GetObject or storage.objects.get", id)
	}
	var other string
	if taken := c.things[id]; taken != nil {
		other = taken.Where
	}
	if once(p, at, "sensitive", id, other) {
		c.things[id] = s
	}
}
