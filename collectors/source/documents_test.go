package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"
	"testing/iotest"
)

// split gives the records as texts, marked ~ if Partial, # if too long.
func split(t testing.TB, r io.Reader, max int, keys ...string) (texts []string, lines []Line) {
	t.Helper()
	d := NewDocuments(r, max, keys...)
	for {
		line, err := d.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if line.Length > 0 || line.Partial {
			line.Bytes = bytes.Clone(line.Bytes)
			text := string(line.Bytes)
			if line.TooLong {
				text = fmt.Sprint("#", line.Length)
			}
			if line.Partial {
				text = "~" + text
			}
			texts, lines = append(texts, text), append(lines, line)
		}
		if err != nil {
			if again, err := d.Next(); !errors.Is(err, io.EOF) || again.Length != 0 || again.Partial {
				t.Fatalf("after the end: %v, %v", again, err)
			}
			return texts, lines
		}
	}
}

func TestDocumentsAreSplitWhateverTheirForm(t *testing.T) {
	const a, b, c = `{"a":"]}\"\\"}`, `{"b":[{"x":1},[]]}`, `{"c":null}`
	pretty := "{\n  \"a\": [\n    1,\n    {\n      \"Records\": [\n{}\n]\n    }\n  ]\n}"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"white space", " \r\n\t\n", nil},
		{"lines", a + "\n" + b + "\r\n\n" + c + "\n", []string{a, b, c}},
		{"no line end at the end", a + "\n" + b, []string{a, b}},
		{"over many lines", pretty + "\n" + pretty + "\n" + a, []string{pretty, pretty, a}},
		{"one after another", a + b + " " + c, []string{a, b, c}},
		{"commas between", a + ",\n" + b + ",\n" + c, []string{a, b, c}},
		{"byte order mark", "\ufeff" + a, []string{a}},
		{"array", "[" + a + "," + b + ",\n" + c + "]", []string{a, b, c}},
		{"array over lines", "[\n" + pretty + "\n,\n" + b + "\n]\n", []string{pretty, b}},
		{"empty array", "[ ]" + a, []string{a}},
		{"arrays", "[" + a + "]\n[" + b + "]", []string{a, b}},
		{"array of other things", `[{},null,"x]",12,[1],{}]`, []string{`{}`, `null`, `"x]"`, `12`, `[1]`, `{}`}},
		{"field", `{"Records":[` + a + "," + b + "]}", []string{a, b}},
		{"field among others", `{"x":{"Records":[1]},"y":"Records","Records" : [` + a + `],"z":[{}],"w":"]}"}` + c, []string{a, c}},
		{"two fields", `{"Records":[` + a + `],"entries":[` + b + "]}", []string{a, b}},
		{"other field", `{"records":[{}]}`, []string{`{"records":[{}]}`}},
		{"field inside a record", `{"Records":[{"Records":[1]}]}`, []string{`{"Records":[1]}`}},
		{"field that is no array", `{"Records":{"a":[1]}}`, []string{`{"Records":{"a":[1]}}`}},
		{"name as a value", `{"a":"Records","b":[1]}`, []string{`{"a":"Records","b":[1]}`}},
		{"empty field", `{"Records":[]}`, nil},
		{"fields, many lines", "{\"Records\":[\n" + a + ",\n" + b + "\n]}\n{\"Records\": [" + c + "]}", []string{a, b, c}},

		{"a line of text", a + "\nnot json at all\n" + b, []string{a, "not json at all", b}},
		{"a line with a mark first", "[INFO] started {\n" + a, []string{"[INFO] started {", a}},
		{"text at the end", a + "\nnot json", []string{a, "~not json"}},
		{"a cut line", `{"a":1` + "\n" + b, []string{`{"a":1`, b}},
		{"cut in a string", `{"a":"x` + "\n" + b, []string{`{"a":"x`, b}},
		{"cut in a key", `{"a` + "\n" + b, []string{`{"a`, b}},
		{"cut after a key", `{"a"` + "\n" + b, []string{`{"a"`, b}},
		{"cut after a comma", `{"a":1,` + "\n" + b, []string{`{"a":1,`, b}},
		{"cut at its begin", "{\n" + b, []string{"{", b}},
		{"cut before a value", `{"a":` + "\n" + b + "\n" + c, []string{`{"a":`, b, c}},
		{"cut before a value, then the end", `{"a":` + "\n" + b + "\n", []string{`{"a":`, b}},
		{"cut in an inner array", `{"a":[1,` + "\n" + b + "\n" + c, []string{`{"a":[1,`, b, c}},
		{"wrong bracket", `{"a":[1}` + "\n" + b, []string{`{"a":[1}`, b}},
		{"missing comma", `{"a":{} {}}` + "\n" + b, []string{`{"a":{} {}}`, b}},
		{"closed twice", `{"a":1}}` + "\n" + b, []string{`{"a":1}`, "}", b}},
		{"last line cut", a + "\n" + `{"b":"`, []string{a, `~{"b":"`}},
		{"last document cut", a + "\n{\n \"b\": [\n", []string{a, "~{\n \"b\": ["}},
		{"broken, then after a document", a + ` {"x":"y` + "\n" + b, []string{a, `{"x":"y`, b}},

		{"array cut in a record", "[" + a + `,{"b":1`, []string{a, `~{"b":1`}},
		{"array cut between records", "[" + a + ",", []string{a, "~"}},
		{"array with a bad record", `[` + a + `,{"b":oops},` + c + `]`, []string{a, `{"b":oops}`, c}},
		{"array without a comma", `[` + a + b + `]`, []string{a, b}},
		{"broken array", `[` + a + `,{"b":[}],` + c + "]\n" + c, []string{a, `~{"b":[}],` + c + "]\n" + c}},
		{"array with the other end", `[` + a + `}` + b, []string{a, `~}` + b}},
		{"field cut", `{"Records":[` + a + `,{"b"`, []string{a, `~{"b"`}},
		{"field's object cut", `{"Records":[` + a + `],"x`, []string{a, "~"}},
		{"field's object not ended", `{"Records":[` + a + "]\n" + `{"Records":[` + b + "]}", []string{a, b}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{"whole": strings.NewReader(test.text), "byte by byte": iotest.OneByteReader(strings.NewReader(test.text)),
				"data with the end": iotest.DataErrReader(strings.NewReader(test.text))} {
				got, lines := split(t, r, 0, "Records", "entries")
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
					t.Errorf("%s:\n got %q\nwant %q", name, got, test.want)
				}
				for _, line := range lines {
					if found := test.text[line.Offset : line.Offset+line.Length]; found != string(line.Bytes) {
						t.Errorf("%s: at %d is %q, not %q", name, line.Offset, found, line.Bytes)
					}
				}
			}
		})
	}
}

// endless gives the same text again and again.
type endless struct {
	text string
	left int64
}

func (e *endless) Read(p []byte) (n int, err error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	for n+len(e.text) <= len(p) && e.left > 0 {
		n += copy(p[n:], e.text)
		e.left -= int64(len(e.text))
	}
	return n, nil
}

func TestDocumentsHoldNoMoreThanTheLimit(t *testing.T) {
	const size = 64 << 20
	for name, test := range map[string]struct{ before, many, after, want string }{
		"a document":              {`{"a":1}{"b":[`, `"x", `, `1]}{"c":1}`, `{"a":1}|#|{"c":1}`},
		"a record of an array":    {`[{"a":1},{"b":[`, `"x", `, `1]},{"c":1}]`, `{"a":1}|#|{"c":1}`},
		"a string":                {`{"a":1}{"b":"`, `xyz\"`, `"}{"c":1}`, `{"a":1}|#|{"c":1}`},
		"a line":                  {"{\"a\":1}\n", `xyz [`, "\n{\"c\":1}", `{"a":1}|#|{"c":1}`},
		"a cut array":             {`[{"a":1},{"b":`, `[[[[[`, ``, `{"a":1}|~#`},
		"nested":                  {`{"a":1}` + "\n" + `{"b":`, `[[[[[`, ``, `{"a":1}|~#`},
		"an array's many records": {`{"Records":[{"a":1}`, `,    `, `]}{"c":1}`, `{"a":1}|{"c":1}`},
		"fields before the array": {`{"x":[`, `"x", `, `1],"Records":[{"a":1}]}{"c":1}`, `{"a":1}|{"c":1}`},
		"fields after the array":  {`{"Records":[{"a":1}],"x":[`, `"x", `, `1]}{"c":1}`, `{"a":1}|{"c":1}`},
		"white space":             {`{"a":1}`, "    \n", `{"c":1}`, `{"a":1}|{"c":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := io.MultiReader(strings.NewReader(test.before), &endless{test.many, size}, strings.NewReader(test.after))
			d := NewDocuments(r, 1000, "Records")
			var got []string
			var err error
			for err == nil {
				var line Line
				line, err = d.Next()
				text := string(line.Bytes)
				if line.TooLong {
					text = "#"
				}
				if line.Partial {
					text = "~" + text
				}
				if text != "" {
					got = append(got, text)
				}
				if line.TooLong && (line.Length < size || line.SHA256 == [sha256.Size]byte{}) {
					t.Errorf("%d bytes, hash %x", line.Length, line.SHA256)
				}
			}
			if text := strings.Join(got, "|"); text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
			if cap(d.buf) > 400<<10 {
				t.Errorf("%d bytes held", cap(d.buf))
			}
			if len(d.doc.stack) > maxStack {
				t.Errorf("%d brackets held", len(d.doc.stack))
			}
		})
	}
}

func TestDocumentTooLongIsNamedByItsHash(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 3000) + `"}`
	for _, text := range []string{long + `{"b":1}`, "[" + long + `,{"b":1}]`, "\n" + long + "\n{\"b\":1}"} {
		_, lines := split(t, iotest.HalfReader(strings.NewReader(text)), 2000)
		if len(lines) != 2 || !lines[0].TooLong || lines[0].Length != int64(len(long)) || lines[0].SHA256 != sha256.Sum256([]byte(long)) || string(lines[1].Bytes) != `{"b":1}` {
			t.Errorf("got %+v", lines)
		}
	}
}

func TestReaderErrorIsNotTheEnd(t *testing.T) {
	wrong := errors.New("wrong")
	d := NewDocuments(io.MultiReader(strings.NewReader(`[{"a":1},{"b"`), iotest.ErrReader(wrong)), 0)
	if line, err := d.Next(); err != nil || string(line.Bytes) != `{"a":1}` {
		t.Fatal(line, err)
	}
	if line, err := d.Next(); !errors.Is(err, wrong) || line.Length != 0 {
		t.Fatal(line, err)
	}
}

// value makes a JSON value.
func value(rng *rand.Rand, depth int) any {
	switch n := rng.Intn(9); {
	case n < 2 && depth > 0:
		m := map[string]any{}
		for range rng.Intn(4) {
			m[[]string{"a", "Records", `"`, "k\n"}[rng.Intn(4)]] = value(rng, depth-1)
		}
		return m
	case n < 4 && depth > 0:
		list := []any{}
		for range rng.Intn(4) {
			list = append(list, value(rng, depth-1))
		}
		return list
	case n == 4:
		return rng.Intn(1000)
	case n == 5:
		return nil
	}
	return []string{"", "x", `{"`, `]}`, "\\", "line\nline", "é\u2028", strings.Repeat("y", rng.Intn(200))}[rng.Intn(8)]
}

func TestEveryFormGivesTheSameRecords(t *testing.T) {
	rng := rand.New(rand.NewSource(5))
	for range 500 {
		var plain, indented []string
		for range rng.Intn(6) {
			doc := map[string]any{"id": rng.Intn(100), "v": value(rng, 4)}
			one, _ := json.Marshal(doc)
			two, _ := json.MarshalIndent(doc, "", "  ")
			plain, indented = append(plain, string(one)), append(indented, string(two))
		}
		for form, text := range map[string]string{
			"lines":           strings.Join(plain, "\n"),
			"joined":          strings.Join(plain, ""),
			"array":           "[" + strings.Join(plain, ",") + "]",
			"field":           `{"n":{"x":["]"]},"Records":[` + strings.Join(plain, ", ") + `],"m":"}"}`,
			"indented":        strings.Join(indented, "\n"),
			"indented array":  "[\n" + strings.Join(indented, ",\n") + "\n]\n",
			"indented, field": "{\n  \"Records\": [\n" + strings.Join(indented, ",\n") + "\n  ]\n}\n",
		} {
			want := plain
			if strings.HasPrefix(form, "indented") {
				want = indented
			}
			got, _ := split(t, iotest.HalfReader(strings.NewReader(text)), 0, "Records")
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Fatalf("%s: %s\n got %q\nwant %q", form, text, got, want)
			}
		}
	}
}

// Whatever the text: records lie in it in order, no letter but punctuation, white space and skipped fields is left out,
// and neither the size of reads nor of the limit changes where they lie.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{`{"a":1}` + "\n" + `{"b":`, `[{"a":1},{"b"]`, `{"Records":[{}],"x":1}{`, "[INFO] x\n{\"a\":\"\n{}\n", "{\"a\":[1,\n{}\n{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, lines := split(t, strings.NewReader(text), 0)
		at := int64(0)
		for _, line := range lines {
			if line.Offset < at || line.End < line.Offset+line.Length || line.End > int64(len(text)) {
				t.Fatalf("line %+v after %d", line, at)
			}
			if found := text[line.Offset : line.Offset+line.Length]; found != string(line.Bytes) {
				t.Fatalf("at %d is %q, not %q", line.Offset, found, line.Bytes)
			}
			if left := strings.Trim(text[at:line.Offset], " \t\r\n,[]\ufeff"); left != "" {
				t.Fatalf("%q is in no record", left)
			}
			at = line.Offset + line.Length
		}
		if left := strings.Trim(text[at:], " \t\r\n,[]\ufeff"); left != "" {
			t.Fatalf("%q is in no record", left)
		}
		if fixed, ok := documents(text); ok {
			got, _ := split(t, strings.NewReader(text), 0)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", fixed) {
				t.Fatalf("got %q, want %q", got, fixed)
			}
		}
		for _, keys := range [][]string{nil, {"Records"}} {
			_, one := split(t, strings.NewReader(text), 0, keys...)
			_, two := split(t, iotest.OneByteReader(strings.NewReader(text)), 0, keys...)
			if fmt.Sprint(one) != fmt.Sprint(two) {
				t.Fatalf("read byte by byte: %v, not %v", two, one)
			}
			_, _ = split(t, strings.NewReader(text), 7, keys...)
		}
	})
}

// documents are those of a text that is nothing but well-formed JSON objects one after another.
func documents(text string) (docs []string, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return docs, errors.Is(err, io.EOF)
		}
		if raw[0] != '{' {
			return nil, false
		}
		docs = append(docs, string(raw))
	}
}
