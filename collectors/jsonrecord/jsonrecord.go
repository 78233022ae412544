// Package jsonrecord is what decoders of JSON records share: refusing what must not reach the parser, times in the forms
// that logs write them, texts fit for an event, and the identity of a record that has no id of its own.
//
// Nothing here keeps a reference to the record, quotes it in an error, or blocks.
package jsonrecord

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// futureSlack is how far a record's time may lie after the reader's clock before the event is flagged.
const futureSlack = 5 * time.Minute

// Parse gives a record's object. What is none fails with a *source.Malformed. The value is valid until parser is used
// again.
func Parse(parser *fastjson.Parser, text []byte, max int) (*fastjson.Value, error) {
	if bad := Refuse(text, max); bad != nil {
		return nil, bad
	}
	root, err := parser.ParseBytes(text)
	if err != nil {
		return nil, unparsed(text)
	}
	if root.Type() != fastjson.TypeObject {
		return nil, Malformed("the record is JSON, but not an object")
	}
	return root, nil
}

// Refuse says why a text must not reach the parser, so that time and memory are bounded by its length; nil if it may. max
// is the longest record in bytes; 0 is source.DefaultMaxLine.
func Refuse(text []byte, max int) *source.Malformed {
	if max <= 0 {
		max = source.DefaultMaxLine
	}
	switch {
	case len(text) > max:
		return tooLong(text, max)
	case plainText(text):
		return nil
	case bytes.IndexByte(text, 0) >= 0:
		return encoding(hasNUL)
	case !utf8.Valid(text):
		return encoding(notUTF8)
	}
	return nil
}

func encoding(detail string) *source.Malformed {
	return &source.Malformed{Reason: source.ReasonEncoding, Detail: detail}
}

const (
	hasNUL  = "the record holds NUL bytes"
	notUTF8 = "the record is not UTF-8"
)

func tooLong(text []byte, max int) *source.Malformed {
	return &source.Malformed{Reason: source.ReasonTooLong,
		Detail: fmt.Sprintf("the record has %d bytes, more than the limit of %d", len(text), max)}
}

// Malformed is the error of a record that is not what it should be. The detail must not quote the record.
func Malformed(detail string) *source.Malformed {
	return &source.Malformed{Reason: source.ReasonMalformed, Detail: detail}
}

// NotObject tells what is wrong with a text that a Walk did not read as an object.
func NotObject(text []byte) *source.Malformed {
	var parser fastjson.Parser
	if _, err := parser.ParseBytes(text); err != nil {
		return unparsed(text)
	}
	return Malformed("the record is JSON, but not an object")
}

// unparsed tells what is wrong with a text that is not JSON. The parser's own message quotes the text: it is not used.
func unparsed(text []byte) *source.Malformed {
	if bad := TooDeep(text); bad != nil {
		return bad
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return Malformed("the record is empty")
	case trimmed[0] == '{' && trimmed[len(trimmed)-1] != '}':
		return &source.Malformed{Reason: source.ReasonTruncated, Detail: "the record is cut off"}
	}
	return Malformed("the record is not JSON")
}

// TooDeep is the error of a text whose brackets are nested deeper than the parser goes; nil if they are not.
func TooDeep(text []byte) *source.Malformed {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > fastjson.MaxDepth {
				return &source.Malformed{Reason: source.ReasonTooDeep,
					Detail: fmt.Sprintf("the record nests deeper than %d levels", fastjson.MaxDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Stamp is a time as events hold it; nil for none.
func Stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
