package iam

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/processor/scope/level"
)

//go:embed actions.json.gz
var packed []byte

// actions is the list of all actions, read when it is first asked for.
var actions = sync.OnceValue(func() *catalogue {
	c, err := read(packed)
	if err != nil {
		panic(fmt.Errorf("the embedded list of AWS actions: %w", err)) // the binary is broken
	}
	return c
})

// catalogue is the list of actions. All but the patterns is never changed.
type catalogue struct {
	names    []string // sorted
	lower    []string
	levels   []level.Level
	services map[string]span   // by lower-case prefix, without the colon
	places   map[string]uint16 // by lower-case name

	mu       sync.RWMutex
	patterns map[string][]uint32 // guarded by mu; indexes into names, by lower-case pattern
	held     int                 // guarded by mu; all indexes in patterns
	limit    int                 // of held
}

type span struct{ from, to int }

// maxHeld bounds what is kept of expanded patterns: 16 MiB.
const maxHeld = 4 << 20

var levels = map[string]level.Level{"List": level.List, "Read": level.Read, "Tagging": level.Tagging,
	"Write": level.Write, "Permissions management": level.Management}

func read(packed []byte) (*catalogue, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unzip: %w", err)
	}
	var all map[string]string
	if err := json.NewDecoder(unzipped).Decode(&all); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	c := &catalogue{names: make([]string, 0, len(all)), services: map[string]span{},
		places: make(map[string]uint16, len(all)), patterns: map[string][]uint32{}, limit: maxHeld}
	for name := range all {
		c.names = append(c.names, name)
	}
	if len(c.names) > math.MaxUint16 {
		return nil, fmt.Errorf("%d actions, more than are counted with 16 bits", len(c.names))
	}
	slices.Sort(c.names)
	for i, name := range c.names {
		lower := strings.ToLower(name)
		service, _, ok := strings.Cut(lower, ":")
		if !ok {
			return nil, fmt.Errorf("%q is no action", name)
		}
		c.lower = append(c.lower, lower)
		c.places[lower] = uint16(i)
		c.levels = append(c.levels, levels[all[name]])
		s, seen := c.services[service]
		if !seen {
			s.from = i
		}
		s.to = i + 1
		c.services[service] = s
	}
	return c, nil
}

// matching gives the actions that a pattern stands for, by index, ascending. The result is shared.
func (c *catalogue) matching(pattern string) []uint32 {
	pattern = strings.ToLower(pattern)
	c.mu.RLock()
	found, ok := c.patterns[pattern]
	c.mu.RUnlock()
	if ok {
		return found
	}
	within := span{0, len(c.names)}
	if service, _, ok := strings.Cut(pattern, ":"); ok && !strings.ContainsAny(service, "*?") {
		within = c.services[service]
	}
	for i := within.from; i < within.to; i++ {
		if Match(pattern, c.lower[i]) {
			found = append(found, uint32(i))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held += len(found) + 8; c.held > c.limit {
		clear(c.patterns)
		c.held = len(found) + 8
	}
	c.patterns[strings.Clone(pattern)] = found
	return found
}

// LevelOf an action, named without regard to case.
func LevelOf(action string) level.Level {
	if i, ok := actions().places[strings.ToLower(action)]; ok {
		return actions().levels[i]
	}
	return level.Unknown
}
