package core

import (
	"maps"
	"strings"

	"github.com/leastwise/leastwise/processor/silence"
)

// Silence says how the sources are read and which are silent, by silence.Key. What the credentials of a silent one did
// not do is unknown from then on.
func (c *Core) Silence(readings map[string]silence.Reading) {
	if maps.Equal(readings, c.reading) {
		return
	}
	before := c.reading
	c.reading = readings
	c.Entries(func(e *Entry) {
		key := sourceOf(e.Key)
		changed := before[key] != readings[key]
		if r := e.Reported(); r != nil {
			for _, source := range r.Sources {
				changed = changed || before[source] != readings[source]
			}
		}
		if changed {
			c.touch(e)
		}
	})
}

// quiet tells since when the credential's source is silent.
func (c *Core) quiet(e *Entry) silence.Reading { return c.reading[sourceOf(e.Key)] }

// sourceOf gives system/instance of a credential's key.
func sourceOf(key string) string {
	first := strings.IndexByte(key, '/')
	second := strings.IndexByte(key[first+1:], '/')
	if first < 0 || second < 0 {
		return key
	}
	return key[:first+1+second]
}
