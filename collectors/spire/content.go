package spire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
)

// pair is a field of a line, as it is compared between the forms.
type pair struct{ key, value []byte }

// contentID names a line by all that it says, the same in each form. It is for lines that have no id of their own.
func (d *Decoder) contentID(e *entry) string {
	pairs := d.pairs(e)
	slices.SortFunc(pairs, func(a, b pair) int {
		if by := bytes.Compare(a.key, b.key); by != 0 {
			return by
		}
		return bytes.Compare(a.value, b.value)
	})
	at := int64(-1)
	if !e.at.IsZero() {
		at = e.at.UnixNano()
	}
	b := strconv.AppendInt(d.scratch[:0], at, 10)
	for _, part := range append(pairs, pair{[]byte("msg"), e.msg}) {
		for _, text := range [...][]byte{part.key, part.value} {
			b = binary.AppendUvarint(b, uint64(len(text))) // so that no two lists are written alike
			b = append(b, text...)
		}
	}
	d.scratch = b
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pairs are the fields of a line but those that every line has. Lists and objects are left out, since in text they are
// not told from other text for certain; times are compared as times.
func (d *Decoder) pairs(e *entry) (all []pair) {
	add := func(key, value []byte) {
		switch string(key) {
		case "time", "level", "msg":
			return
		}
		if len(value) > 0 && (value[0] == '[' || value[0] == '{') || bytes.HasPrefix(value, []byte("map[")) ||
			string(value) == "<nil>" {
			return
		}
		if len(value) >= 20 {
			if t, err := parseTime(value); err == nil && !isDecimal(value) {
				value = strconv.AppendInt([]byte("time "), t.UnixNano(), 10)
			}
		}
		all = append(all, pair{key, value})
	}
	_, _, text := split(e.rec.Bytes)
	switch e.how {
	case formJSON:
		d.again.Open(text)
		d.again.Object()
		for {
			key, more := d.again.Field()
			if !more {
				break
			}
			if value := d.again.Plain(); value != nil {
				add(key, value)
			}
		}
	default:
		if e.how == formConsole {
			text = uncoloured(text)
			_, text, _ = bytes.Cut(text, []byte("]"))
			_, text, _ = bytes.Cut(bytes.TrimLeft(text, " "), []byte("  "))
		}
		_ = eachPair(text, func(key, value []byte, escaped bool) bool { // it was read before
			if escaped {
				if clear, err := unquote(value); err == nil {
					value = clear
				}
			}
			add(key, value)
			return true
		})
	}
	return all
}
