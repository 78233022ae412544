package jsonrecord

import (
	"bytes"
	"testing"
	"time"
)

func TestUTCIsWhatTimeParseReads(t *testing.T) {
	for day := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2110; day = day.Add(24*time.Hour + 61*time.Second + 999999937) {
		text := day.Format(time.RFC3339Nano)
		if got, ok := UTC([]byte(text)); !ok || !got.Equal(day) || got.Format(time.RFC3339Nano) != text {
			t.Fatalf("%s is read as %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-00-10T00:00:00Z", "2026-13-10T00:00:00Z",
		"2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-10T24:00:00Z", "2026-01-10T00:60:00Z", "2026-01-10T00:00:60Z",
		"2026-01-10T00:00:00.Z", "2026-01-10T00:00:00.1234567890Z", "2026-01-10T00:00:00+01:00", "2026-01-10 00:00:00Z", "1969-12-31T23:59:59Z", "2026-1-010T00:00:00Z"} {
		if got, ok := UTC([]byte(text)); ok {
			t.Errorf("%s is read as %v", text, got)
		}
	}
	for _, text := range []string{"2000-02-29T23:59:59.5Z", "2024-02-29T00:00:00Z", "9999-12-31T23:59:59.999999999Z"} {
		want, err := time.Parse(time.RFC3339Nano, text)
		if got, ok := UTC([]byte(text)); err != nil || !ok || !got.Equal(want) {
			t.Errorf("%s is read as %v, %v", text, got, ok)
		}
	}
}

// FuzzSecret holds the search to its plain reading: each mark, at the start of a word, with eight bytes after it.
func FuzzSecret(f *testing.F) {
	marks := []string{"hvs.", "hvb.", "hvr.", "eyJ", "Bearer ", "Basic ", "-----BEGIN", "ghp_", "gho_", "ghs_", "github_pat_",
		"glpat-", "xoxb-", "xoxp-", "sk-", "AIza", "ya29."}
	for _, mark := range marks {
		for _, before := range []string{"", "a", " ", "-", "\xff", "a/", "hvs.hvs."} {
			for _, after := range []string{"1234567", "12345678", "-----BEGIN", ""} {
				f.Add([]byte(before + mark + after))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := false
		for _, mark := range marks {
			for at := range text {
				want = want || bytes.HasPrefix(text[at:], []byte(mark)) && (at == 0 || !wordBytes[text[at-1]]) && len(text)-at-len(mark) >= 8
			}
		}
		if got := Secret(text); got != want {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
	})
}
