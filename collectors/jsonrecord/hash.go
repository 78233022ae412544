package jsonrecord

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"

	"github.com/valyala/fastjson"
)

// Hash names a record that has no id of its own by its content: neither spaces nor the order of fields matter.
func Hash(v *fastjson.Value) string {
	h := sha256.New()
	write(h, v)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// write feeds a canonical form; v is as deep as the parser lets it be.
func write(h hash.Hash, v *fastjson.Value) {
	switch v.Type() {
	case fastjson.TypeObject:
		type field struct {
			key   []byte
			value *fastjson.Value
		}
		var fields []field
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) { fields = append(fields, field{key, v}) })
		slices.SortStableFunc(fields, func(a, b field) int { return bytes.Compare(a.key, b.key) })
		h.Write([]byte{'{'})
		for _, f := range fields {
			text(h, f.key)
			write(h, f.value)
		}
		h.Write([]byte{'}'})
	case fastjson.TypeArray:
		h.Write([]byte{'['})
		for _, item := range v.GetArray() {
			write(h, item)
			h.Write([]byte{','})
		}
		h.Write([]byte{']'})
	case fastjson.TypeString:
		text(h, v.GetStringBytes())
	default:
		h.Write(v.MarshalTo(nil))
		h.Write([]byte{' '})
	}
}

// text is written after its length, so that no two different records are written alike.
func text(h hash.Hash, s []byte) {
	h.Write(binary.AppendUvarint([]byte{'"'}, uint64(len(s))))
	h.Write(s)
}
