package read

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/store"
)

const (
	// MaxKeys is how many credentials' use is told at once.
	MaxKeys = 300
	// useKept is how long use by hours is answered without being read again: everybody looks at the same top rows.
	useKept = time.Minute
	// useSpan is the longest that is read by hours; what is asked beyond comes from the events themselves.
	useSpan = 62 * 24 * time.Hour
	// useMost hours are kept, of 24 bytes.
	useMost = 4_000_000
)

// bucket is a time in Unix milliseconds with the calls from then on, and how many of them were refused.
type bucket = [3]int64

// usedHours is what was read of a credential's use.
type usedHours struct {
	from, read time.Time
	hours      []bucket
}

// Use counts calls of credentials by buckets of time, which begin at multiples of their width. Where buckets are of whole
// hours the hours that from and to lie in count whole, and the answer may be a minute old.
func (r *Reader) Use(ctx context.Context, keys []string, from, to time.Time, width time.Duration) ([]contract.KeyUse, error) {
	out := []contract.KeyUse{}
	if len(keys) == 0 {
		return out, nil
	}
	if width%time.Hour != 0 || r.now().Sub(from) > useSpan {
		known, err := r.countUse(ctx, keys, from, to, width)
		for _, key := range keys {
			if buckets := known[key]; len(buckets) > 0 {
				out = append(out, contract.KeyUse{Key: key, Buckets: buckets})
				delete(known, key) // a key may be asked twice
			}
		}
		return out, err
	}
	known, err := r.useByHour(ctx, keys, from)
	if err != nil {
		return nil, err
	}
	first, last, ms := from.Truncate(time.Hour).UnixMilli(), to.UnixMilli(), width.Milliseconds()
	for _, key := range keys {
		one := contract.KeyUse{Key: key}
		for _, h := range known[key] {
			if h[0] < first || h[0] >= last {
				continue
			}
			at := h[0] - h[0]%ms
			if n := len(one.Buckets); n > 0 && one.Buckets[n-1][0] == at {
				one.Buckets[n-1][1] += h[1]
				one.Buckets[n-1][2] += h[2]
			} else {
				one.Buckets = append(one.Buckets, bucket{at, h[1], h[2]})
			}
		}
		if len(one.Buckets) > 0 {
			out = append(out, one)
		}
		delete(known, key)
	}
	return out, nil
}

// useByHour gives the hours since from, and perhaps earlier ones, of each credential.
func (r *Reader) useByHour(ctx context.Context, keys []string, from time.Time) (map[string][]bucket, error) {
	now := r.now()
	from = from.Truncate(time.Hour)
	known := make(map[string][]bucket, len(keys))
	var missing []string
	r.mu.Lock()
	for _, key := range keys {
		kept, ok := r.use[key]
		if ok && now.Sub(kept.read) < useKept && !kept.from.After(from) {
			known[key] = kept.hours
		} else {
			missing = append(missing, key)
		}
	}
	r.mu.Unlock()
	if len(missing) == 0 {
		return known, nil
	}
	counted, err := r.countUse(ctx, missing, from, now.Add(time.Hour), time.Hour)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held > useMost {
		clear(r.use)
		r.held = 0
	}
	for _, key := range missing {
		known[key] = counted[key]
		r.held += len(counted[key]) - len(r.use[key].hours)
		r.use[key] = usedHours{from, now, counted[key]}
	}
	return known, nil
}

func (r *Reader) countUse(ctx context.Context, keys []string, from, to time.Time, width time.Duration) (map[string][]bucket, error) {
	known := map[string][]bucket{}
	ms := width.Milliseconds()
	err := r.each(ctx, "uses", `SELECT credential, intDiv(toUnixTimestamp64Milli(occurred_at), ?) * ? AS bucket,
			toInt64(uniqExactIf(id, kind = 'USED')), toInt64(uniqExactIf(id, kind = 'DENIED'))
		FROM events WHERE credential IN (?) AND kind IN ('USED', 'DENIED') AND flag = '' AND occurred_at >= ? AND occurred_at < ? AND written_at >= ?
		GROUP BY credential, bucket ORDER BY credential, bucket LIMIT 500000`, []any{ms, ms, keys, from, to, writtenFor(from)}, func(rows store.Rows) error {
		var key string
		var one bucket
		if err := rows.Scan(&key, &one[0], &one[1], &one[2]); err != nil {
			return err
		}
		known[key] = append(known[key], one)
		return nil
	})
	return known, err
}
