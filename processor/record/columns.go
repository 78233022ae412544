package record

import (
	"context"
	"fmt"
	"strings"
	"time"

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

// moment of a message; the epoch if it is missing. Times go to the client as time.Time: it takes an int64 for a
// DateTime64 column as milliseconds, whatever the column's precision.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Unix(0, 0)
	}
	return time.Unix(t.Seconds, int64(t.Nanos))
}

// maybe gives NULL for an unknown time.
func maybe(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	m := moment(t)
	return &m
}

func maybeNanos(n int64) *time.Time {
	if n == 0 {
		return nil
	}
	t := time.Unix(0, n)
	return &t
}
