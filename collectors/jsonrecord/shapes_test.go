package jsonrecord

import (
	"reflect"
	"strings"
	"testing"
)

// said is what shapedRecord reads.
type said struct {
	name, raw, deep []byte
	kind            string
	items           int
}

func (s *said) read(w *Walk, text []byte) bool {
	*s = said{}
	w.Open(text)
	if !w.Object() {
		return false
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "name":
			s.name = w.Text()
		case "raw":
			s.raw = w.Raw()
		case "kind":
			s.kind = string(w.Plain())
		case "list":
			if !w.Array() {
				continue
			}
			for w.Item() {
				s.items++
				if !w.Object() {
					continue
				}
				for key, more := w.Field(); more; key, more = w.Field() {
					if string(key) == "deep" {
						s.deep = w.Value()
					} else {
						w.Skip()
					}
				}
			}
		default:
			w.Skip()
		}
	}
	return w.Close()
}

func TestALineOfAKnownShapeIsReadAsAWalkReadsIt(t *testing.T) {
	const learned = `{"name":"a","kind":"k","raw":{"x":[1,"y"],"z":true},"list":[{"deep":"d","n":7},2],"other":{"p":"q","e":""} }`
	for _, c := range []struct {
		from, to string
		known    bool
	}{
		{"", "", true},
		{`"a"`, `"another, longer than eight"`, true}, {`"a"`, `"}{][,:"`, true}, {`"a"`, "\"\t\"", true},
		{`[1,"y"]`, `[1234567890123,"z, z"]`, true}, {`"d"`, `"` + strings.Repeat("d", 100) + `"`, true}, {`"q"`, `"r"`, true},
		{`"n":7`, `"n":0`, true}, {`"n":7`, `"n":-7`, false}, {`"n":7`, `"n":7.5`, false}, {`"n":7`, `"n":`, false}, {`"n":7`, `"n":"7"`, false},
		{`"a"`, `""`, false}, {`"e":""`, `"e":"f"`, false}, {`"k"`, `"l"`, false}, {`true`, `false`, false}, {`"p"`, `"kind"`, false},
		{`"a"`, `"\u0061"`, false}, {`"a"`, `"eight by\"tes"`, false}, {`"a"`, `"ä"`, false}, {`"a"`, "\"\xff\"", false}, {`"q"`, "\"\x00\"", false},
		{`"a"`, `"a""`, false}, {`"a"`, `"a`, false}, {`"a"`, `7`, false}, {`"d"`, `null`, false}, {`"d"`, `{"deep":"e"}`, false},
		{` }`, ` }x`, false}, {` }`, ` `, false}, {`,2]`, `]`, false}, {`,2]`, `,2,3]`, false}, {`,2]`, `,33]`, true},
	} {
		got := &said{}
		shapes := NewShapes(got, &got.name, &got.raw, &got.deep)
		shapes.Learn([]byte(learned), func(w *Walk) bool { return got.read(w, []byte(learned)) })
		line := []byte(strings.Replace(learned, c.from, c.to, 1))
		if known := shapes.Read(line); known != c.known {
			t.Errorf("%s: its shape is known: %v", line, known)
		} else if !known {
			continue
		}
		var want said
		if !want.read(&Walk{}, line) || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s\nof its shape %+v\nread         %+v", line, *got, want)
		}
	}
}

func TestAShapeIsNotLearnedIfATextIsNotTheLines(t *testing.T) {
	for _, line := range []string{`{"name":"a\n"}`, `{"name":"ä"}`, `{"name":"a"`, `{"name":"` + strings.Repeat("a", maxShaped) + `"}`,
		`{"list":[` + strings.Repeat(`"a",`, maxPieces) + `1]}`} {
		got := &said{}
		shapes := NewShapes(got, &got.name, &got.raw, &got.deep)
		shapes.Learn([]byte(line), func(w *Walk) bool { return got.read(w, []byte(line)) })
		if shapes.Read([]byte(line)) {
			t.Errorf("%.80s: the shape was learned", line)
		}
	}
	got := &said{}
	shapes := NewShapes(got, &got.name)
	line := []byte(`{"name":"a"}`)
	shapes.Learn(line, func(w *Walk) bool {
		ok := got.read(w, line)
		got.name = []byte("of another memory")
		return ok
	})
	if shapes.Read(line) {
		t.Errorf("%s: the shape was learned with a text that is not the line's", line)
	}
}

func TestTheMemoryOfShapesIsBounded(t *testing.T) {
	got := &said{}
	shapes := NewShapes(got, &got.name)
	full, anew := false, false
	for n := range 2 * (maxShapes + maxMissed) {
		line := []byte(`{"name":"a","` + strings.Repeat("x", n%50) + string(rune('a'+n%26)) + `":` + strings.Repeat("-", n%400) + `}`)
		if !shapes.Read(line) {
			shapes.Learn(line, func(w *Walk) bool { return got.read(w, line) })
		}
		full = full || shapes.learned == maxShapes
		anew = anew || full && shapes.learned < maxShapes
		if shapes.learned > maxShapes {
			t.Fatalf("%d shapes after %d lines", shapes.learned, n)
		}
	}
	if !full || !anew {
		t.Errorf("as many shapes as may be: %v, and begun anew: %v", full, anew)
	}
}
