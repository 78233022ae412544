package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const maxExcerpt = 512

// DeadLetter makes the letter for a record that could not be read. It holds a hash and an outline of the record, none
// of its text. The same record at the same offset gives the same id, also after the log was renamed by rotation.
func DeadLetter(source, instance string, rec Record, m *Malformed) *leastwisev1.DeadLetter {
	sum, length := m.SHA256, m.Length
	if len(sum) == 0 {
		hashed := sha256.Sum256(rec.Bytes)
		sum, length = hashed[:], int64(len(rec.Bytes))
	}
	// The offset without the file's name: a log that was rotated between two readings is the same log.
	offset := rec.Position[strings.LastIndexByte(rec.Position, ':')+1:]
	id := schemas.EventID(source, instance, "deadletter:"+offset+":"+hex.EncodeToString(sum), 0)
	letter := &leastwisev1.DeadLetter{
		Id: id[:], Source: source, Instance: instance, Position: rec.Position,
		Reason: m.Reason, Detail: m.Detail, Sha256: sum, Length: uint64(max(length, 0)), Excerpt: outline(rec.Bytes),
	}
	if !rec.ObservedAt.IsZero() {
		letter.ObservedAt = timestamppb.New(rec.ObservedAt)
	}
	return letter
}

// structural are the keys that an outline may show: words of the log formats themselves. Any other text is blanked, a
// key too, since in a damaged record nobody knows what is a key.
var structural = map[string]bool{
	"time": true, "type": true, "auth": true, "request": true, "response": true, "data": true, "error": true, "id": true,
	"path": true, "operation": true, "headers": true, "policies": true, "metadata": true, "accessor": true,
	"Records": true, "eventID": true, "eventName": true, "eventTime": true, "eventSource": true, "userIdentity": true,
	"requestParameters": true, "responseElements": true, "protoPayload": true, "insertId": true, "logName": true,
	"timestamp": true, "msg": true, "level": true,
}

// outline draws the record's shape: punctuation stays, strings become "", numbers 0, other text ?.
func outline(text []byte) string {
	text = text[:min(len(text), 16<<10)]
	out := make([]byte, 0, maxExcerpt)
	for i := 0; i < len(text) && len(out) < maxExcerpt-40; {
		switch c := text[i]; {
		case c == '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			word := text[i+1 : min(end, len(text))]
			i = end + 1
			out = append(out, '"')
			if rest := bytes.TrimLeft(text[min(i, len(text)):], " "); len(rest) > 0 && rest[0] == ':' && structural[string(word)] {
				out = append(out, word...)
			}
			out = append(out, '"')
		case bytes.IndexByte([]byte("{}[]:,"), c) >= 0:
			out = append(out, c)
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		default:
			mark := byte('?')
			if c >= '0' && c <= '9' || c == '-' {
				mark = '0'
			}
			for i < len(text) && bytes.IndexByte([]byte("{}[]:,\""), text[i]) < 0 {
				i++
			}
			out = append(out, mark)
		}
	}
	return string(out)
}
