package jsonrecord

import (
	"bytes"
	"crypto/sha256"
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
	if strings.IndexByte(clean, 0) >= 0 {
		clean = strings.ReplaceAll(clean, "\x00", "")
	}
	if !utf8.ValidString(clean) {
		clean = strings.ToValidUTF8(clean, "")
	}
	return clean
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

// marks are what secrets of well-known kinds begin with.
var marks = [...]string{"hvs.", "hvb.", "hvr.", "eyJ", "Bearer ", "Basic ", "-----BEGIN", "ghp_", "gho_", "ghs_", "github_pat_",
	"glpat-", "xoxb-", "xoxp-", "sk-", "AIza", "ya29."}

// Secret is whether text holds what looks like a secret of a well-known kind: somebody logged a token where an id belongs.
// Marks count at the start of a word, since ids may hold them by chance.
func Secret(text []byte) bool {
	for _, mark := range marks {
		for from := 0; ; {
			at := bytes.Index(text[from:], []byte(mark))
			if at < 0 {
				break
			}
			if at += from; (at == 0 || !wordByte(text[at-1])) && len(text)-at-len(mark) >= 8 {
				return true
			}
			from = at + 1
		}
	}
	return false
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
