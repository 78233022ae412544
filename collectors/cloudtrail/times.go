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
var (
	layouts     = []string{time.RFC3339Nano, "20060102T150405Z", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 MST"}
	javaLayouts = []string{"Jan 2, 2006, 3:04:05 PM", "Jan 2, 2006 3:04:05 PM"}
)

// parseTime reads a time in UTC. Years outside 1970 to 9999, which a timestamp message can not hold, are no times.
func parseTime(text []byte) (time.Time, bool) {
	if t, ok := jsonrecord.UTC(text); ok {
		return t, true
	}
	if t, ok := javaTime(text); ok {
		return t, true
	}
	if len(text) < 14 || len(text) > 48 {
		return time.Time{}, false
	}
	said := string(bytes.TrimSpace(text))
	said = strings.ReplaceAll(said, "\u202f", " ") // newer Java puts it before PM
	forms := layouts
	if said > "A" { // a month's name
		forms = javaLayouts
	}
	for _, layout := range forms {
		if t, err := time.Parse(layout, said); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1970 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// javaTime reads Jan 2, 2006, 3:04:05 PM quickly. It gives up on anything else, which time.Parse then has to judge.
func javaTime(text []byte) (time.Time, bool) {
	if len(text) < len("Jan 2, 2006, 3:04:05 PM") || len(text) > len("Jan 22, 2006, 03:04:05 PM") {
		return time.Time{}, false
	}
	month := strings.Index(months, string(text[:3]))
	day, rest, _ := bytes.Cut(text[4:], []byte(", "))
	year, clock, _ := bytes.Cut(rest, []byte(", "))
	hour, minutes, _ := bytes.Cut(clock, []byte(":")) // 04:05 PM
	if month < 0 || month%3 != 0 || text[3] != ' ' || len(day) == 0 || len(day) > 2 || len(year) != 4 || len(hour) == 0 || len(hour) > 2 ||
		len(minutes) != len("04:05 PM") || minutes[2] != ':' || minutes[5] != ' ' || minutes[7] != 'M' {
		return time.Time{}, false
	}
	// 2006-01-02T15:04:05Z
	h, ok := jsonrecord.Digits(hour)
	if !ok || h < 1 || h > 12 || minutes[6] != 'A' && minutes[6] != 'P' {
		return time.Time{}, false
	}
	if h %= 12; minutes[6] == 'P' {
		h += 12
	}
	var b [20]byte
	iso := append(append(b[:0], year...), '-', byte('0'+(month/3+1)/10), byte('0'+(month/3+1)%10), '-')
	if len(day) == 1 {
		iso = append(iso, '0')
	}
	iso = append(append(iso, day...), 'T', byte('0'+h/10), byte('0'+h%10), ':')
	return jsonrecord.UTC(append(append(iso, minutes[:5]...), 'Z'))
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

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
