package gcpaudit

import (
	"bytes"
	"io"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// Records splits a file of log entries: JSON lines as a log sink writes them, an array as `gcloud logging read` prints it,
// an object with entries as the API answers, or rows exported from BigQuery.
func Records(r io.Reader, max int) source.Reader { return source.NewDocuments(r, max, "entries") }

// marks are texts of which every log entry and every asset has at least one. They spare parsing other sources' records.
var marks = [...]string{`"logName"`, `"log_name"`, `"protoPayload"`, `"protopayload_auditlog"`, `"proto_payload"`, `"asset_type"`, `"assetType"`}

// Recognise tells whether a record is a log entry, an object with log entries, or a line of an asset export.
func Recognise(record []byte) bool {
	marked := false
	for _, mark := range marks {
		marked = marked || bytes.Contains(record, []byte(mark))
	}
	if !marked {
		return false
	}
	root, err := fastjson.ParseBytes(record)
	if err != nil {
		return false
	}
	if root.Type() == fastjson.TypeArray {
		root = root.Get("0")
	}
	if entries := root.GetArray("entries"); len(entries) > 0 {
		root = entries[0]
	}
	if object(root) == nil {
		return false
	}
	if payload := either(root, "protoPayload", "protopayload_auditlog", "proto_payload"); object(payload) != nil {
		return true
	}
	name := stringOf(either(root, "logName", "log_name"))
	return bytes.Contains(name, []byte("/logs/")) && either(root, "insertId", "insert_id", "timestamp", "jsonPayload", "textPayload") != nil ||
		isAsset(root)
}
