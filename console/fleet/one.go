package fleet

import (
	"context"
	"fmt"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/schemas"
)

// One finds a credential, however long ago it ended; nil if there is none of that key.
func (f *Fleet) One(ctx context.Context, key string) (*Item, error) {
	if it := f.Snapshot().Get(key); it != nil {
		return it, nil
	}
	rows, err := f.opts.Store.Query(ctx, `SELECT `+columns+` FROM credentials FINAL WHERE credential = ?`, key)
	if err != nil {
		return nil, fmt.Errorf("read credential: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	row, err := scan(rows, func(s string) string { return s })
	if err != nil {
		return nil, fmt.Errorf("read credential: %w", err)
	}
	decision, ladder := &pb.Decision{}, &pb.LadderState{}
	decided, err := newest(ctx, f.opts.Store, schemas.TopicDecisions, key, decision)
	if err != nil {
		return nil, err
	}
	stepped, err := newest(ctx, f.opts.Store, schemas.TopicEnforcement, key, ladder)
	if err != nil {
		return nil, err
	}
	if !decided {
		decision = nil
	}
	if !stepped {
		ladder = nil
	}
	return made(row, decision, ladder), nil
}

// newest reads the newest record of a credential.
func newest(ctx context.Context, db *store.DB, topic, key string, into interface{ UnmarshalVT([]byte) error }) (bool, error) {
	rows, err := db.Query(ctx, `SELECT value FROM newest_records WHERE topic = ? AND key = ? ORDER BY at DESC, kafka_offset DESC LIMIT 1`, topic, key)
	if err != nil {
		return false, fmt.Errorf("read %s of a credential: %w", topic, err)
	}
	defer rows.Close()
	if !rows.Next() {
		return false, rows.Err()
	}
	var value string
	if err := rows.Scan(&value); err != nil {
		return false, fmt.Errorf("read %s of a credential: %w", topic, err)
	}
	if err := into.UnmarshalVT([]byte(value)); err != nil {
		return false, fmt.Errorf("read %s of a credential: %w", topic, err)
	}
	return true, nil
}
