package jsonrecord

import (
	"strconv"
	"time"

	"github.com/valyala/fastjson"
)

// Time reads a time: RFC 3339, or unix time as a number or text in seconds, milliseconds, microseconds or nanoseconds,
// told apart by size. ok is false for anything else, and for years that a timestamp message can not hold.
func Time(v *fastjson.Value) (t time.Time, ok bool) {
	if v == nil {
		return time.Time{}, false
	}
	switch v.Type() {
	case fastjson.TypeNumber:
		if n, err := v.Int64(); err == nil {
			return Unix(n)
		}
		f, err := v.Float64()
		if err != nil || !(f > 0 && f < 1e11) { // a fraction makes sense of seconds only
			return time.Time{}, false
		}
		return inRange(time.UnixMicro(int64(f * 1e6)).UTC())
	case fastjson.TypeString:
		return ParseTime(v.GetStringBytes())
	}
	return time.Time{}, false
}

// ParseTime reads a time from text, as Time does.
func ParseTime(text []byte) (t time.Time, ok bool) {
	if len(text) == 0 || len(text) > 40 {
		return time.Time{}, false
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return Unix(n)
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}, false
	}
	return inRange(t.UTC())
}

// Unix reads unix time in seconds up to the year 5138, and in finer units from there on.
func Unix(n int64) (time.Time, bool) {
	switch {
	case n <= 0:
		return time.Time{}, false
	case n < 1e11:
		return inRange(time.Unix(n, 0).UTC())
	case n < 1e14:
		return inRange(time.UnixMilli(n).UTC())
	case n < 1e17:
		return inRange(time.UnixMicro(n).UTC())
	}
	return inRange(time.Unix(0, n).UTC())
}

func inRange(t time.Time) (time.Time, bool) {
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}
