package vault

import (
	"errors"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

var errTime = errors.New("not a time in RFC 3339")

// parseTime reads RFC 3339 as Vault writes it, with up to nine decimals; fast for UTC. Years outside 1970 to 9999, which
// a timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, error) {
	if t, ok := jsonrecord.UTC(text); ok {
		return t, nil
	}
	if len(text) < 20 || len(text) > 40 {
		return time.Time{}, errTime
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}, errTime
	}
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, errTime
	}
	return t, nil
}
