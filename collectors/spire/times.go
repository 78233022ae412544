package spire

import (
	"errors"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

var errTime = errors.New("not a time")

// parseTime reads RFC 3339 with up to nine decimals, fast for UTC; the form that Go prints times in; and seconds since
// 1970. SPIRE writes all three. Years outside 1970 to 9999, which a timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, error) {
	if t, ok := jsonrecord.UTC(text); ok {
		return t, nil
	}
	if n := len(text); n > 0 && n <= 12 && isDecimal(text) {
		seconds, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || seconds <= 0 || seconds >= 253402300800 {
			return time.Time{}, errTime
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if len(text) < 20 || len(text) > 64 {
		return time.Time{}, errTime
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
				return time.Time{}, errTime
			}
			return t, nil
		}
	}
	return time.Time{}, errTime
}

// lifeSeconds of a ttl field; 0 if there is none or the server's default holds.
func lifeSeconds(text []byte) time.Duration {
	if len(text) == 0 || len(text) > 9 {
		return 0
	}
	n, ok := jsonrecord.Digits(text)
	if !ok {
		return 0
	}
	return time.Duration(n) * time.Second
}
