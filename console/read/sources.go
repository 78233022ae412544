package read

import (
	"context"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/store"
)

// silentAfter is when a heartbeat is missed; one comes every half minute by default.
const silentAfter = 300

// Sources with their last heartbeat and what they noticed.
func (r *Reader) Sources(ctx context.Context) ([]contract.Source, error) {
	out := []contract.Source{}
	at := map[string]int{}
	now := r.now()
	err := r.each(ctx, "sources", `SELECT source, instance, toUnixTimestamp64Nano(at), ifNull(toUnixTimestamp64Nano(last_record_at), 0),
			records, events, dead_letters, unknown, trouble
		FROM source_health FINAL ORDER BY source, instance`, nil, func(rows store.Rows) error {
		var s contract.Source
		var beat, record int64
		var trouble string
		if err := rows.Scan(&s.Source, &s.Instance, &beat, &record, &s.Records, &s.Events, &s.DeadLetters, &s.Unknown, &trouble); err != nil {
			return err
		}
		s.LastHeartbeatAt, s.LastRecordAt, s.Trouble = nanos(beat), maybe(record), text(trouble)
		s.SilentSeconds = max(0, now.Sub(s.LastHeartbeatAt).Seconds())
		s.State, s.Findings = "well", []contract.Finding{}
		switch {
		case trouble != "":
			s.State = "trouble"
		case s.SilentSeconds > silentAfter:
			s.State = "silent"
		}
		at[s.Source+"/"+s.Instance] = len(out)
		out = append(out, s)
		return nil
	})
	if err != nil {
		return out, err
	}
	err = r.each(ctx, "findings", `SELECT source, instance, kind, subject, detail, toUnixTimestamp64Nano(since) FROM v_source_findings
		ORDER BY since DESC LIMIT 2000`, nil, func(rows store.Rows) error {
		var source, instance string
		var f contract.Finding
		var since int64
		if err := rows.Scan(&source, &instance, &f.Kind, &f.Subject, &f.Detail, &since); err != nil {
			return err
		}
		f.Since = nanos(since)
		if i, ok := at[source+"/"+instance]; ok {
			out[i].Findings = append(out[i].Findings, f)
		}
		return nil
	})
	return out, err
}

// DeadLetters are records that could not be read, newest first.
func (r *Reader) DeadLetters(ctx context.Context, source, reason, cursor string, limit int) (contract.Page[contract.DeadLetter], error) {
	page := contract.Page[contract.DeadLetter]{Items: []contract.DeadLetter{}}
	after, err := ParseCursor(cursor, "dead-letters", 2)
	if err != nil {
		return page, err
	}
	where, args := "(? = '' OR source = ?) AND (? = '' OR reason = ?)", []any{source, source, reason, reason}
	if after != nil {
		at, err := strconv.ParseInt(after[0], 10, 64)
		if err != nil {
			return page, ErrCursor
		}
		where += " AND (toUnixTimestamp64Nano(observed_at), hex(id)) < (?, ?)"
		args = append(args, at, strings.ToUpper(after[1]))
	}
	err = r.each(ctx, "dead letters", `SELECT hex(id) AS name, source, instance, position, reason, detail, length, excerpt, toUnixTimestamp64Nano(observed_at) AS at
		FROM dead_letters FINAL WHERE `+where+` ORDER BY at DESC, name DESC LIMIT ?`, append(args, limit+1), func(rows store.Rows) error {
		var d contract.DeadLetter
		var at int64
		if err := rows.Scan(&d.ID, &d.Source, &d.Instance, &d.Position, &d.Reason, &d.Detail, &d.Length, &d.Excerpt, &at); err != nil {
			return err
		}
		if n := len(page.Items); n == limit {
			last := page.Items[n-1]
			page.Next = next("dead-letters", strconv.FormatInt(last.ObservedAt.UnixNano(), 10), last.ID)
			return nil
		}
		d.ID, d.ObservedAt = strings.ToLower(d.ID), nanos(at)
		d.Replay = replay(d.ID, d.Reason)
		page.Items = append(page.Items, d)
		return nil
	})
	return page, err
}

// replay is the command that reads the record again where it stood. What was read already is done with.
func replay(id, reason string) string {
	if reason == "replayed" {
		return ""
	}
	return "leastwise deadletter replay " + id
}
