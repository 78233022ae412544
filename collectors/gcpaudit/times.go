package gcpaudit

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
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
	if t, ok := jsonrecord.UTC(text); ok {
		return t, true
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

// appendMicros appends a time in UTC, cut to microseconds, as RFC 3339 without zeros at the end. Years have four digits.
func appendMicros(b []byte, at time.Time) []byte {
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	b = append(b, digit(year/1000), digit(year/100), digit(year/10), digit(year), '-')
	b = append(b, digit(int(month)/10), digit(int(month)), '-', digit(day/10), digit(day), 'T')
	b = append(b, digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':', digit(second/10), digit(second))
	if micros := at.Nanosecond() / 1000; micros > 0 {
		b = append(b, '.')
		for unit := 100_000; micros > 0; unit /= 10 {
			b = append(b, digit(micros/unit))
			micros %= unit
		}
	}
	return append(b, 'Z')
}

func digit(n int) byte { return '0' + byte(n%10) }
