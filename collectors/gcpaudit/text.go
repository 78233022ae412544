package gcpaudit

import "github.com/leastwise/leastwise/collectors/jsonrecord"

const (
	maxName     = 256
	maxResource = 1024
)

// cache of what was built before, by the text it was made of. It forgets all when it is full.
type cache[V any] struct{ known map[string]V }

const maxCached = 8192

func (c *cache[V]) get(text []byte) (V, bool) {
	v, ok := c.known[string(text)]
	return v, ok
}

func (c *cache[V]) put(text []byte, v V) {
	if len(text) > maxResource {
		return
	}
	if c.known == nil || len(c.known) >= maxCached {
		c.known = make(map[string]V, 64)
	}
	c.known[string(text)] = v
}

// name is a text that many records have (a method, a permission, an address, a resource), built once.
func (d *Decoder) name(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if known, ok := d.texts.get(text); ok {
		return known
	}
	built := safe(text, maxResource)
	d.texts.put(text, built)
	return built
}

// resource is the name of what a call is about. It is not remembered: many are objects of which no other record tells.
func resource(name []byte) string {
	if len(name) == 0 {
		return ""
	}
	return safe(name, maxResource)
}

// safe is a text that may be shown; what looks like a token is blanked.
func safe(text []byte, limit int) string {
	if jsonrecord.Secret(text) {
		return blanked
	}
	return jsonrecord.Text(text, limit)
}

const blanked = "(blanked)"

func label(labels map[string]string, name string, value []byte) {
	jsonrecord.Label(labels, name, value)
}
