package chdb

import (
	"bytes"
	"testing"
)

func TestLayoutOfTypes(t *testing.T) {
	for typ, want := range map[string]int{ // bytes of two zero rows, with prefix
		"UInt64": 16, "Bool": 2, "FixedString(16)": 32, "DateTime64(9, 'UTC')": 16, "Decimal(18, 4)": 16,
		"Decimal(76, 0)": 64, "Enum8('a' = 1, 'b, (' = 2)": 2, "Nullable(UInt64)": 18, "String": 2,
		"Array(String)": 16, "Map(String, UInt64)": 16, "Tuple(a UInt8, `b c` String)": 4, "Nested(a UInt8, b Int16)": 16,
		"LowCardinality(Nullable(String))": 8 + 8 + 8, "Array(LowCardinality(String))": 8 + 16,
		"SimpleAggregateFunction(max, UInt64)": 16, "Point": 32, "IntervalSecond": 16, "Tuple(UInt8, Tuple(UInt8, UInt8))": 6,
	} {
		s, err := parseType(typ)
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		c := cursor{b: make([]byte, 1000)}
		if err := s.prefix(&c); err != nil {
			t.Fatal(err)
		}
		if err := s.data(&c, 2); err != nil {
			t.Fatal(err)
		}
		if c.i != want {
			t.Errorf("%s: %d bytes, want %d", typ, c.i, want)
		}
	}
	for _, typ := range []string{"AggregateFunction(sum, UInt64)", "JSON", "Dynamic", "Variant(String, UInt8)", "Array(JSON)", ""} {
		if _, err := parseType(typ); err == nil {
			t.Errorf("%s is taken for known", typ)
		}
	}
}

func TestUpgradeAddsWhatTheRevisionAsksFor(t *testing.T) {
	block := append([]byte{1, 2, 1, 'a', 5}, "UInt8\x07\x08"...)
	info := []byte{1, 0, 2, 255, 255, 255, 255, 0}
	two := append(bytes.Clone(block), block...)
	for revision, want := range map[uint64][]byte{
		0:     two,
		54000: bytes.Join([][]byte{info, block, info, block}, nil),
		54460: bytes.Join([][]byte{info, block[:10], {0}, block[10:], info, block[:10], {0}, block[10:]}, nil),
	} {
		got, err := upgradeNative(two, revision)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("revision %d: %v, want %v, err %v", revision, got, want, err)
		}
	}
	for n := 1; n < len(block); n++ {
		if _, err := upgradeNative(block[:n], 54460); err == nil {
			t.Errorf("a block cut at %d is taken for whole", n)
		}
	}
}

func FuzzUpgradeNative(f *testing.F) {
	f.Add(append([]byte{1, 2, 1, 'a', 5}, "UInt8\x07\x08"...))
	f.Add(append([]byte{1, 1, 1, 'a', 22}, "LowCardinality(String)\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := upgradeNative(in, 54460)
		if err == nil && len(in) > 0 && len(out) < len(in) {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}
