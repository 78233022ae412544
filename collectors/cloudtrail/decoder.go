package cloudtrail

import (
	"bytes"
	"io"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// System is the first part of every key and the source of every event of this package.
const System = "cloudtrail"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexCall    = 0
	indexIssued  = 1
	indexRevoked = 2
	indexActive  = 3
	indexAsked   = 4
	indexUnknown = 15
	// indexUnnamed is added if the record does not name the caller's key.
	indexUnnamed = 16
)

// Options of a Decoder. The zero value is fit for use.
type Options struct {
	// Instance names this organisation or account in keys; "default" if empty.
	Instance string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
	// Facts, if not nil, is told what policies permit that are written out in requests for sessions. It must not block.
	Facts func(*leastwisev1.Fact)
}

// Decoder turns CloudTrail records into events. It is not safe for concurrent use. What it remembers saves work only;
// its memory is bounded.
type Decoder struct {
	opts      Options
	walk      jsonrecord.Walk
	shapes    *jsonrecord.Shapes[record]
	part      jsonrecord.Walk // of a part of the record, whose other parts stay valid
	inner     []byte          // an event that was in an envelope
	asked     fastjson.Parser
	answered  fastjson.Parser
	verbs     cache[verb]
	callers   cache[*caller] // by region and userIdentity as it stands
	likely    cache[*caller] // by how userIdentity begins
	texts     cache[string]  // texts of labels
	roles     cache[role]
	addresses cache[string]
	codes     cache[string] // categories of failure
	askings   cache[asking]
	spare     jsonrecord.Spare
	// Prefixes of keys.
	accessKey, sessionKey, principals string
	sessions                          map[[32]byte]string // names of policies of sessions, by the hash of their text
	scratch                           []byte
	rec                               record
}

// NewDecoder returns a decoder for the trails of one organisation.
func NewDecoder(opts Options) *Decoder {
	if opts.Instance == "" {
		opts.Instance = "default"
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = source.DefaultMaxLine
	}
	prefix := func(kind string) string {
		return schemas.Key{System: System, Instance: opts.Instance, Type: kind}.String()
	}
	d := &Decoder{opts: opts, verbs: newCache[verb](4096), callers: newCache[*caller](4096), likely: newCache[*caller](4096),
		texts: newCache[string](4096), roles: newCache[role](4096), addresses: newCache[string](4096), codes: newCache[string](1024),
		askings:   newCache[asking](4096),
		sessions:  map[[32]byte]string{},
		accessKey: prefix("access_key"), sessionKey: prefix("session"), principals: prefix("principal")}
	d.shapes = jsonrecord.NewShapes(&d.rec, d.rec.texts()...)
	return d
}

// Records splits a file of CloudTrail's, in any of its forms.
func Records(r io.Reader, max int) source.Reader {
	return source.NewDocuments(r, max, "Records", "Events", "logEvents")
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	d.spare.Lend(dst)
	e := &d.rec
	if err := d.open(e, rec.Bytes, 0); err != nil {
		return dst, err
	}
	e.from = rec
	e.id = d.recordID(e)
	if e.verb = d.verb(e); !e.known() {
		return append(dst, d.unknown(e)), nil
	}
	e.caller = d.caller(e)
	if e.errs || e.gives {
		e.response = parsed(&d.answered, e.responseText)
	}
	dst = append(dst, d.call(e))
	if e.failed {
		return dst, nil
	}
	return d.outcomes(dst, e), nil
}

// open finds the event's fields, in the record itself or in its envelope.
func (d *Decoder) open(e *record, text []byte, depth int) error {
	if bad := d.read(e, text); bad != nil {
		return bad
	}
	e.text = text
	if len(e.eventName) > 0 && len(e.eventSource) > 0 || len(e.eventType) > 0 {
		if e.known() && (len(e.eventName) == 0 || len(e.eventSource) == 0) {
			return jsonrecord.Malformed("the record has no eventName, or no eventSource")
		}
		var ok bool
		if e.at, ok = parseTime(e.eventTime); !ok {
			if e.at, ok = parseTime(e.otherTime); !ok && e.known() {
				return jsonrecord.Malformed("the record has no eventTime that can be read")
			}
		}
		if len(e.identity) > 0 && e.identity[0] == '"' {
			return jsonrecord.Malformed("userIdentity is text; export CloudTrail Lake rows with the column eventJson")
		}
		return nil
	}
	if depth > 0 {
		return jsonrecord.Malformed("the envelope holds no CloudTrail event")
	}
	inside := e.detail
	if inside == nil {
		inside = e.message
	}
	switch {
	case inside != nil:
		d.inner = append(d.inner[:0], inside...)
		return d.open(e, d.inner, 1)
	case len(e.digest) > 0:
		e.eventType, e.eventName, e.eventSource, e.eventID = []byte("digest"), []byte("Digest"), []byte("cloudtrail.amazonaws.com"), e.digest
		e.at, _ = parseTime(e.digestEnd)
		return nil
	}
	return jsonrecord.Malformed("the record has no eventName and eventSource")
}

// recordID is what all copies of an event share; of an event without an id a hash of its content.
func (d *Decoder) recordID(e *record) string {
	id := e.sharedID
	if len(id) == 0 {
		id = e.eventID
	}
	switch {
	case len(id) == 0:
		return jsonrecord.Hash(parsed(&d.asked, e.text))
	case len(id) > maxName:
		return jsonrecord.HashOf(id)
	}
	return jsonrecord.Text(id, maxName)
}

func (d *Decoder) unknown(e *record) *leastwisev1.Event {
	ev := d.event(e, indexUnknown, leastwisev1.Event_UNKNOWN)
	ev.Action, ev.Permission = e.verb.action, e.verb.permission
	ev.Labels = map[string]string{}
	label(ev.Labels, "event_type", e.eventType)
	return ev
}

// event starts an event of this record with what all of its events have in common.
func (d *Decoder) event(e *record, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	if index != indexUnknown && e.caller.credential == "" {
		index += indexUnnamed
	}
	return d.spare.Event(System, d.opts.Instance, e.id, index, kind, e.at, e.from)
}

// parsed is a text that was read before, or a part of one; nil if it is none. It is valid until parser is used again.
func parsed(parser *fastjson.Parser, text []byte) *fastjson.Value {
	if len(text) == 0 {
		return nil
	}
	v, err := parser.ParseBytes(text)
	if err != nil {
		return nil
	}
	return v
}

// key of a credential; empty if there is no id.
func (d *Decoder) key(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	prefix := d.accessKey
	if bytes.HasPrefix(id, []byte("ASIA")) {
		prefix = d.sessionKey
	}
	return prefix + jsonrecord.ID(id)
}

// principal is an identity's key; empty if there is no id.
func (d *Decoder) principal(kind, id string) string {
	if id == "" {
		return ""
	}
	return schemas.Key{System: System, Instance: d.opts.Instance, Type: kind, ID: id}.String()
}

// role is one that sessions are given of, and its key.
type role struct{ arn, key string }

func (d *Decoder) role(arn []byte) role {
	if known, ok := d.roles.get(arn); ok {
		return known
	}
	r := role{arn: jsonrecord.Text(arn, maxResource)}
	if r.arn != "" {
		r.key = d.principals + r.arn
	}
	if len(r.arn) == len(arn) {
		d.roles.put(r.arn, r)
	}
	return r
}
