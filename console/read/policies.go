package read

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/store"
)

type dayCount struct {
	day time.Time
	n   uint64
}

// trendDays is how far back a policy's trend goes.
const trendDays = 30

// Trend is how many credentials violated a policy on each of the last days. It is read once a minute.
func (r *Reader) Trend(ctx context.Context, policy string) ([]contract.Count, error) {
	now := r.now()
	all, err := r.trend.get(now, time.Minute, func() (map[string][]dayCount, error) {
		out := map[string][]dayCount{}
		err := r.each(ctx, "decisions", `SELECT policy, toInt64(toUnixTimestamp(toDateTime(day, 'UTC'))) AS at, uniqMerge(credentials)
			FROM violators_by_day WHERE day >= toDate(?) GROUP BY policy, day ORDER BY policy, day`,
			[]any{now.Add(-trendDays * 24 * time.Hour)}, func(rows store.Rows) error {
				var policy string
				var day int64
				var n uint64
				if err := rows.Scan(&policy, &day, &n); err != nil {
					return err
				}
				out[policy] = append(out[policy], dayCount{time.Unix(day, 0).UTC(), n})
				return nil
			})
		return out, err
	})
	trend := []contract.Count{}
	for _, c := range all[policy] {
		trend = append(trend, contract.Count{At: c.day, Violators: c.n})
	}
	return trend, err
}

// Revoking counts what was begun to be revoked since a time.
func (r *Reader) Revoking(ctx context.Context, since time.Time) (n uint64, err error) {
	err = r.each(ctx, "the enforcer's journal", `SELECT uniqExact(credential, ladder_id) FROM enforcement WHERE state = 'REVOKE_INTENDED' AND at >= ?`,
		[]any{since}, func(rows store.Rows) error { return rows.Scan(&n) })
	return n, err
}
