package gcpaudit

import (
	"strings"
	"time"
)

// readTime takes the entry's time, or when it was received.
func (d *Decoder) readTime(e *entry) {
	at, ok := parseTime(e.timestamp)
	if !ok {
		at, _ = parseTime(e.received)
	}
	e.at = at
}

// parseTime reads RFC 3339, and BigQuery's `2006-01-02 15:04:05.999999 UTC`. Years outside 1970 to 9999, which a
// timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, bool) {
	if len(text) < 19 || len(text) > 40 {
		return time.Time{}, false
	}
	clock := string(text)
	t, err := time.Parse(time.RFC3339Nano, clock)
	for _, layout := range [...]string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05"} {
		if err == nil {
			break
		}
		t, err = time.Parse(layout, strings.TrimSuffix(clock, " UTC"))
	}
	if t = t.UTC(); err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}
