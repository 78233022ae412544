package record

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// column is a column of an INSERT: its name and its values, a slice.
type column struct {
	name   string
	values any
}

func insert(ctx context.Context, conn *store.DB, table string, rows int, columns []column) error {
	all := make([]store.Column, len(columns))
	for i, c := range columns {
		all[i] = store.Column{Name: c.name, Values: c.values}
	}
	return conn.Insert(ctx, table, rows, all)
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
