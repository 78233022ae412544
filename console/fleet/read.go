package fleet

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/schemas"
)

// columns are those of a Row, in the order in which scan takes them.
const columns = `credential, type, source, instance, principal, agent, owner, owner_evidence, system_of_record, revoked_how, parent,
	ifNull(toUnixTimestamp64Nano(issued_at), 0), ifNull(toUnixTimestamp64Nano(expires_at), 0),
	ifNull(toUnixTimestamp64Nano(first_seen_at), 0), ifNull(toUnixTimestamp64Nano(last_seen_at), 0),
	ifNull(toUnixTimestamp64Nano(last_used_at), 0), ifNull(toUnixTimestamp64Nano(last_denied_at), 0),
	ifNull(toUnixTimestamp64Nano(revoked_at), 0), never_expires, scope_known, children,
	ifNull(toInt64(scope_permissions), -1), ifNull(toInt64(used_permissions), -1), ifNull(scope_weight, 0),
	uses, uses_1h, uses_24h, uses_7d, uses_30d, denied, denied_permissions,
	ifNull(toInt8(issued_but_unused), -1), ifNull(toInt8(used_but_unissued), -1), ifNull(toInt8(usage_contradiction), -1),
	kafka_partition, applied_offset, toUnixTimestamp64Nano(written_at)`

func scan(rows store.Rows, name func(string) string) (Row, error) {
	var r Row
	err := rows.Scan(&r.Key, &r.Type, &r.Source, &r.Instance, &r.Principal, &r.Agent, &r.Owner, &r.Evidence, &r.System, &r.RevokedHow, &r.Parent,
		&r.IssuedAt, &r.ExpiresAt, &r.FirstSeenAt, &r.LastSeenAt, &r.LastUsedAt, &r.LastDeniedAt, &r.RevokedAt,
		&r.NeverExpires, &r.ScopeKnown, &r.Children, &r.ScopePermissions, &r.UsedPermissions, &r.ScopeWeight,
		&r.Uses, &r.Uses1h, &r.Uses24h, &r.Uses7d, &r.Uses30d, &r.Denied, &r.Attempts,
		&r.Unused, &r.Unissued, &r.Contradiction, &r.partition, &r.offset, &r.written)
	for _, text := range []*string{&r.Type, &r.Source, &r.Instance, &r.Principal, &r.Agent, &r.Owner, &r.Evidence, &r.System, &r.RevokedHow} {
		*text = name(*text)
	}
	return r, err
}

// since is a condition for what lies past the newest known of each partition, and of partitions that are new.
func since(known map[uint32]int64) (string, []any) {
	if len(known) == 0 {
		return "1", nil
	}
	var text strings.Builder
	var args []any
	partitions := make([]uint32, 0, len(known))
	for p, at := range known {
		text.WriteString("(kafka_partition = ? AND kafka_offset > ?) OR ")
		args = append(args, p, at)
		partitions = append(partitions, p)
	}
	text.WriteString("kafka_partition NOT IN (?)")
	return "(" + text.String() + ")", append(args, partitions)
}

// mark is the newest that a partition's worker wrote: when, and how many rows of that moment there are.
type mark struct {
	at int64
	n  uint64
}

// marks of all partitions.
func (f *Fleet) marks(ctx context.Context) (map[uint32]mark, error) {
	rows, err := f.opts.Store.Query(ctx, `SELECT kafka_partition, toUnixTimestamp64Nano(written_at) AS at, count() FROM credentials
		GROUP BY kafka_partition, at ORDER BY at DESC LIMIT 1 BY kafka_partition`)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	defer rows.Close()
	marks := map[uint32]mark{}
	for rows.Next() {
		var partition uint32
		var m mark
		if err := rows.Scan(&partition, &m.at, &m.n); err != nil {
			return nil, fmt.Errorf("read credentials: %w", err)
		}
		marks[partition] = m
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return marks, nil
}

// readCredentials reads rows written since the last reading. One worker writes a partition, in the order of time; rows of the
// last moment are read again if there are more of them than there were, because it was read when it was written in part.
func (f *Fleet) readCredentials(ctx context.Context, changed map[string]bool) error {
	marks, err := f.marks(ctx)
	if err != nil {
		return err
	}
	var where strings.Builder
	var args []any
	for partition, m := range marks {
		old, known := f.written[partition]
		if known && old == m {
			continue
		}
		if !known {
			old.at = 0
		}
		where.WriteString("(kafka_partition = ? AND toUnixTimestamp64Nano(written_at) >= ?) OR ")
		args = append(args, partition, old.at)
	}
	if len(args) == 0 {
		return nil
	}
	final := "FINAL"
	if len(f.written) > 0 {
		final = "" // the newest row wins below, and that is cheaper
	}
	rows, err := f.opts.Store.Query(ctx, `SELECT `+columns+` FROM credentials `+final+` WHERE (`+strings.TrimSuffix(where.String(), " OR ")+`)
		AND (isNull(revoked_at) OR revoked_at > now() - INTERVAL 7 DAY)
		AND (isNotNull(revoked_at) OR isNull(expires_at) OR expires_at > now() - INTERVAL 7 DAY)`, args...)
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows, f.name)
		if err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		if old := f.rows[row.Key]; old != nil && (old.offset > row.offset || old.offset == row.offset && old.written >= row.written) {
			continue
		}
		f.put(row)
		changed[row.Key] = true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	for partition, m := range marks {
		f.written[partition] = m
		f.hear(time.Unix(0, m.at))
	}
	return nil
}

// readNewest gives the newest record of each key that was written since the last reading: at first all there are, which
// ClickHouse keeps apart from the log, then what the log got since.
func (f *Fleet) readNewest(ctx context.Context, topic string, take func(key, value string) error) error {
	known := f.offsets[topic]
	query, args := `SELECT kafka_partition, key, kafka_offset, value FROM newest_records FINAL WHERE topic = ?`, []any{topic}
	if known != nil {
		where, past := since(known)
		query = `SELECT kafka_partition, key, max(kafka_offset), argMax(value, kafka_offset) FROM audit_log WHERE topic = ? AND ` + where + ` GROUP BY kafka_partition, key`
		args = append(args, past...)
	}
	rows, err := f.opts.Store.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer rows.Close()
	next := map[uint32]int64{}
	for rows.Next() {
		var partition uint32
		var offset int64
		var key, value string
		if err := rows.Scan(&partition, &key, &offset, &value); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		next[partition] = max(next[partition], offset)
		if err := take(key, value); err != nil {
			f.opts.Log.Warn("a record can not be read", "topic", topic, "key", key, "error", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	if known == nil {
		known = map[uint32]int64{}
		f.offsets[topic] = known
	}
	for p, offset := range next {
		known[p] = max(known[p], offset)
	}
	return nil
}

func (f *Fleet) readDecisions(ctx context.Context, changed map[string]bool) error {
	return f.readNewest(ctx, schemas.TopicDecisions, func(key, value string) error {
		d := &pb.Decision{}
		if err := d.UnmarshalVT([]byte(value)); err != nil {
			return err
		}
		f.hear(d.DecidedAt.AsTime())
		if old := f.rows[key]; old == nil {
			f.decisions[key] = d
		} else if !sameDecision(old.Decision, d) {
			f.rows[key] = made(old.Row, d, old.Ladder)
			changed[key] = true
		}
		return nil
	})
}

// sameDecision: a heartbeat says again what was said.
func sameDecision(a, b *pb.Decision) bool {
	if a == nil {
		return len(b.Violations) == 0
	}
	return a.InputRevision == b.InputRevision && a.PolicyRevision == b.PolicyRevision && len(a.Violations) == len(b.Violations)
}

func (f *Fleet) readLadders(ctx context.Context, changed map[string]bool) error {
	return f.readNewest(ctx, schemas.TopicEnforcement, func(key, value string) error {
		l := &pb.LadderState{}
		if err := l.UnmarshalVT([]byte(value)); err != nil {
			return err
		}
		if old := f.rows[key]; old == nil {
			f.ladders[key] = l
		} else if old.Ladder == nil || old.Ladder.Step <= l.Step {
			f.rows[key] = made(old.Row, old.Decision, l)
			changed[key] = true
		}
		return nil
	})
}

// beat is a source's last heartbeat.
type beat struct {
	at      int64
	trouble bool
}

// readHeard tells whether a source's heartbeat came since.
func (f *Fleet) readHeard(ctx context.Context) (bool, error) {
	rows, err := f.opts.Store.Query(ctx, `SELECT source, instance, toUnixTimestamp64Nano(at), trouble != '' FROM source_health FINAL`)
	if err != nil {
		return false, fmt.Errorf("read heartbeats: %w", err)
	}
	defer rows.Close()
	beats, newer := map[string]beat{}, false
	for rows.Next() {
		var source, instance string
		var b beat
		if err := rows.Scan(&source, &instance, &b.at, &b.trouble); err != nil {
			return false, fmt.Errorf("read heartbeats: %w", err)
		}
		beats[source+"/"+instance] = b
		newer = f.hear(time.Unix(0, b.at)) || newer
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("read heartbeats: %w", err)
	}
	f.beats = beats
	return newer, nil
}

// hear remembers the newest that ClickHouse was told.
func (f *Fleet) hear(at time.Time) bool {
	if at.After(f.heard) {
		f.heard = at.UTC()
		return true
	}
	return false
}
