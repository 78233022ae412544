package spire

import (
	"errors"
	"strconv"
	"time"
)

var errTime = errors.New("not a time")

// parseTime reads RFC 3339 with up to nine decimals, fast for UTC; the form that Go prints times in; and seconds since
// 1970. SPIRE writes all three. Years outside 1970 to 9999, which a timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, error) {
	if t, ok := parseUTC(text); ok {
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

func parseUTC(text []byte) (time.Time, bool) {
	// 2006-01-02T15:04:05[.999999999]Z
	if len(text) < 20 || text[len(text)-1] != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
		text[13] != ':' || text[16] != ':' {
		return time.Time{}, false
	}
	year, ok1 := digits(text[0:4])
	month, ok2 := digits(text[5:7])
	day, ok3 := digits(text[8:10])
	hour, ok4 := digits(text[11:13])
	minute, ok5 := digits(text[14:16])
	second, ok6 := digits(text[17:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 ||
		year < 1970 || month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false // or left to time.Parse: the ends of months
	}
	nanos := 0
	if fraction := text[19 : len(text)-1]; len(fraction) > 0 {
		if fraction[0] != '.' || len(fraction) < 2 || len(fraction) > 10 {
			return time.Time{}, false
		}
		n, ok := digits(fraction[1:])
		if !ok {
			return time.Time{}, false
		}
		for i := len(fraction) - 1; i < 9; i++ {
			n *= 10
		}
		nanos = n
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC), true
}

func digits(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// lifeSeconds of a ttl field; 0 if there is none or the server's default holds.
func lifeSeconds(text []byte) time.Duration {
	if len(text) == 0 || len(text) > 9 {
		return 0
	}
	n, ok := digits(text)
	if !ok {
		return 0
	}
	return time.Duration(n) * time.Second
}
