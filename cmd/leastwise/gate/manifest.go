package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	maxManifest  = 32 << 20 // bytes of one file
	maxDocuments = 20_000   // of one file, items of lists included
	maxDepth     = 200      // of JSON; YAML's own parser has a limit
	maxLists     = 4        // lists within lists
)

// ManifestError is a manifest that can not be read. It prints as FILE:LINE: text.
type ManifestError struct {
	File string
	Line int
	Text string
}

func (e *ManifestError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// documents parses a file of YAML or JSON documents.
func documents(file string, data []byte) ([]*yaml.Node, error) {
	if len(data) > maxManifest {
		return nil, &ManifestError{file, 0, fmt.Sprintf("%d bytes; at most %d are read", len(data), maxManifest)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if line := badByte(data); line > 0 {
		return nil, &ManifestError{file, line, "a byte that is no text; expected UTF-8"}
	}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		nodes, err := jsonDocuments(file, data)
		if err == nil {
			return nodes, nil
		}
		// YAML's flow style looks like JSON and is not.
		if nodes, yamlErr := yamlDocuments(file, data); yamlErr == nil {
			return nodes, nil
		}
		return nil, err
	}
	return yamlDocuments(file, data)
}

func badByte(data []byte) int {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return 1 + bytes.Count(data[:i], []byte("\n"))
	}
	if utf8.Valid(data) {
		return 0
	}
	line := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		data = data[size:]
	}
	return 0
}

func yamlDocuments(file string, data []byte) (nodes []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return nodes, nil
		case err != nil:
			return nil, yamlError(file, err)
		}
		body := &doc
		if doc.Kind == yaml.DocumentNode {
			if len(doc.Content) == 0 {
				continue
			}
			body = doc.Content[0]
		}
		if body.Kind == yaml.ScalarNode && body.ShortTag() == "!!null" {
			continue // a document of comments
		}
		if nodes = append(nodes, body); len(nodes) > maxDocuments {
			return nil, &ManifestError{file, body.Line, fmt.Sprintf("more than %d documents", maxDocuments)}
		}
	}
}

// fromZero are what the parser, unlike its scanner and decoder, did not find in lines that it counts from zero.
var fromZero = []string{"node content", "'-' indicator", "key", "',' or ']'", "',' or '}'", "<document start>", "<stream-start>"}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// yamlError finds the line in the parser's text, which is the only place where it gives it.
func yamlError(file string, err error) *ManifestError {
	var own *ManifestError
	if errors.As(err, &own) {
		return &ManifestError{file, own.Line, own.Text}
	}
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  ")
	text, _, _ = strings.Cut(text, "\n")
	line := 1 // the parser says no line where it means the first
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
		if counted := strings.TrimPrefix(text, "did not find expected "); counted != text && slices.Contains(fromZero, counted) {
			line++
		}
	}
	if wrong, ok := strings.CutPrefix(text, "cannot unmarshal "); ok {
		wrong, _, _ = strings.Cut(wrong, " into ")
		text = wrong + " in a place where it can not be"
	}
	text = strings.TrimPrefix(text, "yaml: ")
	return &ManifestError{file, line, "not a manifest: " + shorten(text)}
}

// jsonDocuments parses JSON values one after another into the nodes that YAML has, with their lines. YAML's parser is not
// used for it: it refuses surrogate pairs and tabs, which JSON has.
func jsonDocuments(file string, data []byte) ([]*yaml.Node, error) {
	p := jsonParser{decoder: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	p.decoder.UseNumber()
	var nodes []*yaml.Node
	for {
		node, err := p.value(0)
		if errors.Is(err, io.EOF) && node == nil && len(bytes.TrimSpace(data[p.decoder.InputOffset():])) == 0 {
			return nodes, nil
		}
		if err != nil {
			text := err.Error()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				text = "it ends too early"
			}
			return nil, &ManifestError{file, p.at(p.decoder.InputOffset()), "not a manifest: " + shorten(text)}
		}
		if nodes = append(nodes, node); len(nodes) > maxDocuments {
			return nil, &ManifestError{file, node.Line, fmt.Sprintf("more than %d documents", maxDocuments)}
		}
	}
}

type jsonParser struct {
	decoder *json.Decoder
	data    []byte
	line    int   // of offset
	offset  int64 // up to which lines are counted
}

func (p *jsonParser) at(offset int64) int {
	p.line += bytes.Count(p.data[p.offset:offset], []byte("\n"))
	p.offset = offset
	return p.line
}

var errDeep = fmt.Errorf("nested deeper than %d levels", maxDepth)

func (p *jsonParser) value(depth int) (*yaml.Node, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errDeep
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: p.at(p.decoder.InputOffset())}
	switch t := token.(type) {
	case json.Delim:
		return node, p.inside(node, t, depth)
	case string:
		node.Tag, node.Value, node.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		node.Tag, node.Value = "!!float", t.String()
	case bool:
		node.Tag, node.Value = "!!bool", strconv.FormatBool(t)
	case nil:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}

func (p *jsonParser) inside(node *yaml.Node, open json.Delim, depth int) error {
	node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
	if open == '{' {
		node.Kind, node.Tag = yaml.MappingNode, "!!map"
	}
	for p.decoder.More() {
		// Keys and values alternate in a mapping, as they do in a node's content.
		child, err := p.value(depth + 1)
		if err != nil {
			return notEOF(err)
		}
		if open == '{' {
			if child.Value == "<<" {
				child.Tag = "!!str" // in JSON it merges nothing
			}
			node.Content = append(node.Content, child)
			if child, err = p.value(depth + 1); err != nil {
				return notEOF(err)
			}
		}
		node.Content = append(node.Content, child)
	}
	_, err := p.decoder.Token() // the closing one
	return notEOF(err)
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
