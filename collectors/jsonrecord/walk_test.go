package jsonrecord

import (
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fastjson"
)

// walked reads a text with a Walk into what fastjson would give for it: entering containers by the seed's bits, taking the
// others as they stand.
func walked(w *Walk, seed uint64, depth int) (text string, objects int) {
	var b strings.Builder
	seed = seed*6364136223846793005 + 1442695040888963407
	enter := seed>>60 != 0
	switch c := w.text[w.at]; {
	case c == '{' && enter:
		b.WriteByte('{')
		w.Object()
		for n := 0; ; n++ {
			key, ok := w.Field()
			if !ok {
				break
			}
			if n > 0 {
				b.WriteByte(',')
			}
			b.Write(quotedText(key))
			b.WriteByte(':')
			inner, more := walked(w, seed+uint64(n), depth+1)
			b.WriteString(inner)
			objects += more
		}
		b.WriteByte('}')
		objects++
	case c == '[' && enter:
		b.WriteByte('[')
		w.Array()
		for n := 0; w.Item(); n++ {
			if n > 0 {
				b.WriteByte(',')
			}
			inner, more := walked(w, seed+uint64(n), depth+1)
			b.WriteString(inner)
			objects += more
		}
		b.WriteByte(']')
	case c == '"':
		b.Write(quotedText(w.Text()))
	default:
		raw := w.Raw()
		if v, err := fastjson.ParseBytes(raw); err == nil && depth < 250 {
			b.WriteString(plain(v))
		} else {
			b.Write(raw)
		}
	}
	return b.String(), objects
}

func quotedText(text []byte) []byte {
	var arena fastjson.Arena
	return arena.NewStringBytes(text).MarshalTo(nil)
}

// plain writes a value with its texts and keys resolved.
func plain(v *fastjson.Value) string {
	var b strings.Builder
	switch v.Type() {
	case fastjson.TypeObject:
		b.WriteByte('{')
		n := 0
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
			if n++; n > 1 {
				b.WriteByte(',')
			}
			b.Write(quotedText(key))
			b.WriteByte(':')
			b.WriteString(plain(v))
		})
		b.WriteByte('}')
	case fastjson.TypeArray:
		b.WriteByte('[')
		for i, item := range v.GetArray() {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(plain(item))
		}
		b.WriteByte(']')
	case fastjson.TypeString:
		b.Write(quotedText(v.GetStringBytes()))
	default:
		b.Write(v.MarshalTo(nil))
	}
	return b.String()
}

// sameAsParser holds a Walk to the parser: the same texts are taken, and the same is read in them.
func sameAsParser(t *testing.T, w *Walk, text []byte, seed uint64) {
	t.Helper()
	before := bytes.Clone(text)
	if Refuse(text, 0) != nil {
		return
	}
	w.Open(text)
	want, err := fastjson.ParseBytes(text)
	got, _ := walked(w, seed, 0)
	if ok := w.Close(); ok != (err == nil) {
		t.Fatalf("%.300q: read whole: %v, the parser says %v", text, ok, err)
	}
	if err == nil && got != plain(want) {
		t.Fatalf("%q\nread   %s\nparser %s", text, got, plain(want))
	}
	w.Open(text)
	if w.Skip(); w.Close() != (err == nil) {
		t.Fatalf("%.300q: went past: %v, the parser says %v", text, w.Close(), err)
	}
	if !bytes.Equal(before, text) {
		t.Fatal("the text was changed")
	}
}

var walks = []string{
	`{}`, `[]`, ` { } `, `""`, `"a"`, `1`, `-`, `+`, `-1.5e+3`, `true`, `false`, `null`, `nan`, `NaN`, `-Inf`, `+inf`, `nanx`, `tru`, `nul`, ``, ` `, `{`, `[`, `"`, `}`, `]`, `,`, `:`,
	`{"a":1}`, `{"a":1,}`, `{,"a":1}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":[1,2,{"b":[]}],"c":{}}`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{"a":1]`,
	`{"a":"b\"c"}`, `{"a\"b":1}`, `{"\u0061":"\u00e4\ud83d\ude00\n"}`, `{"a":"\\"}`, `{"a":"\\\""}`, `{"a":"\"}`, `{\"a":1}`, `{"a":\"b"}`, `{"a":"\x"}`, `{"a":"\u12"}`,
	`{"a":"\ud800"}`, `{"a":"` + "\t\n" + `"}`, `{"a":1}x`, `{"a":1} {}`, `"a" "b"`, `{"":""}`, `{"a":{"a":{"a":[[[{"a":"a"}]]]}}}`, `{"a":-,"b":e}`, `{"a":1e,"b":--..}`,
	`{"ä":"ü","a":"` + strings.Repeat("ä", 50) + `"}`, "{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", `{"a":"` + strings.Repeat(`\\`, 33) + `","b":"` + strings.Repeat(`\"`, 40) + `"}`,
	`["#","!","\"#","` + strings.Repeat(`","`, 100) + `"]`, "\x01", "{\"a\":1}\x01", "[\x01]", "{\"a\":\x01}", "{\x01", `{"a":[],"b":{},"c":[{}],"d":[[]]}`,
}

func TestAWalkReadsWhatTheParserReads(t *testing.T) {
	var w Walk // has seen other texts
	for _, text := range walks {
		for cut := range len(text) + 1 {
			sameAsParser(t, &w, []byte(text[:cut]), uint64(cut))
			sameAsParser(t, &w, []byte(text[cut:]), uint64(cut))
		}
		for seed := range uint64(20) {
			sameAsParser(t, new(Walk), []byte(text), seed)
		}
	}
	for _, depth := range []int{63, 64, 65, 128, 299, 300, 301} {
		for _, form := range [][3]string{{`[`, ``, `]`}, {`[`, `1`, `]`}, {`{"a":`, `"b"`, `}`}, {`{"a":`, `{}`, `}`}, {`[{"a":`, `[]`, `}]`}} {
			text := strings.Repeat(form[0], depth) + form[1] + strings.Repeat(form[2], depth)
			for seed := range uint64(8) {
				sameAsParser(t, &w, []byte(text), seed)
			}
		}
	}
}

func TestAnObjectThatWasSeenBeforeIsPassedOnlyIfItIsTheSame(t *testing.T) {
	for _, c := range []struct {
		text, raw string
		same      bool
	}{
		{`{"a":{"b":1},"c":2}`, `{"b":1}`, true}, {`{"a":{"b":1}}`, `{"b":1}`, true}, {`{"a":{"b":12},"c":2}`, `{"b":1}`, false},
		{`{"a":{"b":1},"c":2}`, `{"b":1,"c":1}`, false}, {`{"a":{"b":1`, `{"b":1}`, false}, {`{"a":{"b":1}`, `{"b":1}`, true},
		{`{"a":12,"c":2}`, `1`, false}, {`{"a":"1","c":2}`, `"1"`, false}, {`{"a":`, ``, false}, {`{"a":{},"c":2}`, "{}", true},
	} {
		var w Walk
		w.Open([]byte(c.text))
		w.Object()
		w.Field()
		rest := string(w.Rest())
		if got := w.Same(c.raw); got != c.same || rest != c.text[len(`{"a":`):] {
			t.Errorf("%s: %s: %v, rest %s", c.text, c.raw, got, rest)
		} else if !got {
			w.Skip()
		}
		for _, more := w.Field(); more; _, more = w.Field() {
			w.Skip()
		}
		if _, err := fastjson.Parse(c.text); w.Close() != (err == nil) {
			t.Errorf("%s: read whole: %v", c.text, w.Close())
		}
	}
}

func FuzzWalk(f *testing.F) {
	for i, text := range walks {
		f.Add([]byte(text), uint64(i))
	}
	used := new(Walk)
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		sameAsParser(t, used, text, seed)
		sameAsParser(t, new(Walk), text, seed)
	})
}
