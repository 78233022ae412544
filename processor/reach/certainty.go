package reach

import "github.com/leastwise/leastwise/processor/scope/level"

// Certainty of a step or a path, the most certain first.
type Certainty uint8

// The certainties.
const (
	Proven Certainty = iota
	Allowed
	Suggested
)

func (c Certainty) String() string {
	return [...]string{"proven", "allowed", "suggested"}[c]
}

// MarshalText gives the word.
func (c Certainty) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// certain turns a verdict into a certainty; false: it is not granted.
func certain(v level.Verdict) (Certainty, bool) {
	switch v {
	case level.Yes:
		return Allowed, true
	case level.Perhaps:
		return Suggested, true
	default:
		return Suggested, false
	}
}
