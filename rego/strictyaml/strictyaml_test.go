package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDocumentsAreSplitAndEmptyOnesLeftOut(t *testing.T) {
	docs, err := Parse("f.yaml", []byte("# head\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n"))
	if err != nil || len(docs) != 2 || docs[0].Line() != 3 || docs[1].Line() != 7 {
		t.Errorf("%v, %v", docs, err)
	}
	if docs, err := Parse("f.yaml", []byte("\n# only a comment\n")); err != nil || len(docs) != 0 {
		t.Errorf("%v, %v", docs, err)
	}
}

func TestNoDocumentIsLostBehindAnEmptyOne(t *testing.T) {
	for text, lines := range map[string]string{
		"a: 1\n---\n---\nb: 2\n":              "[1 4]",
		"# x\n---\n# y\n---\nb: 2\n":          "[5]",
		"a: 1\n...\nb: 2\n":                   "[1 3]",
		"--- {a: 1}\n--- # note\n\nb: 2\n":    "[1 4]",
		"a: 1\r\n---\r\nb: 2\r\n":             "[1 3]",
		"a: 1\nt: |\n  x\n  ---\n  y\nb: 2\n": "[1]",
		"---x: 1\n":                           "[1]",
	} {
		docs, err := Parse("f.yaml", []byte(text))
		got := []int{}
		for _, doc := range docs {
			got = append(got, doc.Line())
		}
		if fmt.Sprint(got) != lines || err != nil {
			t.Errorf("%q: documents at %v, %v; expected %s", text, got, err, lines)
		}
	}
	docs, _ := Parse("f.yaml", []byte("a: 1\n---\nb:\n  - c: [1]\n"))
	var p Problems
	item := p.List(p.Mapping(docs[1], "b")["b"])[0]
	if c := p.Mapping(item, "c")["c"]; item.Line() != 4 || c.Line() != 4 {
		t.Errorf("lines %d and %d in the second document; expected 4", item.Line(), c.Line())
	}
	if _, err := Parse("f.yaml", []byte("a: 1\n---\nb: [\n")); err == nil || !strings.Contains(err.Error(), "f.yaml:3:") {
		t.Errorf("%v; expected line 3", err)
	}
}

func TestEachReaderTellsLineKeyAndWhatWasExpected(t *testing.T) {
	for text, c := range map[string]struct {
		read func(*Problems, Node)
		want string
	}{
		"\nk: 5\n":      {func(p *Problems, n Node) { p.Text(n) }, `f.yaml:2: key "k": 5; expected a text in quotes`},
		"k: ''\n":       {func(p *Problems, n Node) { p.Text(n) }, `f.yaml:1: key "k": empty; expected a text`},
		"k:\n":          {func(p *Problems, n Node) { p.Text(n) }, `f.yaml:1: key "k": empty; expected a text in quotes`},
		"k: maybe\n":    {func(p *Problems, n Node) { p.Bool(n) }, `f.yaml:1: key "k": "maybe"; expected true or false`},
		"k: x\n":        {func(p *Problems, n Node) { p.Number(n) }, `f.yaml:1: key "k": "x"; expected a number`},
		"k: .nan\n":     {func(p *Problems, n Node) { p.Number(n) }, `expected a number`},
		"k: {a: 1}\n":   {func(p *Problems, n Node) { p.List(n) }, `f.yaml:1: key "k": a mapping; expected a list`},
		"k: [a]\n":      {func(p *Problems, n Node) { p.Mapping(n, "a") }, `f.yaml:1: key "k": a list; expected a mapping`},
		"k: [a, [b]]\n": {func(p *Problems, n Node) { p.Texts(n) }, `f.yaml:1: key "k": a list; expected a text in quotes`},
		"k: {1: 1}\n":   {func(p *Problems, n Node) { p.Mapping(n, "a") }, `f.yaml:1: key "1": unknown; expected one of a`},
		"k: *b\n":       {func(p *Problems, n Node) { p.Scalar(n) }, `alias`},
		"k: z\n":        {func(p *Problems, n Node) { p.OneOf(n, "x", "y") }, `f.yaml:1: key "k": "z"; expected one of x, y`},
	} {
		docs, err := Parse("f.yaml", []byte(text))
		if err == nil {
			var p Problems
			c.read(&p, p.Mapping(docs[0], "k")["k"])
			err = p.Err()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v\nexpected %s", text, err, c.want)
		}
	}
}

func TestGoodValuesAreRead(t *testing.T) {
	docs, err := Parse("f.yaml", []byte("t: \"05\"\nb: true\nn: 1.5\ns: 007\nl: [a, b]\none: a\nblock: |\n  two\n  lines\n"))
	if err != nil {
		t.Fatal(err)
	}
	var p Problems
	m := p.Mapping(docs[0], "*")
	got := fmt.Sprintf("%s %v %v %s %v %v %q", p.Text(m["t"]), p.Bool(m["b"]), p.Number(m["n"]), p.Scalar(m["s"]), p.Texts(m["l"]),
		p.Texts(m["one"]), p.Text(m["block"]))
	if want := `05 true 1.5 007 [a b] [a] "two\nlines\n"`; got != want || p.Err() != nil {
		t.Errorf("%s, %v; expected %s", got, p.Err(), want)
	}
}

func TestManyProblemsAreCut(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "k%d: 1\n", i)
	}
	docs, err := Parse("f.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var p Problems
	p.Mapping(docs[0], "a")
	lines := strings.Split(p.Err().Error(), "\n")
	if len(lines) != 21 || lines[20] != "and 80 more problems" || !strings.HasPrefix(lines[0], "f.yaml:1:") {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	var problem *Error
	if !errors.As(p.Err(), &problem) || problem.Key != "k0" {
		t.Errorf("%v", problem)
	}
}

// Whatever the bytes are, the parser neither panics nor runs away, and an error names the file and a line.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"a: 1\n", "a: &x [1]\nb: *x\n", "? a\n: b\n", "- - - a\n", "{a: [b, {c: d}]}\n", "a: |\n  b\n", "%YAML 1.2\n---\na\n", "a: 'b\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("f.yaml", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.File != "f.yaml" || e.Line < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, doc := range docs {
			var p Problems
			walk(&p, doc, 0)
			if doc.Line() < 1 {
				t.Fatal("no line")
			}
		}
	})
}

// walk reads a value in every way there is.
func walk(p *Problems, n Node, depth int) {
	if depth > 10 {
		return
	}
	p.Scalar(n)
	p.Number(n)
	p.Bool(n)
	p.OneOf(n, "a")
	p.Texts(n)
	for _, child := range p.Mapping(n, "*") {
		walk(p, child, depth+1)
	}
	for _, child := range p.List(n) {
		walk(p, child, depth+1)
	}
	_ = p.Err()
}
