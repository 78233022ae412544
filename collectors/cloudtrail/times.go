package cloudtrail

import (
	"bytes"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// layouts in which CloudTrail writes times, besides RFC 3339: creationDate has been seen without punctuation, STS writes
// expirations as Java prints them, with and without the comma, and CloudTrail Lake exports rows as SQL prints them.
var layouts = []string{
	time.RFC3339Nano,
	"20060102T150405Z",
	"Jan 2, 2006 3:04:05 PM",
	"Jan 2, 2006, 3:04:05 PM",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999 MST",
}

// parseTime reads a time in UTC. Years outside 1970 to 9999, which a timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, bool) {
	if t, ok := jsonrecord.UTC(text); ok {
		return t, true
	}
	if len(text) < 14 || len(text) > 48 {
		return time.Time{}, false
	}
	said := string(bytes.TrimSpace(text))
	said = strings.ReplaceAll(said, "\u202f", " ") // newer Java puts it before PM
	for _, layout := range layouts {
		if t, err := time.Parse(layout, said); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1970 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// timeOf reads a time from text or from a number.
func timeOf(v *fastjson.Value) (time.Time, bool) {
	if text := v.GetStringBytes(); len(text) > 0 {
		return parseTime(text)
	}
	return jsonrecord.Time(v)
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	return &timestamppb.Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}
