package record

import (
	"context"
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/store"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// column is one column of an INSERT with its values as a slice, which the client encodes whole.
type column struct {
	name   string
	values any
}

// insert writes columns of equal length as one block: one INSERT, atomic if it stays within one table partition.
func insert(ctx context.Context, conn *store.DB, table string, rows int, columns []column) error {
	if rows == 0 {
		return nil
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+")")
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	for i, c := range columns {
		if err := batch.Column(i).Append(c.values); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("insert into %s: column %s: %w", table, c.name, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", rows, table, err)
	}
	return nil
}

func unix(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	return t.Seconds*1e9 + int64(t.Nanos)
}

// maybe gives NULL for an unknown time.
func maybe(t *timestamppb.Timestamp) *int64 {
	if t == nil {
		return nil
	}
	n := unix(t)
	return &n
}

func maybeNanos(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
