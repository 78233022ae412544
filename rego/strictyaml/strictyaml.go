// Package strictyaml reads YAML files that people write by hand and tells them, with file, line and key, what is wrong.
//
// It promises that every value can be traced to its line, that a key nobody knows is an error and not silence, and that
// all problems of a file are told at once (up to twenty). It refuses anchors, aliases, tags, files over one megabyte and
// nesting over a hundred levels: none of them belongs in a policy or a catalog, and each has made a parser fall over.
// It blocks nowhere and opens no file.
package strictyaml

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	maxBytes    = 1 << 20
	maxDepth    = 100
	maxProblems = 20
)

// Error is one problem in a file. Key is empty where no key is to blame.
type Error struct {
	File string
	Line int
	Key  string
	Text string
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	}
	return fmt.Sprintf("%s:%d: key %q: %s", e.File, e.Line, e.Key, e.Text)
}

// Node is one value of a document, with the place it was read from.
type Node struct {
	file  string
	key   string
	line  int
	above int // lines of the file above the document
	node  ast.Node
}

// Parse splits a file into its documents. Documents without content are left out; a file may therefore give none.
func Parse(file string, data []byte) ([]Node, error) {
	if len(data) > maxBytes {
		return nil, &Error{File: file, Line: 1, Text: fmt.Sprintf("file has %d bytes; expected at most %d", len(data), maxBytes)}
	}
	if line := badByte(data); line > 0 {
		return nil, &Error{File: file, Line: line, Text: "not text; expected UTF-8 without NUL bytes"}
	}
	if line := tooDeep(data); line > 0 {
		return nil, &Error{File: file, Line: line, Text: fmt.Sprintf("nested too deep; expected at most %d levels", maxDepth)}
	}
	var docs []Node
	for _, part := range split(string(data)) {
		parsed, err := parser.ParseBytes([]byte(part.text), 0)
		if err != nil {
			return nil, syntaxError(file, part.above, err)
		}
		for _, doc := range parsed.Docs {
			if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
				continue
			}
			docs = append(docs, Node{file: file, above: part.above, line: part.above + lineOf(doc.Body), node: doc.Body})
		}
	}
	return docs, nil
}

// part is the text of one document, and how many lines stand above it.
type part struct {
	text  string
	above int
}

// split cuts a file at its document markers. The parser could do that itself, but drops whatever follows a document that
// holds only a comment: a policy would be missing without a word.
func split(text string) []part {
	var out []part
	var b strings.Builder
	above, line := 0, 0
	for rest := text; rest != ""; line++ {
		row, after, _ := strings.Cut(rest, "\n")
		rest = after
		if isMarker(row) {
			out = append(out, part{b.String(), above})
			b.Reset()
			above = line
			row = "   " + row[3:] // a document may begin behind its marker
		}
		b.WriteString(row)
		b.WriteByte('\n')
	}
	return append(out, part{b.String(), above})
}

// isMarker tells "---" and "..." from texts that begin so.
func isMarker(row string) bool {
	if !strings.HasPrefix(row, "---") && !strings.HasPrefix(row, "...") {
		return false
	}
	return len(row) == 3 || strings.ContainsRune(" \t\r", rune(row[3]))
}

// badByte returns the line of the first byte that is no text, 0 if there is none.
func badByte(data []byte) int {
	line := 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == 0 || r == utf8.RuneError && size == 1:
			return line
		case r == '\n':
			line++
		}
		i += size
	}
	return 0
}

// tooDeep returns the line where flow brackets or indentation pass the bound: the parser recurses, so it must not see them.
func tooDeep(data []byte) int {
	line, depth, indent, dashes, start := 1, 0, 0, 0, true
	for _, c := range data {
		switch {
		case c == '\n':
			line, indent, dashes, start = line+1, 0, 0, true
			continue
		case start && c == ' ':
			indent++
		case start && (c == '-' || c == '?'):
			dashes++
		default:
			start = false
		}
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if depth > maxDepth || dashes > maxDepth || indent > 10*maxDepth {
			return line
		}
	}
	return 0
}

func syntaxError(file string, above int, err error) error {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
		return &Error{File: file, Line: above + syntax.Token.Position.Line, Text: "not YAML: " + syntax.Message}
	}
	return &Error{File: file, Line: above + 1, Text: "not YAML: " + firstLine(err.Error())}
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return text
}

func lineOf(n ast.Node) int {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 { // the node's own token is the first colon, which a long key may push to another line
			return lineOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return lineOf(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// Line is where the value's key stands, or the value itself where it has none.
func (n Node) Line() int { return n.line }

// File is the name given to Parse.
func (n Node) File() string { return n.file }

// Errorf tells a problem of this value.
func (n Node) Errorf(format string, args ...any) error {
	return &Error{File: n.file, Line: n.line, Key: n.key, Text: fmt.Sprintf(format, args...)}
}

// Problems collects what is wrong while a file is read, so that its author sees all of it. The zero value is ready.
type Problems struct {
	list []error
}

// Add notes a problem; nil is no problem.
func (p *Problems) Add(err error) {
	if err != nil {
		p.list = append(p.list, err)
	}
}

// Addf notes a problem of a value.
func (p *Problems) Addf(n Node, format string, args ...any) { p.Add(n.Errorf(format, args...)) }

// Err returns all problems, one a line, in the order of their lines within a file; nil if there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	sorted := append([]error(nil), p.list...)
	sort.SliceStable(sorted, func(i, j int) bool {
		var a, b *Error
		if !errors.As(sorted[i], &a) || !errors.As(sorted[j], &b) || a.File != b.File {
			return false
		}
		return a.Line < b.Line
	})
	if more := len(sorted) - maxProblems; more > 0 {
		sorted = append(sorted[:maxProblems], fmt.Errorf("and %d more problems", more))
	}
	return errors.Join(sorted...)
}

// Mapping reads a mapping whose keys are all among known; "*" among known allows any key.
func (p *Problems) Mapping(n Node, known ...string) map[string]Node {
	var values []*ast.MappingValueNode
	switch m := n.node.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		p.Addf(n, "%s; expected a mapping", describe(n.node))
		return nil
	}
	out := make(map[string]Node, len(values))
	for _, v := range values {
		key := Node{file: n.file, above: n.above, line: n.above + lineOf(v.Key), node: v.Key}
		scalar, ok := v.Key.(ast.ScalarNode)
		if !ok {
			p.Addf(key, "%s as a key; expected a plain name", describe(v.Key))
			continue
		}
		name := fmt.Sprint(scalar.GetValue())
		key.key = name
		child := Node{file: n.file, key: name, above: n.above, line: key.line, node: v.Value}
		if _, twice := out[name]; twice {
			p.Addf(child, "given twice; expected once")
			continue
		}
		if !allowed(name, known) {
			p.Addf(child, "unknown; expected one of %s", strings.Join(known, ", "))
			continue
		}
		out[name] = child
	}
	return out
}

func allowed(name string, known []string) bool {
	for _, k := range known {
		if k == name || k == "*" {
			return true
		}
	}
	return false
}

// List reads a sequence.
func (p *Problems) List(n Node) []Node {
	seq, ok := n.node.(*ast.SequenceNode)
	if !ok {
		p.Addf(n, "%s; expected a list", describe(n.node))
		return nil
	}
	out := make([]Node, 0, len(seq.Values))
	for _, v := range seq.Values {
		out = append(out, Node{file: n.file, key: n.key, above: n.above, line: n.above + lineOf(v), node: v})
	}
	return out
}

// Text reads a text that is not empty. A number is not taken for a text, so that an id never loses its leading zeros.
func (p *Problems) Text(n Node) string {
	text, ok := n.text()
	if !ok {
		p.Addf(n, "%s; expected a text in quotes", describe(n.node))
		return ""
	}
	if strings.TrimSpace(text) == "" {
		p.Addf(n, "empty; expected a text")
	}
	return text
}

func (n Node) text() (string, bool) {
	switch s := n.node.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

// Texts reads a list of texts, or one text as a list of one.
func (p *Problems) Texts(n Node) []string {
	if _, ok := n.text(); ok {
		return []string{p.Text(n)}
	}
	var out []string
	for _, item := range p.List(n) {
		out = append(out, p.Text(item))
	}
	return out
}

// Scalar reads a text, number or boolean as it is written.
func (p *Problems) Scalar(n Node) string {
	if text, ok := n.text(); ok {
		return text
	}
	switch n.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.node.GetToken().Value
	}
	p.Addf(n, "%s; expected a text or a number", describe(n.node))
	return ""
}

// Number reads a finite number.
func (p *Problems) Number(n Node) float64 {
	switch n.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if f, err := strconv.ParseFloat(n.node.GetToken().Value, 64); err == nil {
			return f
		}
	}
	p.Addf(n, "%s; expected a number", describe(n.node))
	return 0
}

// Bool reads true or false.
func (p *Problems) Bool(n Node) bool {
	b, ok := n.node.(*ast.BoolNode)
	if !ok {
		p.Addf(n, "%s; expected true or false", describe(n.node))
		return false
	}
	return b.Value
}

// OneOf reads a text that is one of the given.
func (p *Problems) OneOf(n Node, choices ...string) string {
	text := p.Text(n)
	for _, c := range choices {
		if c == text {
			return text
		}
	}
	if text != "" {
		p.Addf(n, "%q; expected one of %s", text, strings.Join(choices, ", "))
	}
	return ""
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return strconv.Quote(shorten(n.Value))
	case *ast.LiteralNode:
		return "a text block"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	}
	if t := n.GetToken(); t != nil {
		return shorten(t.Value)
	}
	return "something else"
}

func shorten(text string) string {
	if len(text) <= 40 {
		return text
	}
	cut := 40
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
