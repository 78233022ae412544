package gcpaudit

import (
	"testing"
	"time"
)

func TestTimesInRecordIDsAreAsTheLibraryWritesThem(t *testing.T) {
	for at := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2200; at = at.Add(77*24*time.Hour + 3*time.Hour + 7*time.Minute + 11*time.Second + 123_450_789) {
		for _, at := range []time.Time{at, at.Truncate(time.Second), at.Truncate(10 * time.Millisecond), at.Truncate(time.Second).Add(time.Microsecond)} {
			want := at.Truncate(time.Microsecond).Format(time.RFC3339Nano)
			if got := string(appendMicros(nil, at)); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
	}
}
