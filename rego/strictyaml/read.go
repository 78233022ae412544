package strictyaml

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

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
