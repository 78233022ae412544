package gcpaudit

import (
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// System is the first part of every key and the source of every event of this package.
const System = "gcpaudit"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexUsed    = 0
	indexDenied  = 1
	indexNoted   = 2
	indexIssued  = 3
	indexRevoked = 4
	indexState   = 5 // a key disabled or enabled
	indexAsset   = 6
	indexUnknown = 15
	indexBinding = 16 // and following: one for each change of a role binding
)

// maxBindings of one record are told as events; their facts are all given.
const maxBindings = 64

// Options of a Decoder. The zero value works.
type Options struct {
	// Instance names the organization in keys; "default" if empty.
	Instance string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
	// Facts, if not nil, is told what a record says of role bindings and custom roles. It must not block.
	Facts func(*leastwisev1.Fact)
	// Assets, if not nil, is told what lines of an asset export say that come among log entries.
	Assets *Assets
}

// Decoder turns log entries into events. It is not safe for concurrent use. What it remembers are texts it has built
// before: they save work, and change nothing.
type Decoder struct {
	opts    Options
	walk    jsonrecord.Walk
	shapes  *jsonrecord.Shapes[entry]
	parser  fastjson.Parser    // of records that are needed whole
	inner   [5]fastjson.Parser // of parts of the record
	keys    prefixes
	texts   cache[string]  // texts as events hold them
	people  cache[string]  // principals' keys by the record's own text
	owned   cache[keyName] // service account keys by their resource name
	callers cache[caller]
	same    cache[map[string]string]
	line    []byte // scratch
	spare   jsonrecord.Spare

	entry entry
}

// prefixes are keys without their id.
type prefixes struct{ key, principal, accessToken, idToken, jwt, blob string }

// NewDecoder returns a decoder for the logs of one organization.
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
	d := &Decoder{opts: opts, keys: prefixes{key: prefix("service_account_key"), principal: prefix("principal"),
		accessToken: prefix("access_token"), idToken: prefix("id_token"), jwt: prefix("signed_jwt"), blob: prefix("signed_blob")}}
	d.shapes = jsonrecord.NewShapes(&d.entry, d.entry.texts()...)
	return d
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	d.spare.Lend(dst)
	e := &d.entry
	if bad := d.read(e, rec.Bytes); bad != nil {
		return dst, bad
	}
	e.rec = rec
	if e.logName == nil && e.insertID == nil && !e.found {
		if root := d.whole(e); isAsset(root) {
			return d.asset(dst, e, root), nil
		}
		return dst, jsonrecord.Malformed("the record is no log entry: it has no logName, no insertId and no protoPayload")
	}
	d.readTime(e)
	if !e.object || !e.isAudit() {
		d.identify(e)
		return append(dst, d.unknown(e)), nil
	}
	if e.at.IsZero() {
		return dst, jsonrecord.Malformed("the audit log entry has no timestamp that can be read")
	}
	d.know(e)
	d.identify(e)
	return d.events(dst, e), nil
}

// read takes what the record says.
func (d *Decoder) read(e *entry, text []byte) *source.Malformed {
	if len(text) <= d.opts.MaxBytes && d.shapes.Read(text) {
		return nil
	}
	if bad := jsonrecord.Refuse(text, d.opts.MaxBytes); bad != nil {
		return bad
	}
	again := func(w *jsonrecord.Walk) bool {
		*e = entry{}
		return e.read(w, text)
	}
	if !again(&d.walk) {
		return jsonrecord.NotObject(text)
	}
	if e.object && e.isAudit() {
		d.shapes.Learn(text, again)
	}
	return nil
}

// whole is the record's value.
func (d *Decoder) whole(e *entry) *fastjson.Value {
	root, err := d.parser.ParseBytes(e.rec.Bytes)
	if err != nil { // it was read before
		return nil
	}
	return root
}

// maxRecordID is the longest record id that is kept as text.
const maxRecordID = 1024

// identify gives the entry its record id: log, time to the microsecond (as far as BigQuery keeps it) and insert id, the
// three by which Cloud Logging itself knows an entry. Both entries of a long-running operation have the operation's.
func (d *Decoder) identify(e *entry) {
	id := append(d.line[:0], e.logName...)
	switch {
	case len(e.operationID) > 0 && (e.first || e.last):
		id = append(append(append(append(id, "/operation/"...), e.producer...), '/'), e.operationID...)
	case len(e.insertID) > 0:
		id = append(id, '/')
		if !e.at.IsZero() {
			id = appendMicros(id, e.at)
		}
		id = append(append(id, '/'), e.insertID...)
	default:
		id = append(append(id, '/'), jsonrecord.Hash(d.whole(e))...)
	}
	d.line = id
	if len(id) > maxRecordID {
		e.id = jsonrecord.HashOf(id)
		return
	}
	e.id = jsonrecord.Text(id, maxRecordID)
}

// unknown keeps an entry that is no audit log.
func (d *Decoder) unknown(e *entry) *leastwisev1.Event {
	ev := d.event(e, indexUnknown, leastwisev1.Event_UNKNOWN)
	ev.Action = d.name(logOf(e.logName))
	if len(e.payloadType) > 0 {
		ev.Labels = map[string]string{}
		label(ev.Labels, "payload_type", e.payloadType)
	}
	return ev
}

// event starts an event of this record with what all of its events have in common.
func (d *Decoder) event(e *entry, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	return d.spare.Event(System, d.opts.Instance, e.id, index, kind, e.at, e.rec)
}
