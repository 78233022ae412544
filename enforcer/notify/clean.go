package notify

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// zeroWidth keeps mention syntax from being read as such and leaves the text
// readable: "@everyone" becomes "@" + word joiner + "everyone".
const zeroWidth = "\u2060"

// Clean makes one line of text that came from a log or a catalog safe to show:
// no control, format or bidirectional characters, no mention (`@x`, `<!here>`,
// `<@U123>`), no markup that opens a link or code, at most limit runes.
func Clean(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n >= limit {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError:
			r = '?'
		case r == '\t' || r == '\n' || r == '\r':
			r = ' '
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			continue
		}
		switch r {
		case '@':
			b.WriteString("@" + zeroWidth)
		case '<':
			b.WriteRune('‹')
		case '>':
			b.WriteRune('›')
		case '`':
			b.WriteRune('\'')
		case '[':
			b.WriteRune('(')
		case ']':
			b.WriteRune(')')
		default:
			b.WriteRune(r)
		}
		n++
	}
	return strings.TrimSpace(b.String())
}
