package certlog

import (
	"bytes"
	"io"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// Records splits a file of entries: those that the collector makes, one a line, or answers of get-entries, one or several.
func Records(r io.Reader, max int) source.Reader { return source.NewDocuments(r, max, "entries") }

// Recognise tells an entry, or a whole answer of get-entries, from records of other sources.
func Recognise(record []byte) bool {
	if !bytes.Contains(record, []byte(`"leaf_input"`)) && !bytes.Contains(record, []byte(`"alarm"`)) {
		return false
	}
	v, err := fastjson.ParseBytes(record)
	if err != nil || v.Type() != fastjson.TypeObject {
		return false
	}
	if entries := v.GetArray("entries"); len(entries) > 0 {
		v = entries[0]
	}
	if len(v.GetStringBytes("leaf_input")) > 0 {
		return true
	}
	return len(v.GetStringBytes("alarm")) > 0 && len(v.GetStringBytes("log")) > 0 && v.Exists("tree_size") && v.Exists("trusted_tree_size")
}
