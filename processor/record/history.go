package record

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Chain is the end of a partition's hash chain in audit_log. The zero value stands for an empty chain.
type Chain struct {
	Last int64 // offset of the last row; meaningless if empty
	Hash [32]byte
	some bool
}

// Next is the first offset that the chain does not hold.
func (c Chain) Next() int64 {
	if !c.some {
		return 0
	}
	return c.Last + 1
}

// link gives the hash of the row that follows: SHA-256 over the previous hash, topic, partition, offset, key and value,
// each text preceded by its length.
func link(previous [32]byte, topic string, partition uint32, offset int64, key, value []byte) [32]byte {
	h := sha256.New()
	h.Write(previous[:])
	var number [8]byte
	for _, part := range [][]byte{[]byte(topic), binary.BigEndian.AppendUint32(nil, partition),
		binary.BigEndian.AppendUint64(nil, uint64(offset)), key, value} {
		binary.BigEndian.PutUint64(number[:], uint64(len(part)))
		h.Write(number[:])
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// LoadChain finds the end of a partition's chain.
func LoadChain(ctx context.Context, conn *store.DB, topic string, partition int) (Chain, error) {
	rows, err := conn.Query(ctx, `SELECT kafka_offset, hash FROM audit_log FINAL
		WHERE topic = ? AND kafka_partition = ? ORDER BY kafka_offset DESC LIMIT 1`, topic, uint32(partition))
	if err != nil {
		return Chain{}, fmt.Errorf("audit chain of %s/%d: %w", topic, partition, err)
	}
	defer rows.Close()
	var c Chain
	for rows.Next() {
		var hash string
		if err := rows.Scan(&c.Last, &hash); err != nil {
			return Chain{}, fmt.Errorf("audit chain of %s/%d: %w", topic, partition, err)
		}
		copy(c.Hash[:], hash)
		c.some = true
	}
	return c, rows.Err()
}

// ErrChain says that the audit log does not prove itself.
var ErrChain = errors.New("the audit log has been changed")

// Link is a row of the audit log that was proven to follow from the one before.
type Link struct {
	Topic     string
	Partition uint32
	Offset    int64
	At        time.Time
	Key       string
	Value     string
	Hash      [32]byte
}

// Chains recomputes every chain of audit_log and calls each for every row that is proven. An error wrapping ErrChain names
// the first row that does not follow from the one before; each's own error ends it, too.
func Chains(ctx context.Context, conn *store.DB, each func(Link) error) error {
	result, err := conn.Query(ctx, `SELECT topic, kafka_partition, kafka_offset, at, key, value, previous_hash, hash
		FROM audit_log FINAL ORDER BY topic, kafka_partition, kafka_offset`)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer result.Close()
	var end [32]byte
	var chain string
	for result.Next() {
		var l Link
		var previous, hash string
		if err := result.Scan(&l.Topic, &l.Partition, &l.Offset, &l.At, &l.Key, &l.Value, &previous, &hash); err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if name := fmt.Sprintf("%s/%d", l.Topic, l.Partition); name != chain {
			chain, end = name, [32]byte{}
		}
		if previous != string(end[:]) {
			return fmt.Errorf("%s offset %d: a row before it is missing: %w", chain, l.Offset, ErrChain)
		}
		end = link(end, l.Topic, l.Partition, l.Offset, []byte(l.Key), []byte(l.Value))
		if hash != string(end[:]) {
			return fmt.Errorf("%s offset %d: its text does not give its hash: %w", chain, l.Offset, ErrChain)
		}
		l.Hash = end
		if err := each(l); err != nil {
			return err
		}
	}
	return result.Err()
}

// VerifyChains recomputes every chain of audit_log and counts the rows proven; it fails as Chains does.
func VerifyChains(ctx context.Context, conn *store.DB) (rows uint64, err error) {
	err = Chains(ctx, conn, func(Link) error { rows++; return nil })
	return rows, err
}

// History is a batch of records of one partition of one topic, on its way to the tables.
type History struct {
	Topic     string
	Partition uint32

	offsets     []int64
	keys        []string
	values      []string
	at          []time.Time
	decisions   []numbered[*pb.Decision]
	ladders     []numbered[*pb.LadderState]
	exceptions  []numbered[*pb.Exception]
	deadLetters []*pb.DeadLetter
}

type numbered[T any] struct {
	offset int64
	value  T
}

type message interface{ UnmarshalVT([]byte) error }

// Add takes a record. It fails if the record is not of its topic's type; the raw record is kept even then.
func (h *History) Add(offset int64, key, value []byte, at time.Time) error {
	if h.Topic != schemas.TopicDeadLetter {
		h.offsets, h.keys, h.values = append(h.offsets, offset), append(h.keys, string(key)), append(h.values, string(value))
		h.at = append(h.at, at)
	}
	read := func(into message) error {
		if err := into.UnmarshalVT(value); err != nil {
			return fmt.Errorf("%s offset %d: %w", h.Topic, offset, err)
		}
		return nil
	}
	switch h.Topic {
	case schemas.TopicDecisions:
		d := &pb.Decision{}
		if err := read(d); err != nil {
			return err
		}
		h.decisions = append(h.decisions, numbered[*pb.Decision]{offset, d})
	case schemas.TopicEnforcement:
		l := &pb.LadderState{}
		if err := read(l); err != nil {
			return err
		}
		h.ladders = append(h.ladders, numbered[*pb.LadderState]{offset, l})
	case schemas.TopicExceptions:
		e := &pb.Exception{}
		if err := read(e); err != nil {
			return err
		}
		h.exceptions = append(h.exceptions, numbered[*pb.Exception]{offset, e})
	case schemas.TopicDeadLetter:
		d := &pb.DeadLetter{}
		if err := read(d); err != nil {
			return err
		}
		if len(d.Id) != 16 || len(d.Sha256) != 32 {
			return fmt.Errorf("%s offset %d: id or hash of the wrong length", h.Topic, offset)
		}
		h.deadLetters = append(h.deadLetters, d)
	}
	return nil
}

// Write puts the batch into the tables and moves the chain on. Called again after an error it writes nothing twice: the
// chain's end is read anew, and the other tables replace rows of one key.
func (h *History) Write(ctx context.Context, conn *store.DB, chain *Chain, now time.Time) error {
	if len(h.offsets) > 0 {
		current, err := LoadChain(ctx, conn, h.Topic, int(h.Partition))
		if err != nil {
			return err
		}
		*chain = current
		if err := h.writeChain(ctx, conn, chain, now); err != nil {
			return err
		}
	}
	if err := insertDecisions(ctx, conn, h.Partition, h.decisions); err != nil {
		return err
	}
	if err := insertLadders(ctx, conn, h.Partition, h.ladders); err != nil {
		return err
	}
	if err := insertExceptions(ctx, conn, h.exceptions); err != nil {
		return err
	}
	return insertDeadLetters(ctx, conn, h.deadLetters)
}

func (h *History) writeChain(ctx context.Context, conn *store.DB, chain *Chain, now time.Time) error {
	var offsets []int64
	var at []time.Time
	var keys, values []string
	var previous, hashes [][]byte
	end := *chain
	for i, offset := range h.offsets {
		if offset < chain.Next() {
			continue
		}
		before := end.Hash
		end.Hash = link(end.Hash, h.Topic, h.Partition, offset, []byte(h.keys[i]), []byte(h.values[i]))
		end.Last, end.some = offset, true
		after := end.Hash
		offsets, at = append(offsets, offset), append(at, h.at[i])
		keys, values = append(keys, h.keys[i]), append(values, h.values[i])
		previous, hashes = append(previous, before[:]), append(hashes, after[:])
	}
	n := len(offsets)
	err := insert(ctx, conn, "audit_log", n, []column{
		{"topic", repeat(h.Topic, n)}, {"kafka_partition", repeat(h.Partition, n)}, {"kafka_offset", offsets},
		{"key", keys}, {"value", values}, {"at", at}, {"previous_hash", previous}, {"hash", hashes},
		{"written_at", repeat(now, n)}})
	if err == nil {
		*chain = end
	}
	return err
}
