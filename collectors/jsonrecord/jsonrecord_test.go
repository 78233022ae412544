package jsonrecord

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

func TestARecordWithoutIDIsNamedByItsContentAlone(t *testing.T) {
	same := []string{`{"a":1,"b":[{"c":"x","d":null}]}`, ` { "b" : [ { "d" : null, "c" : "\u0078" } ], "a" : 1 } `}
	other := []string{`{"a":1,"b":[{"c":"x","d":"null"}]}`, `{"a":"1","b":[{"c":"x","d":null}]}`, `{"a":1,"b":[{"c":"x"},{"d":null}]}`,
		`{"a":1,"b":{"c":"x","d":null}}`, `{"a":12,"b":[{"c":"x","d":null}]}`, `{}`}
	seen := map[string]string{}
	for _, text := range append(same, other...) {
		hash := Hash(fastjson.MustParse(text))
		if before, ok := seen[hash]; ok && (text != same[1] || before != same[0]) {
			t.Errorf("%s and %s have one name", before, text)
		}
		seen[hash] = text
	}
	if len(seen) != 1+len(other) {
		t.Errorf("%d names of %d records", len(seen), 1+len(other))
	}
}

func TestTimesAreReadInTheFormsThatLogsWrite(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-05-01T10:00:00.5+02:00"`: "2026-05-01T08:00:00.5Z", `1777629600`: "2026-05-01T10:00:00Z", `"1777629600"`: "2026-05-01T10:00:00Z",
		`1777629600.25`: "2026-05-01T10:00:00.25Z", `1777629600123`: "2026-05-01T10:00:00.123Z", `1777629600123456`: "2026-05-01T10:00:00.123456Z",
		`"1777629600123456789"`: "2026-05-01T10:00:00.123456789Z",
		`0`:                     "", `-1`: "", `1e30`: "", `-0.5`: "", `"yesterday"`: "", `true`: "", `null`: "", `{}`: "", `"0001-01-01T00:00:00Z"`: "", `"99999-01-01T00:00:00Z"`: "",
	} {
		got, ok := Time(fastjson.MustParse(text))
		if ok != (want != "") || ok && got.Format("2006-01-02T15:04:05.999999999Z07:00") != want {
			t.Errorf("%s: %v %v, want %q", text, got, ok, want)
		}
	}
}

func TestTextsAreFitForEvents(t *testing.T) {
	for _, text := range []string{"ä", strings.Repeat("ä", 300), "a\x00b", "\xff\xfe", strings.Repeat("a", 255) + "ä"} {
		got := Text([]byte(text), MaxLabel)
		if len(got) > MaxLabel || !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Errorf("%.20q becomes %.20q of %d bytes", text, got, len(got))
		}
	}
	for text, secret := range map[string]bool{"hvs.CAESIAAAAAAA": true, "token=hvs.CAESIAAAAAAA": true, "eyJhbGciOiJSUzI1NiJ9": true, "Bearer abcdefghijk": true,
		"hvs.": false, "task-123456789": false, "onltrt:bbe5a8e9": false, "Z8u0dmPl9cUnCiCz1x9vQ2aT": false, "ASIAIOSFODNN7EXAMPLE": false} {
		if Secret([]byte(text)) != secret {
			t.Errorf("%q: want %v", text, secret)
		}
	}
}
