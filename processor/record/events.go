// Package record writes to ClickHouse: events and credentials for the processor's partitions, and copies of what is
// decided and done for the auditors. It knows tables and rows, not when to write them.
//
// Each INSERT is one block into one table partition, so it is there whole or not at all.
package record

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Events collects rows of the events table, column by column. The zero value is empty and ready.
type Events struct {
	id                                     [][]byte
	kind, credential, principal            []string
	occurred, observed                     []time.Time
	source, instance, action, permission   []string
	resource, outcome, errorText, recordID []string
	recordIndex                            []uint32
	position, actor, flag, parent, child   []string
	issued, expires                        []*time.Time
	never                                  []bool
	policies, grantedBy                    [][]string
	labels                                 []map[string]string
	remote                                 []string
	offset                                 []int64
	// The same for all rows of an INSERT; filled when it is made.
	partition []uint32
	written   []time.Time
}

var outcomes = map[pb.Outcome]string{pb.Outcome_OUTCOME_SUCCESS: "SUCCESS", pb.Outcome_OUTCOME_FAILURE: "FAILURE"}

var kinds = func() (names [16]string) {
	for value, name := range pb.Event_Kind_name {
		names[value] = name
	}
	return names
}()

// Append adds an event that stands at offset. Events must come in the order of their offsets.
func (r *Events) Append(ev *pb.Event, offset int64) {
	r.id = append(r.id, ev.Id)
	kind := "UNKNOWN"
	if int(ev.Kind) < len(kinds) && kinds[ev.Kind] != "" {
		kind = kinds[ev.Kind]
	}
	r.kind = append(r.kind, kind)
	r.credential = append(r.credential, ev.Credential)
	r.principal = append(r.principal, ev.Principal)
	r.occurred = append(r.occurred, moment(ev.OccurredAt))
	r.observed = append(r.observed, moment(ev.ObservedAt))
	r.source = append(r.source, ev.Source)
	r.instance = append(r.instance, ev.Instance)
	r.action = append(r.action, ev.Action)
	r.permission = append(r.permission, ev.Permission)
	r.resource = append(r.resource, ev.Resource)
	r.outcome = append(r.outcome, outcomes[ev.Outcome])
	r.errorText = append(r.errorText, ev.Error)
	r.recordID = append(r.recordID, ev.RecordId)
	r.recordIndex = append(r.recordIndex, ev.Index)
	r.position = append(r.position, ev.Position)
	r.actor = append(r.actor, ev.Actor)
	flag := ""
	if ev.Flag != pb.Event_NONE {
		flag = ev.Flag.String()
	}
	r.flag = append(r.flag, flag)
	r.parent = append(r.parent, ev.Parent)
	r.child = append(r.child, ev.Child)
	var issued, expires *time.Time
	never := false
	if l := ev.Lifetime; l != nil {
		issued, expires, never = maybe(l.IssuedAt), maybe(l.ExpiresAt), l.NeverExpires
	}
	r.issued = append(r.issued, issued)
	r.expires = append(r.expires, expires)
	r.never = append(r.never, never)
	r.policies = append(r.policies, ev.Policies)
	r.grantedBy = append(r.grantedBy, ev.GrantedBy)
	r.labels = append(r.labels, ev.Labels)
	r.remote = append(r.remote, ev.RemoteAddress)
	r.offset = append(r.offset, offset)
}

// Len counts the rows.
func (r *Events) Len() int { return len(r.id) }

// Last is the offset of the last row; there must be one.
func (r *Events) Last() int64 { return r.offset[len(r.offset)-1] }

// Drop takes away the rows at or before offset: they are in the table already.
func (r *Events) Drop(offset int64) {
	n := 0
	for n < len(r.offset) && r.offset[n] <= offset {
		n++
	}
	if n == 0 {
		return
	}
	r.id, r.kind, r.credential, r.principal = r.id[n:], r.kind[n:], r.credential[n:], r.principal[n:]
	r.occurred, r.observed, r.source, r.instance = r.occurred[n:], r.observed[n:], r.source[n:], r.instance[n:]
	r.action, r.permission, r.resource, r.outcome = r.action[n:], r.permission[n:], r.resource[n:], r.outcome[n:]
	r.errorText, r.recordID, r.recordIndex = r.errorText[n:], r.recordID[n:], r.recordIndex[n:]
	r.position, r.actor, r.flag, r.parent, r.child = r.position[n:], r.actor[n:], r.flag[n:], r.parent[n:], r.child[n:]
	r.issued, r.expires, r.never = r.issued[n:], r.expires[n:], r.never[n:]
	r.policies, r.grantedBy, r.labels = r.policies[n:], r.grantedBy[n:], r.labels[n:]
	r.remote, r.offset = r.remote[n:], r.offset[n:]
}

// Insert writes all rows as one INSERT, at writtenAt.
func (r *Events) Insert(ctx context.Context, conn *store.DB, partition uint32, writtenAt time.Time) error {
	n := r.Len()
	r.partition, r.written = fill(r.partition, partition, n), fill(r.written, writtenAt, n)
	return insert(ctx, conn, "events", n, []column{
		{"id", r.id}, {"kind", r.kind}, {"credential", r.credential}, {"principal", r.principal},
		{"occurred_at", r.occurred}, {"observed_at", r.observed}, {"source", r.source}, {"instance", r.instance},
		{"action", r.action}, {"permission", r.permission}, {"resource", r.resource}, {"outcome", r.outcome},
		{"error", r.errorText}, {"record_id", r.recordID}, {"record_index", r.recordIndex}, {"position", r.position},
		{"actor", r.actor}, {"flag", r.flag}, {"parent", r.parent}, {"child", r.child}, {"issued_at", r.issued},
		{"expires_at", r.expires}, {"never_expires", r.never}, {"policies", r.policies}, {"granted_by", r.grantedBy},
		{"labels", r.labels}, {"remote_address", r.remote}, {"kafka_partition", r.partition},
		{"kafka_offset", r.offset}, {"written_at", r.written},
	})
}

// Reset empties the rows. It keeps their memory unless little of it was used this time.
func (r *Events) Reset() {
	if len(r.id) < cap(r.id)/8 {
		*r = Events{}
		return
	}
	for _, column := range []*[]string{&r.kind, &r.credential, &r.principal, &r.source, &r.instance, &r.action, &r.permission,
		&r.resource, &r.outcome, &r.errorText, &r.recordID, &r.position, &r.actor, &r.flag, &r.parent, &r.child, &r.remote} {
		empty(column)
	}
	empty(&r.id)
	empty(&r.occurred)
	empty(&r.observed)
	empty(&r.recordIndex)
	empty(&r.issued)
	empty(&r.expires)
	empty(&r.never)
	empty(&r.policies)
	empty(&r.grantedBy)
	empty(&r.labels)
	empty(&r.offset)
}

func empty[T any](column *[]T) {
	clear(*column)
	*column = (*column)[:0]
}

// fill makes a column of n times the same value, in the memory of one that is not needed any more.
func fill[T any](column []T, value T, n int) []T {
	column = slices.Grow(column[:0], n)[:n]
	for i := range column {
		column[i] = value
	}
	return column
}

func repeat[T any](value T, n int) []T { return fill(nil, value, n) }

// NewestOffset is the offset of the newest event of a partition in the table, -1 if there is none.
func NewestOffset(ctx context.Context, conn *store.DB, partition int) (int64, error) {
	var newest int64
	row := conn.QueryRow(ctx, "SELECT if(count() = 0, toInt64(-1), max(kafka_offset)) FROM events WHERE kafka_partition = ?", uint32(partition))
	if err := row.Scan(&newest); err != nil {
		return 0, fmt.Errorf("newest event offset of partition %d: %w", partition, err)
	}
	return newest, nil
}

// RecentIDs calls fn for the ids of the newest events (by occurrence) of a partition, at most limit. It returns the
// time from which on all ids the table holds were told; 0 if the table holds no others.
func RecentIDs(ctx context.Context, conn *store.DB, partition, limit int, fn func(id [16]byte, at, offset int64)) (horizon int64, err error) {
	rows, err := conn.Query(ctx, `SELECT id, toUnixTimestamp64Nano(occurred_at), kafka_offset FROM events
		WHERE kafka_partition = ? ORDER BY occurred_at DESC LIMIT ?`, uint32(partition), uint64(limit))
	if err != nil {
		return 0, fmt.Errorf("recent event ids of partition %d: %w", partition, err)
	}
	defer rows.Close()
	n := 0
	var oldest int64
	for rows.Next() {
		var id string
		var at, offset int64
		if err := rows.Scan(&id, &at, &offset); err != nil {
			return 0, fmt.Errorf("recent event ids: %w", err)
		}
		fn([16]byte([]byte(id)), at, offset)
		oldest = at
		n++
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("recent event ids: %w", err)
	}
	if n < limit {
		return 0, nil
	}
	return oldest + 1, nil
}

// FirstOffsets finds which of the ids a partition holds, and at which offset first. credentials narrows the search to
// the rows' sorting key.
func FirstOffsets(ctx context.Context, conn *store.DB, partition int, credentials []string, ids [][]byte) (map[[16]byte]int64, error) {
	rows, err := conn.Query(ctx, `SELECT id, min(kafka_offset) FROM events
		WHERE kafka_partition = ? AND credential IN (?) AND hex(id) IN (?) GROUP BY id`, uint32(partition), credentials, hexes(ids))
	if err != nil {
		return nil, fmt.Errorf("look up event ids: %w", err)
	}
	defer rows.Close()
	found := map[[16]byte]int64{}
	for rows.Next() {
		var id string
		var offset int64
		if err := rows.Scan(&id, &offset); err != nil {
			return nil, fmt.Errorf("look up event ids: %w", err)
		}
		found[[16]byte([]byte(id))] = offset
	}
	return found, rows.Err()
}

func hexes(ids [][]byte) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = fmt.Sprintf("%X", id)
	}
	return out
}
