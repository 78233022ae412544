package vault

import (
	"bytes"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// benchLines are the recorded calls of one kind, padded by nothing: about 1.5 to 2 KB each.
func benchLines(b *testing.B) (lines [][]byte, size int64) {
	for _, line := range recordedLines(b) {
		if bytes.Contains(line, []byte(`secret/data/`)) || bytes.Contains(line, []byte("pki/issue")) {
			lines = append(lines, line)
			size += int64(len(line))
		}
	}
	return lines, size / int64(len(lines))
}

func BenchmarkDecode2KB(b *testing.B) {
	lines, size := benchLines(b)
	for _, pairing := range []bool{false, true} {
		b.Run(map[bool]string{false: "every_line", true: "pairing"}[pairing], func(b *testing.B) {
			d := NewDecoder(Options{Pairing: pairing})
			var events []*leastwisev1.Event
			b.SetBytes(size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var err error
				if events, err = d.Decode(events[:0], source.Record{Bytes: lines[i%len(lines)], Position: "audit.log:0"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("many_tokens", func(b *testing.B) { // each line is of another token than those before
		d := NewDecoder(Options{})
		var at [][]int // where names of tokens stand
		own := make([][]byte, len(lines))
		for i, line := range lines {
			own[i] = bytes.Clone(line)
			at = append(at, nil)
			for _, field := range []string{`accessor":"` + hashMark, `client_token":"` + hashMark} {
				for from := 0; ; {
					n := bytes.Index(line[from:], []byte(field))
					if n < 0 {
						break
					}
					from += n + len(field)
					at[i] = append(at[i], from)
				}
			}
		}
		var events []*leastwisev1.Event
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			line := own[i%len(own)]
			for _, from := range at[i%len(own)] {
				n := i % 150_000
				for j := range 8 {
					line[from+j] = "0123456789abcdef"[n>>(4*j)&15]
				}
			}
			var err error
			if events, err = d.Decode(events[:0], source.Record{Bytes: line, Position: "audit.log:0"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare_parse", func(b *testing.B) {
		var p fastjson.Parser
		b.SetBytes(size)
		for i := 0; b.Loop(); i++ {
			if _, err := p.ParseBytes(lines[i%len(lines)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
