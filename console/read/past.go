package read

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Past is what is still known of credentials at the end of each of the last days, and now. Values are those of the metrics
// asked for; NaN is unknown. What was measured then is not kept, so it is worked out anew from what is: times of issue
// and end, events, decisions. Where that does not tell, it is unknown.
type Past struct {
	At      []time.Time // the last is now
	Metrics []string
	Items   []PastItem
}

// PastItem is one credential.
type PastItem struct {
	Key, Type, Source, Instance, Principal, Agent, Owner string
	Labels                                               map[string]string
	Policies                                             []string

	issuedAt, expiresAt, revokedAt, seenAt, usedAt int64
	neverExpires                                   bool
	attempts                                       uint64
	values                                         [][]float64 // by metric, then day
}

// Value of a metric on a day; false where it is unknown.
func (p *PastItem) Value(metric, day int) (float64, bool) {
	if p.values[metric] == nil {
		return 0, false
	}
	v := p.values[metric][day]
	return v, !math.IsNaN(v)
}

// Alive tells whether it was there at a time.
func (p *PastItem) Alive(at time.Time) bool {
	t := at.UnixNano()
	begin := p.issuedAt
	if begin == 0 {
		begin = p.seenAt
	}
	return begin != 0 && begin <= t && (p.revokedAt == 0 || p.revokedAt > t) && (p.expiresAt == 0 || p.expiresAt > t)
}

// PastOptions narrow what is read.
type PastOptions struct {
	Days    int
	Metrics []string
	// Credential alone, if not empty.
	Credential string
	// Facts: labels and policies too.
	Facts bool
	// Expected is how often an hour an agent is expected to use its credentials.
	Expected func(agent string) float64
}

// days gives the ends of the last days, in UTC, and now.
func days(now time.Time, n int) []time.Time {
	today := now.UTC().Truncate(24 * time.Hour)
	at := make([]time.Time, 0, n)
	for i := n - 1; i > 0; i-- {
		at = append(at, today.AddDate(0, 0, 1-i))
	}
	return append(at, now)
}

// pastReading is one reading of the past.
type pastReading struct {
	*Reader
	opts  PastOptions
	past  *Past
	from  time.Time
	byKey map[string]*PastItem
}

// Past reads it. It looks at the events of the days asked for, and at all that was ever refused if that is asked for.
func (r *Reader) Past(ctx context.Context, opts PastOptions) (*Past, error) {
	at := days(r.now(), opts.Days)
	p := &pastReading{Reader: r, opts: opts, past: &Past{At: at, Metrics: opts.Metrics}, from: at[0], byKey: map[string]*PastItem{}}
	if opts.Days > 1 {
		p.from = at[0].AddDate(0, 0, -1) // the first day's beginning
	} else {
		p.from = at[0].Truncate(24 * time.Hour)
	}
	if err := p.credentials(ctx); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		of []string
		do func(context.Context) error
	}{
		{[]string{"lifetime", "remaining_validity"}, p.lifetimes},
		{[]string{"idle_time", "utilization_ratio"}, p.uses},
		{[]string{"elevation_attempts"}, p.refused},
		{[]string{"permission_scope_complexity", "unused_permission_ratio"}, p.scopes},
	} {
		if slices.ContainsFunc(opts.Metrics, func(m string) bool { return slices.Contains(step.of, m) }) {
			if err := step.do(ctx); err != nil {
				return nil, err
			}
		}
	}
	return p.past, nil
}

// fill works a metric out for every day on which the credential was there.
func (p *pastReading) fill(it *PastItem, metric string, of func(at int64, day int) float64) {
	m := slices.Index(p.opts.Metrics, metric)
	if m < 0 {
		return
	}
	values := make([]float64, len(p.past.At))
	for day, at := range p.past.At {
		values[day] = math.NaN()
		if it.Alive(at) {
			values[day] = of(at.UnixNano(), day)
		}
	}
	it.values[m] = values
}

func seconds(nanos int64) float64 { return float64(nanos) / 1e9 }

// credentials that were there on some of the days, with what their own times tell.
func (p *pastReading) credentials(ctx context.Context) error {
	state := slices.Contains(p.opts.Metrics, "rotation_age") || slices.Contains(p.opts.Metrics, "novelty")
	columns, where, args := "", "(isNull(revoked_at) OR revoked_at >= ?) AND (isNull(expires_at) OR expires_at >= ?)", []any{p.from, p.from}
	if p.opts.Facts {
		columns += ", labels, policies"
	}
	if state {
		columns += ", blob"
	}
	if p.opts.Credential != "" {
		where, args = "credential = ?", []any{p.opts.Credential}
	}
	err := p.sweep(ctx, "credentials", `SELECT credential, type, source, instance, principal, agent, owner,
			ifNull(toUnixTimestamp64Nano(issued_at), 0), ifNull(toUnixTimestamp64Nano(expires_at), 0), ifNull(toUnixTimestamp64Nano(revoked_at), 0),
			ifNull(toUnixTimestamp64Nano(first_seen_at), 0), ifNull(toUnixTimestamp64Nano(last_used_at), 0), never_expires, denied_permissions`+columns+`
		FROM credentials FINAL WHERE `+where, args, func(rows store.Rows) error {
		var it PastItem
		var blob string
		into := []any{&it.Key, &it.Type, &it.Source, &it.Instance, &it.Principal, &it.Agent, &it.Owner, &it.issuedAt, &it.expiresAt, &it.revokedAt,
			&it.seenAt, &it.usedAt, &it.neverExpires, &it.attempts}
		if p.opts.Facts {
			into = append(into, &it.Labels, &it.Policies)
		}
		if state {
			into = append(into, &blob)
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		it.values = make([][]float64, len(p.opts.Metrics))
		p.past.Items = append(p.past.Items, it)
		if state {
			return p.ofState(&p.past.Items[len(p.past.Items)-1], blob)
		}
		return nil
	})
	for i := range p.past.Items {
		it := &p.past.Items[i]
		p.byKey[it.Key] = it
		p.fill(it, "credential_age", func(at int64, _ int) float64 {
			if it.issuedAt == 0 {
				return math.NaN()
			}
			return seconds(at - it.issuedAt)
		})
	}
	return err
}

// noveltyAfter is the processor's: how long a credential is watched before a permission it uses for the first time is
// news, and for how long it then stays news.
const noveltyAfter = int64(24 * time.Hour)

// ofState works out what the processor's own state alone tells.
func (p *pastReading) ofState(it *PastItem, blob string) error {
	state := &pb.CredentialState{}
	if err := state.UnmarshalVT([]byte(blob)); err != nil {
		return err
	}
	p.fill(it, "rotation_age", func(at int64, _ int) float64 {
		if it.issuedAt == 0 || at < state.RotatedAt { // the rotation before the last is not kept
			return math.NaN()
		}
		return seconds(at - max(it.issuedAt, state.RotatedAt))
	})
	now := len(p.past.At) - 1
	p.fill(it, "novelty", func(at int64, day int) float64 {
		if state.UsedTruncated && day < now {
			return math.NaN()
		}
		n := 0
		for _, use := range state.Used {
			if state.FirstUsedAt != 0 && use.FirstAt-state.FirstUsedAt >= noveltyAfter && use.FirstAt <= at && at-use.FirstAt < noveltyAfter {
				n++
			}
		}
		return float64(n)
	})
	return nil
}

// byDay is what was told within each day of the past; the index is the day's.
type byDay map[string]map[int][2]int64

// told reads two numbers a credential and day. The columns are our own texts.
func (p *pastReading) told(ctx context.Context, what, columns, from, at, where string) (byDay, error) {
	out := byDay{}
	args := []any{}
	if p.opts.Credential != "" {
		where += " AND credential = ?"
		args = append(args, p.opts.Credential)
	}
	if from == "events" {
		where += " AND written_at >= ?"
		args = append(args, p.from.Add(-5*time.Minute))
	}
	args = append(args, p.from)
	first := p.past.At[0].UTC().Truncate(24*time.Hour).Unix() / 86400
	if len(p.past.At) > 1 {
		first-- // the first day ends when the next begins
	}
	err := p.sweep(ctx, what, `SELECT credential, toInt64(intDiv(toUnixTimestamp(`+at+`), 86400)) AS day, `+columns+` FROM `+from+` WHERE `+where+` AND `+at+` >= ?
		GROUP BY credential, day`, args, func(rows store.Rows) error {
		var key string
		var day int64
		var one [2]int64
		if err := rows.Scan(&key, &day, &one[0], &one[1]); err != nil {
			return err
		}
		i := int(day - first)
		if p.byKey[key] == nil || i < 0 || i >= len(p.past.At) {
			return nil
		}
		if out[key] == nil {
			out[key] = map[int][2]int64{}
		}
		out[key][i] = one
		return nil
	})
	return out, err
}

// last told up to a day; first is the first day on which anything was told, -1 if nothing was.
func (b byDay) last(key string, day int) (value [2]int64, first int, ok bool) {
	first = -1
	best := -1
	for i, v := range b[key] {
		if first < 0 || i < first {
			first = i
		}
		if i <= day && i > best {
			best, value = i, v
		}
	}
	return value, first, best >= 0
}

// lifetimes: an end that was told anew within the days was another before, and which one is not known.
func (p *pastReading) lifetimes(ctx context.Context) error {
	told, err := p.told(ctx, "ends", `argMax(ifNull(toUnixTimestamp64Nano(expires_at), 0), occurred_at), toInt64(argMax(never_expires, occurred_at))`,
		"events", "occurred_at", "kind IN ('ISSUED', 'RENEWED', 'ROTATED', 'OBSERVED') AND (isNotNull(expires_at) OR never_expires)")
	if err != nil {
		return err
	}
	now := len(p.past.At) - 1
	for key, it := range p.byKey {
		end := func(day int) (at int64, never, known bool) {
			value, first, ok := told.last(key, day)
			switch {
			case day == now || first < 0:
				return it.expiresAt, it.neverExpires, it.expiresAt != 0 || it.neverExpires
			case ok:
				return value[0], value[1] != 0, true
			}
			return 0, false, false
		}
		p.fill(it, "lifetime", func(_ int64, day int) float64 {
			at, never, known := end(day)
			switch {
			case !known || !never && it.issuedAt == 0:
				return math.NaN()
			case never:
				return math.Inf(1)
			}
			return seconds(at - it.issuedAt)
		})
		p.fill(it, "remaining_validity", func(now int64, day int) float64 {
			at, never, known := end(day)
			switch {
			case !known:
				return math.NaN()
			case never:
				return math.Inf(1)
			}
			return seconds(at - now)
		})
	}
	return nil
}

// uses: what was used before the days is known only of those that were not used within them.
func (p *pastReading) uses(ctx context.Context) error {
	told, err := p.told(ctx, "uses", "max(toUnixTimestamp64Nano(occurred_at)), toInt64(count())", "events", "occurred_at", "kind = 'USED' AND flag = ''")
	if err != nil {
		return err
	}
	for key, it := range p.byKey {
		p.fill(it, "idle_time", func(at int64, day int) float64 {
			value, first, ok := told.last(key, day)
			switch {
			case ok:
				return seconds(at - max(value[0], it.issuedAt))
			case first < 0 && it.usedAt != 0 && it.usedAt <= at:
				return seconds(at - max(it.usedAt, it.issuedAt))
			case it.issuedAt >= p.from.UnixNano(), first < 0 && it.usedAt == 0 && it.issuedAt != 0: // not used since it was issued
				return seconds(at - it.issuedAt)
			}
			return math.NaN()
		})
		expected := 0.0
		if p.opts.Expected != nil && it.Agent != "" {
			expected = p.opts.Expected(it.Agent)
		}
		p.fill(it, "utilization_ratio", func(at int64, day int) float64 {
			begin := p.past.At[day].Add(-time.Nanosecond).Truncate(24 * time.Hour).UnixNano()
			hours := float64(at-max(begin, it.issuedAt)) / float64(time.Hour)
			if expected <= 0 || it.issuedAt == 0 || hours <= 0 {
				return math.NaN()
			}
			return float64(told[key][day][1]) / (expected * hours)
		})
	}
	return nil
}

// refused permissions add up over a credential's whole life.
func (p *pastReading) refused(ctx context.Context) error {
	where, args := "", []any{}
	if p.opts.Credential != "" {
		where, args = " AND credential = ?", []any{p.opts.Credential}
	}
	first := map[string][]int64{}
	err := p.sweep(ctx, "refused calls", `SELECT credential, toUnixTimestamp64Nano(min(occurred_at)) FROM events WHERE kind = 'DENIED'`+where+`
		GROUP BY credential, permission`, args, func(rows store.Rows) error {
		var key string
		var at int64
		if err := rows.Scan(&key, &at); err != nil {
			return err
		}
		if p.byKey[key] != nil {
			first[strings.Clone(key)] = append(first[key], at)
		}
		return nil
	})
	now := len(p.past.At) - 1
	for key, it := range p.byKey {
		p.fill(it, "elevation_attempts", func(at int64, day int) float64 {
			if day == now {
				return float64(it.attempts)
			}
			n := 0
			for _, t := range first[key] {
				if t <= at {
					n++
				}
			}
			if uint64(len(first[key])) < it.attempts { // some of its refusals are no longer kept
				return math.NaN()
			}
			return float64(n)
		})
	}
	return err
}

// scopes: a decision tells how much was granted, and how much of it was used.
func (p *pastReading) scopes(ctx context.Context) error {
	told, err := p.told(ctx, "decisions", "toInt64(ifNull(argMax(granted, decided_at), 0)), toInt64(ifNull(argMax(proposed, decided_at), -1))", "decisions", "decided_at", "isNotNull(granted)")
	if err != nil {
		return err
	}
	for key, it := range p.byKey {
		p.fill(it, "permission_scope_complexity", func(_ int64, day int) float64 {
			if value, _, ok := told.last(key, day); ok {
				return float64(value[0])
			}
			return math.NaN()
		})
		p.fill(it, "unused_permission_ratio", func(_ int64, day int) float64 {
			if value, _, ok := told.last(key, day); ok && value[0] > 0 && value[1] >= 0 {
				return 1 - float64(value[1])/float64(value[0])
			}
			return math.NaN()
		})
	}
	return nil
}
