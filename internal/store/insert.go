package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Column is one column of an INSERT, with its values as a slice.
type Column struct {
	Name   string
	Values any
}

// Insert writes columns of equal length as one block: one INSERT, atomic if it stays within one table partition.
func (d *DB) Insert(ctx context.Context, table string, rows int, columns []Column) error {
	if rows == 0 {
		return nil
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	batch, err := d.PrepareBatch(ctx, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+")")
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	drafts := batch.Columns()
	for i, c := range columns {
		if err := c.reserve(drafts[i]); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("insert into %s: column %s: %w", table, c.Name, err)
		}
		if err := c.appendTo(batch.Column(i)); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("insert into %s: column %s: %w", table, c.Name, err)
		}
		if n := drafts[i].Rows(); n != rows { // over HTTP the client would send nothing and report success
			_ = batch.Abort()
			return fmt.Errorf("insert into %s: column %s has %d values for %d rows", table, c.Name, n, rows)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", rows, table, err)
	}
	return nil
}

// reserve makes room for all text of a column at once. The client appends value by value, and would otherwise copy what it
// has into a larger buffer some thirty times, each of them fresh memory.
func (c Column) reserve(draft column.Interface) error {
	values, ok := c.Values.([]string)
	if _, plain := draft.(*column.String); !ok || !plain {
		return nil
	}
	size := 0
	for _, text := range values {
		size += len(text)
	}
	if err := draft.AppendRow(blank[:min(size, len(blank))]); err != nil {
		return err
	}
	draft.Reset() // keeps the room
	return nil
}

// blank is text to reserve room with. It is never touched but to be copied, so it takes no memory.
var blank = func() string {
	text := make([]byte, 16<<20)
	return unsafe.String(&text[0], len(text))
}()

// appendTo appends the values. Of lists and maps the client appends a whole column by reflection, and rows without.
func (c Column) appendTo(to driver.BatchColumn) error {
	switch values := c.Values.(type) {
	case [][]string:
		for _, list := range values {
			if err := to.AppendRow(list); err != nil {
				return err
			}
		}
		return nil
	case []map[string]string:
		var labels pairs
		for _, m := range values {
			labels.of(m)
			if err := to.AppendRow(&labels); err != nil {
				return err
			}
		}
		return nil
	}
	return to.Append(c.Values)
}

// pairs are a map's keys and values in the order of the keys, as the client takes them.
type pairs struct {
	from map[string]string
	keys []string
	at   int
}

func (p *pairs) of(m map[string]string) {
	p.from, p.keys = m, p.keys[:0]
	for key := range m {
		p.keys = append(p.keys, key)
	}
	slices.Sort(p.keys)
}

// Iterator implements column.IterableOrderedMap.
func (p *pairs) Iterator() column.MapIterator { p.at = -1; return p }

// Put implements column.IterableOrderedMap; the client puts only when it reads.
func (p *pairs) Put(any, any) {}

// Next implements column.MapIterator, as do Key and Value.
func (p *pairs) Next() bool { p.at++; return p.at < len(p.keys) }
func (p *pairs) Key() any   { return p.keys[p.at] }
func (p *pairs) Value() any { return p.from[p.keys[p.at]] }
