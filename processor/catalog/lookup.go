package catalog

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
