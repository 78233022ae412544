package core

import (
	"maps"

	"github.com/leastwise/leastwise/processor/silence"
)

// Silence says which sources are silent, by silence.Key. What their credentials did not do is unknown from then on.
func (c *Core) Silence(silent map[string]silence.Silence) {
	if maps.Equal(silent, c.silent) {
		return
	}
	before := c.silent
	c.silent = silent
	c.Entries(func(e *Entry) {
		id := e.ID()
		key := silence.Key(id.System, id.Instance)
		if before[key] != silent[key] {
			c.touch(e)
		}
	})
}

// quiet is since when the credential's source is silent; zero if it is not.
func (c *Core) quiet(e *Entry) silence.Silence {
	if len(c.silent) == 0 {
		return silence.Silence{}
	}
	id := e.ID()
	return c.silent[silence.Key(id.System, id.Instance)]
}
