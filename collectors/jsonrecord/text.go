package jsonrecord

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Limits of what an event holds.
const (
	MaxID     = 128
	MaxText   = 1024
	MaxLabel  = 256
	MaxLabels = 24
)

// Text is text fit for an event: cut to limit bytes between characters, without NUL and without invalid UTF-8.
func Text(text []byte, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	clean := string(text)
	if plainText(text) {
		return clean
	}
	if strings.IndexByte(clean, 0) >= 0 {
		clean = strings.ReplaceAll(clean, "\x00", "")
	}
	if !utf8.ValidString(clean) {
		clean = strings.ToValidUTF8(clean, "")
	}
	return clean
}

// ones and tops are the lowest and the highest bits of eight bytes.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// plainText is whether a text is ASCII without NUL, as nearly all are.
func plainText(text []byte) bool {
	if len(text) >= 64 { // the search for one byte takes 32 at once
		return ascii(text) && bytes.IndexByte(text, 0) < 0
	}
	for ; len(text) >= 8; text = text[8:] {
		if x := binary.LittleEndian.Uint64(text); (x|(x-ones)&^x)&tops != 0 {
			return false
		}
	}
	for _, c := range text {
		if c-1 >= 0x7f {
			return false
		}
	}
	return true
}

func ascii(text []byte) bool {
	var high uint64
	for len(text) >= 64 {
		high |= binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:]) |
			binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:]) |
			binary.LittleEndian.Uint64(text[32:]) | binary.LittleEndian.Uint64(text[40:]) |
			binary.LittleEndian.Uint64(text[48:]) | binary.LittleEndian.Uint64(text[56:])
		text = text[64:]
	}
	for ; len(text) >= 8; text = text[8:] {
		high |= binary.LittleEndian.Uint64(text)
	}
	for _, c := range text {
		high |= uint64(c)
	}
	return high&tops == 0
}

// ID is an id fit for a key: itself, or its hash if it is too long or looks like a secret.
func ID(text []byte) string {
	if len(text) > MaxID || Secret(text) || bytes.IndexByte(text, 0) >= 0 {
		return HashOf(text)
	}
	return Text(text, MaxID)
}

// HashOf names a token without telling it.
func HashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Label sets a label, unless there is no value, it looks like a secret, or there are too many.
func Label(labels map[string]string, name string, value []byte) {
	if len(value) == 0 || len(labels) >= MaxLabels || Secret(value) {
		return
	}
	labels[name] = Text(value, MaxLabel)
}

// Word is a word of a bounded vocabulary, such as an error code: letters, digits and _.:- only, or empty.
func Word(text []byte) string {
	if len(text) == 0 || len(text) > 64 || Secret(text) {
		return ""
	}
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != ':' && c != '-' {
			return ""
		}
	}
	return string(text)
}

// mark is what secrets of well-known kinds begin with, by its first letter.
func mark(text []byte) string {
	switch text[0] {
	case 'h':
		return oneOf(text, "hvs.", "hvb.", "hvr.")
	case 'e':
		return oneOf(text, "eyJ")
	case 'B':
		return oneOf(text, "Bearer ", "Basic ")
	case '-':
		return oneOf(text, "-----BEGIN")
	case 'g':
		return oneOf(text, "ghp_", "gho_", "ghs_", "github_pat_", "glpat-")
	case 'x':
		return oneOf(text, "xoxb-", "xoxp-")
	case 's':
		return oneOf(text, "sk-")
	case 'A':
		return oneOf(text, "AIza")
	case 'y':
		return oneOf(text, "ya29.")
	}
	return ""
}

func oneOf(text []byte, marks ...string) string {
	for _, mark := range marks {
		if len(text) >= len(mark) && string(text[:len(mark)]) == mark {
			return mark
		}
	}
	return ""
}

// Secret is whether text holds what looks like a secret of a well-known kind: somebody logged a token where an id belongs.
// Marks count at the start of a word, since ids may hold them by chance.
func Secret(text []byte) bool {
	const shortest = len("eyJ") + 8
	word := false // the byte before belongs to a word
	for at := 0; at+shortest <= len(text); at++ {
		if !word {
			if found := mark(text[at:]); found != "" && len(text)-at-len(found) >= 8 {
				return true
			}
		}
		word = wordBytes[text[at]]
	}
	return false
}

var wordBytes = func() (in [256]bool) {
	for c := range in {
		in[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	return in
}()
