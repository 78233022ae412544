package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// System is the first part of every key and the source of every event of this package.
const System = "vault"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexCall            = 0
	indexToken           = 1 // of response.auth or wrap_info.wrapped_accessor
	indexTokenLink       = 2
	indexLease           = 3
	indexLeaseLink       = 4
	indexCertificate     = 5
	indexCertificateLink = 6
	indexWrapping        = 7
	indexRevoked         = 8
	indexLookup          = 9
	indexSpent           = 10
	indexUnknown         = 15
)

// Options of a Decoder. The zero value reads a log as Vault writes it by default.
type Options struct {
	// Instance names this Vault in keys; "default" if empty.
	Instance string
	// Prefix is the `prefix` option of the audit device; up to 128 bytes.
	Prefix string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
	// Pairing leaves out event 0 of a response line whose request line was decoded shortly before.
	Pairing bool
	// RoleOrphan tells whether tokens of a token role are orphans. Nil: not known.
	RoleOrphan func(role string) (orphan, known bool)
	// Resolve gives the clear value of a hash of this device: of an accessor, where the device logs accessors in clear,
	// of a lease id, of a serial. Nil: none is known.
	Resolve func(hash string) (clear string, ok bool)
}

// Decoder turns audit records into events. It is not safe for concurrent use. Its memory is bounded.
type Decoder struct {
	opts    Options
	walk    jsonrecord.Walk
	parsers [parts]fastjson.Parser
	calls   generations[callFacts]
	grants  generations[[]string]
	tokens  *tokenNames
	recent  recentIDs
	spare   jsonrecord.Spare
	life    *leastwisev1.Lifetime // of an event that the caller lets go of; nil if there is none, or it was given out again
	// scratch is for building strings that are then interned; only inside one Decode.
	scratch  []byte
	prefixes [4]string
	entry    entry
}

// NewDecoder returns a decoder for one audit device.
func NewDecoder(opts Options) *Decoder {
	if opts.Instance == "" {
		opts.Instance = "default"
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = source.DefaultMaxLine
	}
	opts.Prefix = opts.Prefix[:min(len(opts.Prefix), 128)]
	return &Decoder{opts: opts, tokens: newTokenNames(), recent: recentIDs{seed: maphash.MakeSeed()},
		calls: newGenerations[callFacts](2048), grants: newGenerations[[]string](2048), prefixes: keyPrefixes(opts.Instance)}
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	text := rec.Bytes
	if d.opts.Prefix != "" {
		text = bytes.TrimPrefix(text, []byte(d.opts.Prefix))
	}
	if bad := jsonrecord.Refuse(text, d.opts.MaxBytes); bad != nil {
		return dst, bad
	}
	d.life = nil
	if free := dst[len(dst):cap(dst)]; len(free) > 0 && free[0] != nil {
		d.life = free[0].Lifetime // of the one that is used again first
	}
	d.spare.Lend(dst)
	e := &d.entry
	*e = entry{rec: rec}
	if !e.read(&d.walk, text) {
		return dst, notObject(text)
	}
	if len(e.kind) == 0 {
		return dst, jsonrecord.Malformed("the record has no type")
	}
	e.response = string(e.kind) == "response"
	known := e.response || string(e.kind) == "request"
	var err error
	if e.at, err = parseTime(e.time); err != nil && known {
		return dst, jsonrecord.Malformed("the record has no time that can be read; omit_time must not be set on the audit device")
	}
	if known && !e.request.known {
		return dst, jsonrecord.Malformed("the record has no request")
	}
	if !e.response {
		e.reply = reply{}
	}
	e.failure = classify(e.err)
	if e.response && d.nothingNew(e) {
		return dst, nil
	}
	e.id = d.recordID(e, text)
	if !known {
		return append(dst, d.unknown(e)), nil
	}
	d.know(e)
	return d.events(dst, e), nil
}

// nothingNew is whether this is the response to a call whose request line has told all: the usual one. Paths that take
// credentials away, and answers that give some, are left to the full reading.
func (d *Decoder) nothingNew(e *entry) bool {
	return d.opts.Pairing && e.failure == failedNot && !e.reply.auth.known && !e.reply.wrap.known && !e.reply.secret &&
		e.auth.remaining == nil && d.recent.plain(e.request.id)
}

// plainCall is a call that neither gives nor takes a credential, if its answer holds none.
func (e *entry) plainCall() bool {
	return len(e.request.namespace) == 0 && string(e.request.mountType) != "pki" &&
		!strings.HasPrefix(e.path, "auth/") && !strings.HasPrefix(e.path, "sys/")
}

// notObject tells what is wrong with a text that was not read as an object. The parser's own message quotes the text: it
// is not used.
func notObject(text []byte) *source.Malformed {
	var parser fastjson.Parser
	if _, err := parser.ParseBytes(text); err == nil {
		return jsonrecord.Malformed("the record is JSON, but not an object")
	}
	if bad := jsonrecord.TooDeep(text); bad != nil {
		return bad
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return jsonrecord.Malformed("the record is empty")
	case trimmed[0] == '<':
		return jsonrecord.Malformed("the record looks like XML; set format=json on the audit device, jsonx is not read")
	case trimmed[0] != '{':
		return jsonrecord.Malformed("the record does not begin with {; if the audit device has a prefix, configure it here too")
	case trimmed[len(trimmed)-1] != '}':
		return &source.Malformed{Reason: source.ReasonTruncated, Detail: "the record is cut off"}
	}
	return jsonrecord.Malformed("the record is not JSON")
}

// recordID is request.id. Some help entries have none; then it is a hash of the line, and only the request line counts.
func (d *Decoder) recordID(e *entry, text []byte) string {
	if id := e.request.id; len(id) > 0 && len(id) <= 128 {
		return cleanText(id, 128)
	} else if len(id) > 128 {
		sum := sha256.Sum256(id)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	e.unpaired = true
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (d *Decoder) unknown(e *entry) *leastwisev1.Event {
	ev := d.event(e, indexUnknown, leastwisev1.Event_UNKNOWN)
	ev.Action = cleanText(e.kind, 64)
	return ev
}

// event starts an event of this record with what all of its events have in common.
func (d *Decoder) event(e *entry, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	return d.spare.Event(System, d.opts.Instance, e.id, index, kind, e.at, e.rec)
}

// keyKind is a type of credential or identity, as it stands in keys.
type keyKind int

const (
	keyToken keyKind = iota
	keyLease
	keyCertificate
	keyEntity
)

func keyPrefixes(instance string) (prefixes [4]string) {
	for kind, name := range [...]string{"token", "lease", "certificate", "entity"} {
		prefixes[kind] = schemas.Key{System: System, Instance: instance, Type: name}.String()
	}
	return prefixes
}

// keyOf is the key of an id as the record has it.
func (d *Decoder) keyOf(kind keyKind, id []byte) string {
	if len(id) == 0 {
		return ""
	}
	d.scratch = append(append(d.scratch[:0], d.prefixes[kind]...), bounded(id, maxID)...)
	return string(d.scratch)
}

// key of a credential or identity; empty if there is no id.
func (d *Decoder) key(kind keyKind, id string) string {
	if id == "" {
		return ""
	}
	return d.prefixes[kind] + id
}
