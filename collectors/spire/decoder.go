package spire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// System is the first part of every key and the source of every event of this package.
const System = "spire"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexCall      = 0
	indexJWT       = 1 // of the audit line
	indexSigned    = 2 // of a debug line
	indexRefused   = 3
	indexReason    = 4
	indexAuthority = 5
	indexUnknown   = 15
)

// Options of a Decoder. The zero value reads a log as SPIRE writes it.
type Options struct {
	// Instance names this SPIRE server, or its cluster, in keys; "default" if empty.
	Instance string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
}

// Decoder turns log lines into events. It is not safe for concurrent use. Its memory is bounded, and what it remembers
// (texts and labels that come again) changes no event. Events may share a map of labels: it must not be changed.
type Decoder struct {
	opts   Options
	shapes *jsonrecord.Shapes[entry]
	entry  entry
	walk   jsonrecord.Walk
	again  jsonrecord.Walk // for a second look: the fields point into the first one's memory
	names  map[string]string
	ids    map[string]identity
	calls  map[string]call
	same   map[string]told // by what it was made of
	// pending are the labels of the event being made.
	pending []byte
	scratch []byte
	spare   jsonrecord.Spare
	// Prefixes of keys.
	x509, jwt, identity string
}

// identity is a SPIFFE ID that was seen before, and its key.
type identity struct{ id, key string }

// NewDecoder returns a decoder for the log of one server.
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
	d := &Decoder{opts: opts, names: map[string]string{}, ids: map[string]identity{}, calls: newCalls(), same: map[string]told{},
		x509: prefix("x509_svid"), jwt: prefix("jwt_svid"), identity: prefix("spiffe_id")}
	d.shapes = jsonrecord.NewShapes(&d.entry, d.entry.texts()...)
	return d
}

// Records splits a log: a record is a line.
func Records(r io.Reader, max int) source.Reader { return source.NewLines(r, max) }

// Recognise tells a line of a SPIRE server's log. Lines that the server shares with other programs are not recognised,
// but a log has others near its beginning.
func Recognise(record []byte) bool {
	if len(record) > source.DefaultMaxLine || !bytes.Contains(record, []byte("subsystem_name")) &&
		!bytes.Contains(record, []byte("launch_log_level")) {
		return false
	}
	var w jsonrecord.Walk
	var e entry
	how, prefix, text := split(record)
	bad := e.read(&w, how, prefix, text)
	return bad == nil && len(e.msg) > 0 && len(e.level) > 0 && (serverSubsystems[string(e.subsystem)] || len(e.launchLevel) > 0)
}

// serverSubsystems are those of the server that an agent has not: an agent's log looks alike.
var serverSubsystems = map[string]bool{"api": true, "ca_manager": true, "svid_rotator": true, "sql": true, "ca": true,
	"bundle_client": true, "endpoints": true, "catalog": true, "health": true, "registration_manager": true, "node_manager": true}

// read reads the fields of a line that was split.
func (e *entry) read(w *jsonrecord.Walk, how form, prefix, text []byte) *source.Malformed {
	e.how = how
	switch how {
	case formJSON:
		if !e.readJSON(w, text) {
			return unparsed(text)
		}
	case formText:
		if bad := e.readPairs(text); bad != nil {
			return bad
		}
	case formConsole:
		if bad := e.readConsole(text, prefix); bad != nil {
			return bad
		}
	default:
		return unparsed(text)
	}
	if len(e.level) == 0 {
		return jsonrecord.Malformed("the record has no level: it is not a line of a SPIRE server's log")
	}
	return nil
}

// read reads a line, and finds what it tells.
func (d *Decoder) read(e *entry, line []byte) *source.Malformed {
	how, prefix, text := split(line)
	if how == formJSON && len(line) <= d.opts.MaxBytes && d.shapes.Read(text) {
		return jsonrecord.Refuse(prefix, 0)
	}
	if bad := jsonrecord.Refuse(line, d.opts.MaxBytes); bad != nil {
		return bad
	}
	var bad *source.Malformed
	again := func(w *jsonrecord.Walk) bool {
		*e = entry{}
		if bad = e.read(w, how, prefix, text); bad != nil {
			return false
		}
		if e.what = tells(&e.fields); e.what != tellsNothing {
			e.call = d.call(&e.fields)
		}
		return true
	}
	if again(&d.walk) && how == formJSON {
		d.shapes.Learn(text, again)
	}
	return bad
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	e := &d.entry
	if bad := d.read(e, rec.Bytes); bad != nil {
		return dst, bad
	}
	if e.what == tellsNothing {
		return dst, nil // a line of the server's daily life
	}
	e.rec = rec
	d.pending = d.pending[:0]
	d.spare.Lend(dst)
	var err error
	if e.at, err = parseTime(e.time); err != nil && e.how != formConsole {
		return dst, jsonrecord.Malformed("the record has no time that can be read")
	}
	switch e.what {
	case tellsCall:
		dst = append(dst, d.audited(e))
	case tellsSigned:
		dst = append(dst, d.signed(e))
	case tellsRefusal:
		dst = append(dst, d.refused(e))
	case tellsReason:
		dst = append(dst, d.reason(e))
	case tellsAuthority:
		dst = append(dst, d.authority(e))
	}
	return dst, nil
}

// entry is a line that tells something.
type entry struct {
	fields
	rec  source.Record
	how  form
	at   time.Time
	what tale
	call
}

// tale is what is to be made of a line.
type tale uint8

const (
	tellsNothing tale = iota
	tellsCall
	tellsSigned
	tellsRefusal
	tellsReason
	tellsAuthority
)

// tells says what is to be made of a line. In text a line that was cut off may look whole: what is asked for here stands
// behind what events are made of.
func tells(f *fields) tale {
	switch {
	case string(f.kind) == "audit":
		return tellsCall
	case string(f.subsystem) == "api":
		switch string(f.msg) {
		case "Signed X509 SVID", "Signed X509 CA SVID", "Server CA successfully signed JWT SVID":
			return tellsSigned
		case "Failed to authenticate caller":
			return tellsRefusal
		}
		if refusals[string(f.msg)] != "" {
			return tellsReason
		}
	case string(f.subsystem) == "svid_rotator" && string(f.msg) == "Signed X509 SVID":
		return tellsSigned
	case string(f.subsystem) == "ca_manager":
		switch string(f.msg) {
		case "X509 CA prepared", "X509 CA activated", "JWT key prepared", "JWT key activated",
			"X.509 authority tainted", "X.509 authority revoked":
			return tellsAuthority
		}
	}
	return tellsNothing
}

// unparsed tells what is wrong with a text. The parser's own message quotes the text: it is not used.
func unparsed(text []byte) *source.Malformed {
	if bad := jsonrecord.TooDeep(text); bad != nil {
		return bad
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return jsonrecord.Malformed("the record is empty")
	case trimmed[0] != '{':
		return errPair
	case trimmed[len(trimmed)-1] != '}':
		return &source.Malformed{Reason: source.ReasonTruncated, Detail: "the record is cut off"}
	}
	return jsonrecord.Malformed("the record is not JSON")
}

// event starts an event of this record with what all have in common.
func (d *Decoder) event(e *entry, recordID string, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	ev := d.spare.Event(System, d.opts.Instance, recordID, index, kind, e.at, e.rec)
	if e.at.IsZero() {
		ev.Flag = leastwisev1.Event_STALE
	}
	ev.Action, ev.Permission = e.action, e.permission
	ev.RemoteAddress = d.name(e.callerAddr)
	return ev
}

// issued starts an event of a credential that lives until expires, if that is known.
func (d *Decoder) issued(e *entry, recordID string, index uint32, expires time.Time) *leastwisev1.Event {
	ev := d.event(e, recordID, index, leastwisev1.Event_ISSUED)
	d.spare.Issued(ev, expires)
	return ev
}

// itemID is the record id of an audit line: the call's, and what tells the items of a batch from each other: the entry,
// the CSR, or a hash of the rest. A line without a request id is named by its content.
func (d *Decoder) itemID(e *entry) string {
	if !cleanID(e.requestID) {
		return d.contentID(e)
	}
	b := append(d.scratch[:0], e.requestID...)
	if cleanID(e.entryID) {
		b = append(append(b, '/'), e.entryID...)
	}
	if len(e.csr) >= 32 && cleanID(e.csr) {
		b = append(append(b, '/'), e.csr[:32]...)
	} else if len(e.spiffeID)+len(e.parentID)+len(e.selectors)+len(e.trustDomain)+len(e.x509TTL) > 0 {
		h := uint64(14695981039346656037) // FNV-1a; it need not resist anybody: a server names its own calls
		for _, part := range [...][]byte{e.status, e.spiffeID, e.parentID, e.selectors, e.trustDomain, e.x509TTL, e.jwtTTL, e.hint} {
			for _, c := range part {
				h = (h ^ uint64(c)) * 1099511628211
			}
			h = (h ^ 0xff) * 1099511628211
		}
		b = hex.AppendEncode(append(b, '/'), binary.BigEndian.AppendUint64(nil, h))
	}
	d.scratch = b
	return string(b)
}

// callID is the record id of a line that a call writes once.
func (d *Decoder) callID(e *entry) string {
	if cleanID(e.requestID) {
		return string(e.requestID)
	}
	return d.contentID(e)
}

// cleanID is an id that can stand in a key as it is.
func cleanID(text []byte) bool {
	if len(text) == 0 || len(text) > 128 {
		return false
	}
	for _, c := range text {
		if c <= ' ' || c >= 0x7f || c == '"' {
			return false
		}
	}
	return true
}
