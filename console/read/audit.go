package read

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/view"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Audit is a page of the audit log, newest first.
func (r *Reader) Audit(ctx context.Context, topic, cursor string, limit int) (contract.Audit, error) {
	page := contract.Audit{Items: []contract.AuditEntry{}, Verified: r.Verified()}
	after, err := ParseCursor(cursor, "audit", 4)
	if err != nil {
		return page, err
	}
	places, err := r.places(ctx, topic, after, limit+1)
	if err != nil || len(places) == 0 {
		return page, err
	}
	if len(places) > limit {
		places = places[:limit]
		last := places[limit-1]
		page.Next = next("audit", strconv.FormatInt(last.at, 10), last.topic, strconv.FormatUint(uint64(last.partition), 10), strconv.FormatInt(last.offset, 10))
	}
	entries := map[place]contract.AuditEntry{}
	var conditions []string
	var args []any
	for _, p := range places {
		conditions = append(conditions, "(?, ?, ?)")
		args = append(args, p.topic, p.partition, p.offset)
	}
	err = r.each(ctx, "the audit log", `SELECT toUnixTimestamp64Nano(at), toString(topic), kafka_partition, kafka_offset, key, value, lower(hex(hash))
		FROM audit_log WHERE (topic, kafka_partition, kafka_offset) IN (`+strings.Join(conditions, ", ")+`)`, args, func(rows store.Rows) error {
		var p place
		var e contract.AuditEntry
		var value string
		if err := rows.Scan(&p.at, &p.topic, &p.partition, &p.offset, &e.Key, &value, &e.Hash); err != nil {
			return err
		}
		e.Topic, e.At = p.topic, nanos(p.at)
		e.Who, e.What = told(p.topic, []byte(value))
		entries[p] = e
		return nil
	})
	for _, p := range places {
		if e, ok := entries[p]; ok {
			page.Items = append(page.Items, e)
		}
	}
	return page, err
}

// place is where an entry of the audit log stands.
type place struct {
	at, offset int64
	topic      string
	partition  uint32
}

// places finds the newest entries after a cursor. The log is sorted by its chains and may be large: the newest minutes are
// looked at first, then ever longer times before them, each of which ClickHouse finds by an index.
func (r *Reader) places(ctx context.Context, topic string, after []string, limit int) ([]place, error) {
	until, cursor, bound := r.now().Add(24*time.Hour).UnixNano(), "", []any{} // clocks may differ
	if after != nil {
		var numbers [3]int64
		for i, part := range []string{after[0], after[2], after[3]} {
			var err error
			if numbers[i], err = strconv.ParseInt(part, 10, 64); err != nil {
				return nil, ErrCursor
			}
		}
		cursor = " AND (toUnixTimestamp64Nano(at), toString(topic), toInt64(kafka_partition), kafka_offset) < (?, ?, ?, ?)"
		bound = []any{numbers[0], after[1], numbers[1], numbers[2]}
		until = numbers[0]
	}
	where := "1"
	if topic != "" {
		where, bound = "topic = ?", append([]any{topic}, bound...)
	}
	var out []place
	for begin, width := min(until, r.now().UnixNano()), int64(15*time.Minute); ; width *= 8 {
		from := begin - width
		last := width > int64(3*365*24*time.Hour)
		if last {
			from = -1
		}
		args := append(slices.Clone(bound), from, until, limit-len(out))
		err := r.each(ctx, "the audit log", `SELECT toUnixTimestamp64Nano(at) AS nanos, toString(topic) AS name, kafka_partition, kafka_offset
			FROM audit_log WHERE `+where+cursor+` AND at > fromUnixTimestamp64Nano(toInt64(?)) AND at <= fromUnixTimestamp64Nano(toInt64(?))
			ORDER BY nanos DESC, name DESC, kafka_partition DESC, kafka_offset DESC LIMIT 1 BY name, kafka_partition, kafka_offset LIMIT ?`, args, func(rows store.Rows) error {
			var p place
			if err := rows.Scan(&p.at, &p.topic, &p.partition, &p.offset); err != nil {
				return err
			}
			out = append(out, p)
			return nil
		})
		if err != nil || last || len(out) >= limit {
			return out, err
		}
		until = from
	}
}

// told says in words what a record of the audit log says, and who says it.
func told(topic string, value []byte) (who *string, what string) {
	switch topic {
	case schemas.TopicDecisions:
		d := &pb.Decision{}
		if d.UnmarshalVT(value) != nil {
			break
		}
		if len(d.Violations) == 0 {
			return nil, "decided: within policy"
		}
		var names []string
		for _, v := range d.Violations {
			names = append(names, v.PolicyId)
		}
		return nil, "decided: past " + strings.Join(names, ", ")
	case schemas.TopicEnforcement:
		l := &pb.LadderState{}
		if l.UnmarshalVT(value) != nil {
			break
		}
		s := view.Step(l)
		if s.Reason != "" {
			return text(l.Writer), s.Label + " (" + s.Reason + ")"
		}
		return text(l.Writer), s.Label
	case schemas.TopicExceptions:
		e := &pb.Exception{}
		if e.UnmarshalVT(value) != nil {
			break
		}
		of := " exception " + e.Id + " from " + e.PolicyId + " for " + e.Credential + e.Identity
		switch {
		case e.RevokedAt != nil:
			return text(e.RevokedBy), "ended" + of + because(e.RevokedWhy)
		case e.GetIssuance().GetIssuedAt() != nil:
			return nil, "the broker issued to agent " + e.Issuance.Agent + " by" + of
		case e.ApprovedAt != nil:
			return text(e.ApprovedBy), "approved" + of + because(e.ApprovedWhy)
		default:
			return text(e.RequestedBy), "asked for" + of
		}
	case schemas.TopicControl:
		c := &pb.Control{}
		if c.UnmarshalVT(value) != nil {
			break
		}
		switch c.Setting {
		case pb.Control_APPROVE:
			what = "approved " + cmp.Or(approvable[c.Act], c.Act) + " of ladder " + c.Value
		case pb.Control_RESTORE:
			what = "asked back what ladder " + c.Value + " took"
		case pb.Control_ROLLBACK:
			what = "asked for the scope that ladder " + c.Value + " replaced"
		case pb.Control_RESUME:
			what = "let revocations go on that the budget stopped"
		case pb.Control_DENIED:
			what = "noted what the narrower scope of ladder " + c.Value + " denied"
		default:
			what = "set " + strings.ToLower(strings.ReplaceAll(c.Setting.String(), "_", " ")) + " to " + c.Value
		}
		if c.Reason != "" {
			what += ": " + c.Reason
		}
		return text(c.SetBy), what
	}
	return nil, "a record that this version can not read"
}

// approvable are the acts that people approve, in words.
var approvable = map[string]string{"": "the revocation", "revoke": "the revocation", "narrow": "the narrower scope", "restore": "the giving back",
	"finish": "the last step", "rotate": "the rotation"}

// because gives a reason as it ends a sentence.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

type chainKey struct {
	topic     string
	partition uint32
}

// chain is how far a partition's hash chain was proven.
type chain struct {
	last    int64
	end     [32]byte
	entries uint64
	broken  string
	checked time.Time
}

// proof is the hash of a row that follows: SHA-256 over the previous hash, topic, partition, offset, key and value, each
// text preceded by its length; the recorder of the processor writes it so.
func proof(previous [32]byte, topic string, partition uint32, offset int64, key, value string) [32]byte {
	h := sha256.New()
	h.Write(previous[:])
	var size [8]byte
	for _, part := range [][]byte{[]byte(topic), binary.BigEndian.AppendUint32(nil, partition),
		binary.BigEndian.AppendUint64(nil, uint64(offset)), []byte(key), []byte(value)} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// atOnce is how many rows are proven before anybody else is let in.
const atOnce = 50_000

// Verify proves what came since the last time, from the beginning at the first. It takes the time of reading the log once.
func (r *Reader) Verify(ctx context.Context) error {
	var keys []chainKey
	err := r.each(ctx, "the audit log", `SELECT DISTINCT toString(topic), kafka_partition FROM audit_log`, nil, func(rows store.Rows) error {
		var k chainKey
		if err := rows.Scan(&k.topic, &k.partition); err != nil {
			return err
		}
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		for more := true; more; {
			if more, err = r.verify(ctx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reader) verify(ctx context.Context, k chainKey) (more bool, err error) {
	r.mu.Lock()
	c := chain{last: -1}
	if known := r.chain[k]; known != nil {
		c = *known
	}
	r.mu.Unlock()
	rows := 0
	if c.broken == "" {
		err = r.each(ctx, "the audit log", `SELECT kafka_offset, key, value, previous_hash, hash FROM audit_log
			WHERE topic = ? AND kafka_partition = ? AND kafka_offset > ? ORDER BY kafka_offset LIMIT 1 BY kafka_offset LIMIT ?`,
			[]any{k.topic, k.partition, c.last, atOnce}, func(result store.Rows) error {
				var offset int64
				var key, value, previous, hash string
				if err := result.Scan(&offset, &key, &value, &previous, &hash); err != nil {
					return err
				}
				rows++
				if c.broken != "" {
					return nil
				}
				switch end := proof(c.end, k.topic, k.partition, offset, key, value); {
				case previous != string(c.end[:]):
					c.broken = fmt.Sprintf("partition %d, offset %d: a row before it is missing", k.partition, offset)
				case hash != string(end[:]):
					c.broken = fmt.Sprintf("partition %d, offset %d: its text does not give its hash", k.partition, offset)
				default:
					c.end, c.last = end, offset
					c.entries++
				}
				return nil
			})
		if err != nil {
			return false, err
		}
	}
	c.checked = r.now().UTC()
	r.mu.Lock()
	r.chain[k] = &c
	r.mu.Unlock()
	return rows == atOnce && c.broken == "", nil
}

// Verified is what Verify found, by topic.
func (r *Reader) Verified() []contract.Verified {
	r.mu.Lock()
	defer r.mu.Unlock()
	byTopic := map[string]*contract.Verified{}
	for k, c := range r.chain {
		v := byTopic[k.topic]
		if v == nil {
			v = &contract.Verified{Topic: k.topic, Unbroken: true}
			byTopic[k.topic] = v
		}
		v.Entries += c.entries
		if c.broken != "" {
			v.Unbroken, v.BrokenAt = false, &c.broken
		}
		if at := c.checked; v.CheckedAt == nil || at.Before(*v.CheckedAt) {
			v.CheckedAt = &at
		}
	}
	out := []contract.Verified{}
	for _, v := range byTopic {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b contract.Verified) int { return strings.Compare(a.Topic, b.Topic) })
	return out
}
