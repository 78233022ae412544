// Package strictyaml reads YAML files that people write by hand and tells them, with file, line and key, what is wrong.
//
// It promises that every value can be traced to its line, that a key nobody knows is an error and not silence, and that
// all problems of a file are told at once (up to twenty). It refuses anchors, aliases, tags, tabs, files over one megabyte and
// nesting over a hundred levels: none of them belongs in a policy or a catalog, and each has made a parser fall over.
// It blocks nowhere and opens no file.
package strictyaml

import (
	"errors"
	"fmt"
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
		return nil, &Error{File: file, Line: line, Text: "a byte that is no text, or a tab; expected UTF-8 with spaces"}
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
		case r == 0 || r == '\t' || r == utf8.RuneError && size == 1: // a tab within a key would be taken out of it
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
