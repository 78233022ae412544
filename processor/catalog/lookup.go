package catalog

import "slices"

// Owner finds an owner by id.
func (c *Catalog) Owner(id string) (*Owner, bool) {
	if c == nil {
		return nil, false
	}
	o, ok := c.owners[id]
	return o, ok
}

// System finds a system of record by id.
func (c *Catalog) System(id string) (*System, bool) {
	if c == nil {
		return nil, false
	}
	s, ok := c.systems[id]
	return s, ok
}

// SPIFFEIDs lists the SPIFFE IDs that some agent's rules name, each once.
func (c *Catalog) SPIFFEIDs() []string {
	var ids []string
	if c == nil {
		return nil
	}
	for _, a := range c.agents {
		for _, r := range a.rules {
			if r.kind == "spiffe" {
				ids = append(ids, r.principal)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
