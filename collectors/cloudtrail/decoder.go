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
	parser    fastjson.Parser
	inner     fastjson.Parser // of an event that its envelope holds as text
	verbs     cache[verb]
	callers   cache[caller]
	names     cache[string] // keys of credentials by id
	addresses cache[string]
	sessions  map[[32]byte]string // names of policies of sessions, by the hash of their text
	scratch   []byte
	rec       record
}

// NewDecoder returns a decoder for the trails of one organisation.
func NewDecoder(opts Options) *Decoder {
	if opts.Instance == "" {
		opts.Instance = "default"
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = source.DefaultMaxLine
	}
	return &Decoder{opts: opts, verbs: newCache[verb](4096), callers: newCache[caller](4096), names: newCache[string](4096), addresses: newCache[string](4096),
		sessions: map[[32]byte]string{}}
}

// Records splits a file of CloudTrail's, in any of its forms.
func Records(r io.Reader, max int) source.Reader {
	return source.NewDocuments(r, max, "Records", "Events", "logEvents")
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	root, err := jsonrecord.Parse(&d.parser, rec.Bytes, d.opts.MaxBytes)
	if err != nil {
		return dst, err
	}
	e := &d.rec
	*e = record{from: rec}
	if err := d.open(e, root, 0); err != nil {
		return dst, err
	}
	e.id = d.recordID(e)
	if e.verb = d.verb(e); !e.known() {
		return append(dst, d.unknown(e)), nil
	}
	e.caller = d.caller(e)
	dst = append(dst, d.call(e))
	if e.failed {
		return dst, nil
	}
	return d.outcomes(dst, e), nil
}

// open finds the event's fields, in the record itself or in its envelope.
func (d *Decoder) open(e *record, root *fastjson.Value, depth int) error {
	e.root = root
	root.GetObject().Visit(e.field)
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
		if e.identity != nil && e.identity.Type() == fastjson.TypeString {
			return jsonrecord.Malformed("userIdentity is text; export CloudTrail Lake rows with the column eventJson")
		}
		return nil
	}
	if depth > 0 {
		return jsonrecord.Malformed("the envelope holds no CloudTrail event")
	}
	switch {
	case e.detail != nil:
		inside := e.detail
		*e = record{from: e.from}
		return d.open(e, inside, 1)
	case len(e.text) > 0:
		// The text is a part of the parsed record: it is read before the parser is used again.
		inside, err := jsonrecord.Parse(&d.inner, e.text, d.opts.MaxBytes)
		if err != nil {
			return err
		}
		*e = record{from: e.from}
		return d.open(e, inside, 1)
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
		return jsonrecord.Hash(e.root)
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
	if e.caller.credential == "" && index != indexUnknown {
		index += indexUnnamed
	}
	return jsonrecord.Event(System, d.opts.Instance, e.id, index, kind, e.at, e.from)
}

// key of a credential; empty if there is no id.
func (d *Decoder) key(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	if key, ok := d.names.get(id); ok {
		return key
	}
	kind := "access_key"
	if bytes.HasPrefix(id, []byte("ASIA")) {
		kind = "session"
	}
	key := schemas.Key{System: System, Instance: d.opts.Instance, Type: kind, ID: jsonrecord.ID(id)}.String()
	d.names.put(string(id), key)
	return key
}

// principal is an identity's key; empty if there is no id.
func (d *Decoder) principal(kind, id string) string {
	if id == "" {
		return ""
	}
	return schemas.Key{System: System, Instance: d.opts.Instance, Type: kind, ID: id}.String()
}
