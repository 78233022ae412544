package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/schemas"
)

func TestUseIsToldInBucketsOfAnyWidthAndReadAgainAfterAMinute(t *testing.T) {
	b := newBench(t)
	b.now = time.Date(2026, 3, 10, 12, 40, 0, 0, time.UTC)
	n := 0
	call := func(kind string, at time.Time) {
		id := schemas.EventID("vault", "default", fmt.Sprint(n), 0)
		n++
		for range 2 { // a rebalance may have written it twice
			b.exec(`INSERT INTO events (id, kind, credential, occurred_at, observed_at, source, instance, permission, outcome, written_at) VALUES`,
				string(id[:]), kind, key(1), at, at, "vault", "default", "read secret/data/a", "SUCCESS", at)
		}
	}
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	call("USED", noon.Add(-90*24*time.Hour))
	call("USED", noon.Add(-25*time.Hour))
	call("USED", noon.Add(-2*time.Hour))
	call("DENIED", noon.Add(-time.Hour-time.Minute))
	call("USED", noon.Add(-time.Minute))
	call("USED", noon.Add(10*time.Minute))
	call("USED", noon.Add(20*time.Minute))
	v := b.as("ann", viewer)
	use := func(from, to time.Time, bucket time.Duration) (out []string) {
		list := get[contract.List[contract.KeyUse]](v, fmt.Sprintf("/v1/fleet/use?from=%d&to=%d&bucket=%d&key=%s&key=x&key=%[4]s", from.UnixMilli(), to.UnixMilli(), bucket.Milliseconds(), url.QueryEscape(key(1))))
		for _, item := range list.Items {
			for _, one := range item.Buckets {
				out = append(out, fmt.Sprintf("%s %d %d", time.UnixMilli(one[0]).UTC().Format("01-02 15:04"), one[1], one[2]))
			}
		}
		return out
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	day := 24 * time.Hour
	expect("minutes", use(noon, b.now, 10*time.Minute), "03-10 12:10 1 0", "03-10 12:20 1 0")
	expect("hours", use(noon.Add(-3*time.Hour), b.now, time.Hour), "03-10 10:00 1 1", "03-10 11:00 1 0", "03-10 12:00 2 0")
	expect("an earlier time than was read before", use(noon.Add(-2*day), b.now, day), "03-09 00:00 1 0", "03-10 00:00 4 1")
	expect("less than was read before", use(noon.Add(-2*time.Hour), noon, 6*time.Hour), "03-10 06:00 2 1")
	expect("three months", use(noon.Add(-100*day), b.now, 30*day), "12-08 00:00 1 0", "03-08 00:00 5 1")
	call("USED", noon.Add(30*time.Minute))
	b.now = b.now.Add(time.Minute)
	expect("a minute later", use(noon, b.now, time.Hour), "03-10 12:00 3 0")
}
