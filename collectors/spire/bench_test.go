package spire

import (
	"bytes"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// benchLines are those of a recording: all, as a server writes them, or those of SVIDs alone.
func benchLines(b *testing.B, form string, all bool) (lines [][]byte, size int64) {
	log, _ := recording(b, form)
	for line := range bytes.Lines(log) {
		if all || bytes.Contains(line, []byte("svid.v1.SVID")) {
			line = bytes.TrimSpace(line)
			lines = append(lines, line)
			size += int64(len(line))
		}
	}
	return lines, size / int64(len(lines))
}

func BenchmarkDecode(b *testing.B) {
	for _, set := range []string{"log", "svids"} {
		for _, form := range []string{"json", "text"} {
			lines, size := benchLines(b, form, set == "log")
			b.Run(set+"_"+form, func(b *testing.B) {
				d := NewDecoder(Options{})
				var events []*leastwisev1.Event
				b.SetBytes(size)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					var err error
					if events, err = d.Decode(events[:0], source.Record{Bytes: lines[i%len(lines)], Position: "server.log:0"}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		lines, size := benchLines(b, "json", set == "log")
		b.Run(set+"_bare_parse", func(b *testing.B) {
			var p fastjson.Parser
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				if _, err := p.ParseBytes(lines[i%len(lines)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
