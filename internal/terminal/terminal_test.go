package terminal

import "testing"

func TestNothingSteersTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"a b é 漢": "a b é 漢", "\x1b[31mred": "·[31mred", "a\rb\nc\td": "a·b·c·d", "\u202eabc": "·abc", "a\x00": "a·", "\xff": "\ufffd",
	} {
		if got := Safe(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
