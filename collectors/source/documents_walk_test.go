package source

import (
	"bytes"
	"math/rand"
	"testing"
)

func TestTheFirstSpecialByteIsFoundWhereverItLies(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 20_000 {
		buf := make([]byte, rng.Intn(40))
		for i := range buf {
			buf[i] = []byte{'a', 0, 0x80, 0xff, '!', '#', '[', ']', 9, 11, '"', '\\', '\n', 0xa2, 0x8a, 0xdc}[rng.Intn(11+rng.Intn(6))%16]
		}
		from := rng.Intn(len(buf) + 1)
		want := len(buf)
		if at := bytes.IndexAny(ascii(buf[from:]), "\"\\\n"); at >= 0 {
			want = from + at
		}
		if got := special(buf, from); got != want {
			t.Fatalf("%q from %d: %d, want %d", buf, from, got, want)
		}
	}
}

// ascii is text with bytes above ASCII replaced, which IndexAny would take for parts of characters.
func ascii(text []byte) []byte {
	out := bytes.Clone(text)
	for i, c := range out {
		if c >= 0x80 {
			out[i] = 'x'
		}
	}
	return out
}
