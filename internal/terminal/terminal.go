// Package terminal makes texts that come from logs harmless for a terminal: agents choose them.
package terminal

import (
	"strings"
	"unicode"
)

// Safe puts a dot for each character that is not printable, among them those that move the cursor, set colours or turn
// the direction of the text.
func Safe(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}
