package jwtregistry

import (
	"io"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// recordKeys are the fields that hold a page's records.
var recordKeys = []string{"records", "items", "events", "tokens"}

// Records splits a file into records: one a line, an array, or pages of the registry's API.
func Records(r io.Reader, max int) source.Reader { return source.NewDocuments(r, max, recordKeys...) }

var parsers fastjson.ParserPool

// Recognise tells a record by its form: the registry schema, bare claims, Keycloak's events, Vault's identity tokens.
func Recognise(text []byte) bool {
	parser := parsers.Get()
	defer parsers.Put(parser)
	root, err := parser.ParseBytes(text)
	if err != nil || root.Type() != fastjson.TypeObject {
		return false
	}
	r := &record{root: root}
	root.GetObject().Visit(r.field)
	if r.form() != formNone {
		return true
	}
	for _, key := range recordKeys {
		if page := root.GetArray(key); len(page) > 0 && page[0].Type() == fastjson.TypeObject {
			first := &record{root: page[0]}
			page[0].GetObject().Visit(first.field)
			return first.form() != formNone
		}
	}
	return false
}
