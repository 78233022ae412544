package cloudtrail

import (
	"bytes"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// record is one CloudTrail event while it is decoded.
type record struct {
	from   source.Record
	root   *fastjson.Value
	id     string
	at     time.Time
	verb   verb
	caller caller
	failed bool

	eventTime, otherTime, eventSource, eventName, eventType []byte
	eventID, sharedID, errorCode, errorMessage              []byte
	address, region                                         []byte
	identity, request, response, resources                  *fastjson.Value

	// Of an envelope.
	detail            *fastjson.Value
	text              []byte
	digest, digestEnd []byte
}

// field is called once for each field of the record: looking each up by its name would go through all as often.
func (e *record) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "eventTime":
		e.eventTime = v.GetStringBytes()
	case "@timestamp":
		e.otherTime = v.GetStringBytes()
	case "eventSource":
		e.eventSource = v.GetStringBytes()
	case "eventName":
		e.eventName = v.GetStringBytes()
	case "eventType":
		e.eventType = v.GetStringBytes()
	case "eventID":
		e.eventID = v.GetStringBytes()
	case "sharedEventID":
		e.sharedID = v.GetStringBytes()
	case "errorCode":
		e.errorCode = v.GetStringBytes()
	case "errorMessage":
		e.errorMessage = v.GetStringBytes()
	case "sourceIPAddress":
		e.address = v.GetStringBytes()
	case "awsRegion":
		e.region = v.GetStringBytes()
	case "userIdentity":
		e.identity = v
	case "requestParameters":
		e.request = v
	case "responseElements":
		e.response = v
	case "resources":
		e.resources = v
	case "detail":
		if v.Type() == fastjson.TypeObject {
			e.detail = v
		}
	case "eventJson", "CloudTrailEvent", "message":
		if text := v.GetStringBytes(); len(text) > 0 && text[0] == '{' {
			e.text = text
		}
	case "digestS3Object":
		e.digest = v.GetStringBytes()
	case "digestEndTime":
		e.digestEnd = v.GetStringBytes()
	}
}

// Types of events. A record of a release that had none is an API call.
const (
	typeCall    = "AwsApiCall"
	typeConsole = "AwsConsoleAction"
	typeSignIn  = "AwsConsoleSignIn"
	typeService = "AwsServiceEvent"
	typeInsight = "AwsCloudTrailInsight"
	typeNetwork = "AwsVpceEvents"
	typeDigest  = "digest"
)

func (e *record) known() bool {
	switch string(e.eventType) {
	case "", typeCall, typeConsole, typeSignIn, typeService, typeInsight, typeNetwork, typeDigest:
		return true
	}
	return false
}

// Recognise is whether this is a CloudTrail record, or one inside an envelope that is known here.
func Recognise(text []byte) bool {
	if !bytes.Contains(text, []byte("eventName")) && !bytes.Contains(text, []byte(`"digestS3Object"`)) {
		return false
	}
	var outer, inner fastjson.Parser
	root, err := jsonrecord.Parse(&outer, text, 0)
	if err != nil {
		return false
	}
	if looksRight(root) || looksRight(root.Get("detail")) || root.Exists("digestS3Object") && root.Exists("logFiles") {
		return true
	}
	for _, name := range []string{"eventJson", "CloudTrailEvent", "message"} {
		if inside, err := jsonrecord.Parse(&inner, root.GetStringBytes(name), 0); err == nil && looksRight(inside) {
			return true
		}
	}
	if list := firstOf(root, "Records", "Events", "logEvents"); list != nil { // a whole file as one record
		return looksRight(list) || looksRight(list.Get("detail")) || len(list.GetStringBytes("CloudTrailEvent")) > 0
	}
	return false
}

func firstOf(root *fastjson.Value, names ...string) *fastjson.Value {
	for _, name := range names {
		if list := root.GetArray(name); len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

// looksRight: S3's own notifications have eventSource and eventName too, but theirs is aws:s3.
func looksRight(v *fastjson.Value) bool {
	return v.Exists("eventName") && v.Exists("eventSource") && (v.Exists("userIdentity") || v.Exists("eventID")) &&
		!bytes.HasPrefix(v.GetStringBytes("eventSource"), []byte("aws:"))
}

// Bounds of what is copied out of a record.
const (
	maxID       = 256
	maxName     = 128
	maxResource = 512
)

// label sets a label unless there is nothing to say, or it looks like a secret: whoever asks for a session chooses its
// name and its source identity.
func label(labels map[string]string, name string, value []byte) {
	if !looksSecret(value) {
		jsonrecord.Label(labels, name, value)
	}
}

// marks are what session tokens begin with.
var marks = []string{"FwoGZXIvYXdz", "FQoGZXIvYXdz", "IQoJb3JpZ2lu", "AQoDYXdz", "AQoEXAMPLE"}

func looksSecret(text []byte) bool {
	for _, mark := range marks {
		if bytes.HasPrefix(text, []byte(mark)) {
			return true
		}
	}
	return jsonrecord.Secret(text)
}

// object is v if it is one.
func object(v *fastjson.Value) *fastjson.Value {
	if v != nil && v.Type() == fastjson.TypeObject {
		return v
	}
	return nil
}

// address as far as it is one: without the leading zeros that some services write in front of numbers, which others read
// as octal. A service's name stays.
func address(text []byte) string {
	text = text[:min(len(text), maxName)]
	if len(text) == 0 || text[0] < '0' || text[0] > '9' || !bytes.Contains(text, []byte(".0")) && text[0] != '0' {
		return jsonrecord.Text(text, maxName)
	}
	parts := strings.Split(string(text), ".")
	if len(parts) != 4 {
		return jsonrecord.Text(text, maxName)
	}
	for i, part := range parts {
		if parts[i] = strings.TrimLeft(part, "0"); parts[i] == "" {
			parts[i] = "0"
		}
	}
	return jsonrecord.Text([]byte(strings.Join(parts, ".")), maxName)
}

// cache is a map of bounded size: when the young half is full it becomes the old one, and the old is forgotten.
type cache[V any] struct {
	young, old map[string]V
	limit      int
}

// maxCacheKey is the longest key that is remembered.
const maxCacheKey = 2048

func newCache[V any](limit int) cache[V] {
	return cache[V]{young: map[string]V{}, old: map[string]V{}, limit: limit}
}

func (c *cache[V]) get(key []byte) (V, bool) {
	if v, ok := c.young[string(key)]; ok {
		return v, true
	}
	v, ok := c.old[string(key)]
	if ok {
		c.put(string(key), v)
	}
	return v, ok
}

func (c *cache[V]) put(key string, v V) {
	if len(key) > maxCacheKey {
		return
	}
	if len(c.young) >= c.limit {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	c.young[key] = v
}
