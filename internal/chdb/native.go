package chdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The engine writes Native at revision 0: blocks of columns, nothing else. A
// client that names a client_protocol_version expects two additions, and that
// is all that upgradeNative makes; the columns' bytes are copied as they are.
const (
	revisionBlockInfo           = 1     // in fact any revision above 0
	revisionCustomSerialization = 54454 // one byte after each column's type
)

// blockInfo is field 1 (is_overflows) 0, field 2 (bucket_num) -1, end.
var blockInfo = []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0}

// upgradeNative rewrites blocks of revision 0 for the given revision.
func upgradeNative(in []byte, revision uint64) ([]byte, error) {
	if revision < revisionBlockInfo || len(in) == 0 {
		return in, nil
	}
	out := make([]byte, 0, len(in)+len(in)/64+1024)
	c := cursor{b: in}
	for c.i < len(in) {
		out = append(out, blockInfo...)
		start := c.i
		columns, err := c.uvarint()
		if err != nil {
			return nil, err
		}
		rows, err := c.uvarint()
		if err != nil {
			return nil, err
		}
		out = append(out, in[start:c.i]...)
		for range columns {
			start := c.i
			if err := c.str(); err != nil { // name
				return nil, err
			}
			typ, err := c.readString()
			if err != nil {
				return nil, err
			}
			out = append(out, in[start:c.i]...)
			if revision >= revisionCustomSerialization {
				out = append(out, 0)
			}
			if rows == 0 {
				continue
			}
			start = c.i
			t, err := parseType(typ)
			if err != nil {
				return nil, err
			}
			if err := t.prefix(&c); err != nil {
				return nil, fmt.Errorf("type %s: %w", typ, err)
			}
			if err := t.data(&c, rows); err != nil {
				return nil, fmt.Errorf("type %s: %w", typ, err)
			}
			out = append(out, in[start:c.i]...)
		}
	}
	return out, nil
}

var errShort = errors.New("native block ends early")

type cursor struct {
	b []byte
	i int
}

func (c *cursor) skip(n uint64) error {
	if n > uint64(len(c.b)-c.i) {
		return errShort
	}
	c.i += int(n)
	return nil
}

// skipN skips n items of size bytes.
func (c *cursor) skipN(n, size uint64) error {
	if size != 0 && n > uint64(len(c.b))/size {
		return errShort
	}
	return c.skip(n * size)
}

func (c *cursor) uvarint() (uint64, error) {
	v, n := binary.Uvarint(c.b[c.i:])
	if n <= 0 {
		return 0, errShort
	}
	c.i += n
	return v, nil
}

func (c *cursor) u64() (uint64, error) {
	if len(c.b)-c.i < 8 {
		return 0, errShort
	}
	v := binary.LittleEndian.Uint64(c.b[c.i:])
	c.i += 8
	return v, nil
}

func (c *cursor) str() error {
	n, err := c.uvarint()
	if err != nil {
		return err
	}
	return c.skip(n)
}

func (c *cursor) readString() (string, error) {
	n, err := c.uvarint()
	if err != nil {
		return "", err
	}
	start := c.i
	if err := c.skip(n); err != nil {
		return "", err
	}
	return string(c.b[start:c.i]), nil
}

// shape is the layout of a type: enough to find where its bytes end.
type shape struct {
	kind  byte // fixed, string, nullable, array, tuple, low cardinality
	size  uint64
	inner []shape
}

const (
	kindFixed          = 'f'
	kindString         = 's'
	kindNullable       = 'n'
	kindArray          = 'a'
	kindTuple          = 't'
	kindLowCardinality = 'l'
)

// prefix skips the state that precedes a column's data.
func (t shape) prefix(c *cursor) error {
	if t.kind == kindLowCardinality {
		return c.skip(8) // version of the dictionary's serialization
	}
	for _, in := range t.inner {
		if err := in.prefix(c); err != nil {
			return err
		}
	}
	return nil
}

// data skips rows values.
func (t shape) data(c *cursor, rows uint64) error {
	if rows == 0 {
		return nil
	}
	switch t.kind {
	case kindFixed:
		return c.skipN(rows, t.size)
	case kindString:
		for range rows {
			if err := c.str(); err != nil {
				return err
			}
		}
		return nil
	case kindNullable:
		if err := c.skip(rows); err != nil { // the null map
			return err
		}
		return t.inner[0].data(c, rows)
	case kindArray:
		if err := c.skipN(rows-1, 8); err != nil { // all offsets but the last
			return err
		}
		last, err := c.u64()
		if err != nil {
			return err
		}
		return t.inner[0].data(c, last)
	case kindTuple:
		for _, in := range t.inner {
			if err := in.data(c, rows); err != nil {
				return err
			}
		}
		return nil
	}
	return t.lowCardinality(c)
}

func (t shape) lowCardinality(c *cursor) error {
	const hasKeys = 1 << 9
	flags, err := c.u64()
	if err != nil {
		return err
	}
	if flags&hasKeys != 0 {
		n, err := c.u64()
		if err != nil {
			return err
		}
		if err := t.inner[0].data(c, n); err != nil {
			return err
		}
	}
	n, err := c.u64()
	if err != nil {
		return err
	}
	return c.skipN(n, 1<<(flags&3)) // indexes of 1, 2, 4 or 8 bytes
}

var fixedSizes = map[string]uint64{
	"UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8, "UInt128": 16, "UInt256": 32,
	"Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8, "Int128": 16, "Int256": 32,
	"Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Nothing": 1,
	"Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8, "Time": 4, "Time64": 8,
	"UUID": 16, "IPv4": 4, "IPv6": 16, "Enum8": 1, "Enum16": 2,
	"Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}

var geo = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Point)", "LineString": "Array(Point)",
	"Polygon": "Array(Ring)", "MultiLineString": "Array(LineString)", "MultiPolygon": "Array(Polygon)",
}

// parseType knows every type whose layout does not depend on its values or on
// an aggregate function's state; for the others the client can cast, or take
// another format.
func parseType(s string) (shape, error) {
	name, args := s, ""
	if i := strings.IndexByte(s, '('); i >= 0 && strings.HasSuffix(s, ")") {
		name, args = s[:i], s[i+1:len(s)-1]
	}
	if size, ok := fixedSizes[name]; ok {
		return shape{kind: kindFixed, size: size}, nil
	}
	if alias, ok := geo[name]; ok {
		return parseType(alias)
	}
	unknown := engineError(fmt.Sprintf("Code: 48. DB::Exception: type %s can not be read in Native from the embedded engine; cast it, or ask for another format. (NOT_IMPLEMENTED)", s))
	switch name {
	case "String":
		return shape{kind: kindString}, nil
	case "FixedString":
		n, err := strconv.ParseUint(args, 10, 32)
		if err != nil {
			return shape{}, unknown
		}
		return shape{kind: kindFixed, size: n}, nil
	case "Decimal":
		p, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(args, ",", 2)[0]))
		if err != nil {
			return shape{}, unknown
		}
		return shape{kind: kindFixed, size: decimalSize(p)}, nil
	case "Nullable", "Array", "LowCardinality":
		in, err := parseType(args)
		if err != nil {
			return shape{}, err
		}
		kind := map[string]byte{"Nullable": kindNullable, "Array": kindArray, "LowCardinality": kindLowCardinality}[name]
		if kind == kindLowCardinality && in.kind == kindNullable {
			in = in.inner[0] // null is the dictionary's first entry
		}
		return shape{kind: kind, inner: []shape{in}}, nil
	case "SimpleAggregateFunction":
		parts := splitArgs(args)
		return parseType(parts[len(parts)-1])
	case "Map", "Nested", "Tuple":
		t := shape{kind: kindTuple}
		for _, a := range splitArgs(args) {
			in, err := parseElement(a)
			if err != nil {
				return shape{}, err
			}
			t.inner = append(t.inner, in)
		}
		if name == "Tuple" {
			if len(t.inner) == 0 {
				return shape{kind: kindFixed, size: 1}, nil
			}
			return t, nil
		}
		return shape{kind: kindArray, inner: []shape{t}}, nil
	}
	if strings.HasPrefix(name, "Interval") {
		return shape{kind: kindFixed, size: 8}, nil
	}
	return shape{}, unknown
}

func decimalSize(precision int) uint64 {
	switch {
	case precision <= 9:
		return 4
	case precision <= 18:
		return 8
	case precision <= 38:
		return 16
	}
	return 32
}

// parseElement takes `Type` or `name Type`.
func parseElement(s string) (shape, error) {
	sc := scanner{s: s}
	sc.next()
	if rest := s[sc.i:]; strings.HasPrefix(rest, " ") {
		return parseType(strings.TrimSpace(rest))
	}
	return parseType(s)
}

// splitArgs cuts at the commas of the top level.
func splitArgs(s string) []string {
	var parts []string
	start := 0
	sc := scanner{s: s}
	for {
		t := sc.next()
		if t.text == "" {
			break
		}
		if t.text == "?" && s[t.at] == ',' {
			parts = append(parts, strings.TrimSpace(s[start:t.at]))
			start = t.at + 1
		}
	}
	if last := strings.TrimSpace(s[start:]); last != "" {
		parts = append(parts, last)
	}
	return parts
}
