package spire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// readFlat reads the usual line in JSON: an object of texts without escapes, numbers, booleans and lists of such. It
// gives false for anything else, and then the line is left to the parser, which also says what is wrong with it. It is
// quicker than the parser because it builds nothing.
func (f *fields) readFlat(text []byte) bool {
	if bytes.IndexByte(text, '\\') >= 0 {
		return false
	}
	i := 1 // the line begins with {
	for first := true; ; first = false {
		i = space(text, i)
		if i >= len(text) {
			return false
		}
		if first && text[i] == '}' {
			break
		}
		if !first {
			if text[i] == '}' {
				break
			}
			if text[i] != ',' {
				return false
			}
			i = space(text, i+1)
		}
		key, next := flatText(text, i)
		if next < 0 {
			return false
		}
		if i = space(text, next); i >= len(text) || text[i] != ':' {
			return false
		}
		i = space(text, i+1)
		value, list, next := flatValue(text, i)
		if next < 0 {
			return false
		}
		i = next
		if !list {
			if place := f.slotOf(key); place != nil {
				*place = value
			}
		}
	}
	return space(text, i+1) == len(text)
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// flatText gives the text that begins at i, and where it ends; -1 if there is none.
func flatText(text []byte, i int) ([]byte, int) {
	if i >= len(text) || text[i] != '"' {
		return nil, -1
	}
	end := quote(text, i+1)
	if end < 0 {
		return nil, -1
	}
	return text[i+1 : end : end], end + 1
}

// quote gives where the next quote stands, or -1. Keys and most values are short: eight bytes at once beat a call of
// bytes.IndexByte, until the text is long.
func quote(text []byte, i int) int {
	const ones, tops, quotes = 0x0101010101010101, 0x8080808080808080, 0x2222222222222222
	for range 3 {
		if i+8 > len(text) {
			break
		}
		x := binary.LittleEndian.Uint64(text[i:]) ^ quotes
		if found := (x - ones) &^ x & tops; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		i += 8
	}
	if at := bytes.IndexByte(text[i:], '"'); at >= 0 {
		return i + at
	}
	return -1
}

// flatValue gives the value that begins at i, whether it is a list or null, which are of no use here, and where it ends.
func flatValue(text []byte, i int) (value []byte, list bool, next int) {
	if i >= len(text) {
		return nil, false, -1
	}
	switch c := text[i]; {
	case c == '"':
		value, next = flatText(text, i)
		return value, false, next
	case c == '-' || c >= '0' && c <= '9':
		end := i + 1
		for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.' || text[end] == 'e' || text[end] == 'E' ||
			text[end] == '+' || text[end] == '-') {
			end++
		}
		return text[i:end], false, end
	case c == '[':
		return nil, true, flatList(text, i)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(text[i:], []byte(word)) {
			return text[i : i+len(word)], word == "null", i + len(word)
		}
	}
	return nil, false, -1
}

// flatList gives where a list without lists or objects in it ends.
func flatList(text []byte, i int) int {
	if i = space(text, i+1); i < len(text) && text[i] == ']' {
		return i + 1
	}
	for {
		_, list, next := flatValue(text, i)
		if next < 0 || list {
			return -1
		}
		if i = space(text, next); i >= len(text) {
			return -1
		}
		switch text[i] {
		case ']':
			return i + 1
		case ',':
			i = space(text, i+1)
		default:
			return -1
		}
	}
}
