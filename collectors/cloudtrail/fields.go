package cloudtrail

import (
	"bytes"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// record is one CloudTrail event while it is decoded. Its texts die with the next record.
type record struct {
	from   source.Record
	text   []byte
	id     string
	at     time.Time
	verb   verb
	caller *caller
	failed bool

	eventTime, otherTime, eventSource, eventName, eventType []byte
	eventID, sharedID, errorCode, errorMessage              []byte
	address, region                                         []byte
	arn                                                     []byte // the first of resources
	bucket, object                                          []byte // parameters of the request
	named                                                   []byte // the most telling parameter that names something

	// What these hold is read when it is needed: they are taken as they stand.
	identity, requestText, responseText []byte
	likely                              *caller // whose identity this is, if its region is the record's
	errs, gives                         bool    // what the response has fields of: an error, a credential
	request, response                   *fastjson.Value

	// Of an envelope.
	detail, message   []byte
	digest, digestEnd []byte
}

// texts are those of the record that it takes from the text.
func (e *record) texts() []*[]byte {
	return []*[]byte{&e.eventTime, &e.otherTime, &e.eventSource, &e.eventName, &e.eventType, &e.eventID, &e.sharedID,
		&e.errorCode, &e.errorMessage, &e.address, &e.region, &e.arn, &e.bucket, &e.object, &e.named, &e.identity, &e.requestText, &e.responseText,
		&e.detail, &e.message, &e.digest, &e.digestEnd}
}

// read takes what the record says.
func (d *Decoder) read(e *record, text []byte) *source.Malformed {
	if len(text) <= d.opts.MaxBytes && d.shapes.Read(text) {
		return nil
	}
	if bad := jsonrecord.Refuse(text, d.opts.MaxBytes); bad != nil {
		return bad
	}
	again := func(w *jsonrecord.Walk) bool {
		*e = record{}
		return d.walked(e, w, text)
	}
	if !again(&d.walk) {
		return jsonrecord.NotObject(text)
	}
	if len(e.eventName) > 0 && len(e.eventSource) > 0 {
		likely := e.likely
		d.shapes.Learn(text, again)
		e.likely = likely
	}
	return nil
}

// walked is whether the record is an object in JSON, which was read. Of fields with one name the last counts.
func (d *Decoder) walked(e *record, w *jsonrecord.Walk, text []byte) bool {
	w.Open(text)
	if !w.Object() {
		return false
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "eventTime":
			e.eventTime = w.Text()
		case "@timestamp":
			e.otherTime = w.Text()
		case "eventSource":
			e.eventSource = w.Text()
		case "eventName":
			e.eventName = w.Text()
		case "eventType":
			e.eventType = w.Text()
		case "eventID":
			e.eventID = w.Text()
		case "sharedEventID":
			e.sharedID = w.Text()
		case "errorCode":
			e.errorCode = w.Text()
		case "errorMessage":
			e.errorMessage = w.Text()
		case "sourceIPAddress":
			e.address = w.Text()
		case "awsRegion":
			e.region = w.Text()
		case "userIdentity":
			e.identity, e.likely = d.identity(w)
		case "requestParameters":
			from := w.At()
			e.readRequest(w, func(text []byte) bool { return len(text) > 0 })
			e.requestText = w.Since(from)
		case "responseElements":
			from := w.At()
			e.errs, e.gives = answer(w)
			e.responseText = w.Since(from)
		case "resources":
			e.arn = firstARN(w)
		case "detail":
			if raw := w.Raw(); len(raw) > 0 && raw[0] == '{' {
				e.detail = raw
			}
		case "eventJson", "CloudTrailEvent", "message":
			if text := w.Plain(); len(text) > 0 && text[0] == '{' {
				e.message = text
			}
		case "digestS3Object":
			e.digest = w.Text()
		case "digestEndTime":
			e.digestEnd = w.Text()
		default:
			w.Skip()
		}
	}
	return w.Close()
}

// answer goes past a response, and tells whether it has fields of an error, and of a credential.
func answer(w *jsonrecord.Walk) (errs, gives bool) {
	if !w.Object() {
		return false, false
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "errorCode", "ErrorCode", "error", "Error", "ConsoleLogin", "_return":
			errs = true
		case "credentials", "credentialSet", "accessKey":
			gives = true
		}
		w.Skip()
	}
	return errs, gives
}

// firstARN goes past a list of resources, and gives the first ARN.
func firstARN(w *jsonrecord.Walk) (found []byte) {
	if !w.Array() {
		return nil
	}
	for w.Item() {
		if len(found) > 0 {
			w.Skip()
			continue
		}
		if !w.Object() {
			continue
		}
		var upper, lower, prefix []byte
		for key, more := w.Field(); more; key, more = w.Field() {
			switch string(key) {
			case "ARN":
				upper = first(upper, w)
			case "arn":
				lower = first(lower, w)
			case "ARNPrefix":
				prefix = first(prefix, w)
			default:
				w.Skip()
			}
		}
		if found = upper; len(found) == 0 {
			if found = lower; len(found) == 0 {
				found = prefix
			}
		}
	}
	return found
}

// first goes past the value, and gives its text unless one is known: of fields with one name the first counts, also if it
// is no text.
func first(known []byte, w *jsonrecord.Walk) []byte {
	text := w.Text()
	switch {
	case known != nil:
		return known
	case text == nil:
		return []byte{}
	}
	return text
}

// pair goes past the value, and gives two of its texts if it is an object.
func pair(w *jsonrecord.Walk, one, other string) (a, b []byte) {
	if !w.Object() {
		return nil, nil
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case one:
			a = first(a, w)
		case other:
			b = first(b, w)
		default:
			w.Skip()
		}
	}
	return a, b
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

// label does the same with a value that is likely to come again.
func (d *Decoder) label(labels map[string]string, name string, value []byte) {
	if len(value) == 0 || len(labels) >= jsonrecord.MaxLabels {
		return
	}
	text, ok := d.texts.get(value)
	if !ok {
		if looksSecret(value) {
			return
		}
		text = jsonrecord.Text(value, jsonrecord.MaxLabel)
		if len(text) == len(value) { // it is the same, as nearly all are
			d.texts.put(text, text)
		}
	}
	labels[name] = text
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
