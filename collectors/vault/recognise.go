package vault

import (
	"bytes"
	"io"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// Records splits an audit log: one record a line.
func Records(r io.Reader, max int) source.Reader { return source.NewLines(r, max) }

// Recognise tells an audit record by what it has: a time, a type, and a request or a response.
func Recognise(record []byte) bool {
	start := bytes.IndexByte(record, '{') // devices may put a prefix before the entry
	if start < 0 || start > 128 {
		return false
	}
	v, err := fastjson.ParseBytes(record[start:])
	if err != nil {
		return false
	}
	return v.Exists("time") && v.Exists("type") && (v.Exists("request") || v.Exists("response") || v.Exists("auth"))
}
