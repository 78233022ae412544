package certlog

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/google/certificate-transparency-go/x509"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/valyala/fastjson"
)

// System is the first part of every key and the source of every event of this package.
const System = "certlog"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexIssued  = 0
	indexAlarm   = 1
	indexUnknown = 15
)

// Options of a Decoder. The zero value makes events of certificates with SPIFFE IDs.
type Options struct {
	// Instance is the second part of keys; "default" if empty.
	Instance string
	// TrustDomains, Domains and All are as in Config. What Config would refuse is left out.
	TrustDomains, Domains []string
	All                   bool
	// Names of logs by their ids, for labels.
	Names map[string]string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
}

// Decoder turns log entries into events. A record is one entry of a get-entries answer, to which the collector adds where
// it stands in which log:
//
//	{"log":"LOG ID","index":7,"timestamp":1700000000000,"leaf_input":"base64","extra_data":"base64"}
//
// log, index, timestamp and extra_data may be missing. The record's id is LOG ID:INDEX, or the Merkle leaf hash where one
// of them is missing. The time is the leaf's.
//
// It is not safe for concurrent use.
type Decoder struct {
	opts   Options
	in     interest
	parser fastjson.Parser
	// Only inside one Decode.
	rec         record
	leaf, extra []byte
}

// NewDecoder returns a decoder for any number of logs.
func NewDecoder(opts Options) *Decoder {
	opts.Instance = cmp.Or(opts.Instance, "default")
	in := interest{trustDomains: map[string]bool{}, all: opts.All}
	for _, td := range opts.TrustDomains {
		if one, err := newInterest([]string{td}, nil, false); err == nil {
			for name := range one.trustDomains {
				in.trustDomains[name] = true
			}
		}
	}
	for _, domain := range opts.Domains {
		if one, err := newInterest(nil, []string{domain}, false); err == nil {
			in.domains = append(in.domains, one.domains...)
		}
	}
	return &Decoder{opts: opts, in: in}
}

// record are the fields of a record.
type record struct {
	log, index, leaf, extra, alarm *fastjson.Value
	facts                          alarmFields
}

func (r *record) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "log":
		r.log = v
	case "index":
		r.index = v
	case "leaf_input":
		r.leaf = v
	case "extra_data":
		r.extra = v
	case "alarm":
		r.alarm = v
	default:
		r.facts.field(key, v)
	}
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	root, err := jsonrecord.Parse(&d.parser, rec.Bytes, d.opts.MaxBytes)
	if err != nil {
		return dst, err
	}
	r := &d.rec
	*r = record{}
	root.GetObject().Visit(r.field)
	if r.alarm != nil && r.leaf == nil {
		return d.alarm(dst, rec)
	}
	if r.leaf == nil || r.leaf.Type() != fastjson.TypeString {
		return dst, jsonrecord.Malformed("the record has no leaf_input; a record is one entry of a get-entries answer")
	}
	if d.leaf, err = decodeBase64(d.leaf, r.leaf); err != nil {
		return dst, jsonrecord.Malformed("leaf_input is not base64")
	}
	id, bad := d.recordID()
	if bad != nil {
		return dst, bad
	}
	l, bad := parseLeaf(d.leaf)
	if bad != nil {
		return dst, bad
	}
	if !l.known() {
		ev := jsonrecord.Event(System, d.opts.Instance, id, indexUnknown, leastwisev1.Event_UNKNOWN, l.at, rec)
		ev.Action = "leaf_type_" + strconv.Itoa(int(l.leafType)) + "_entry_" + strconv.Itoa(int(l.entry))
		ev.Labels = map[string]string{}
		d.labelLog(ev.Labels)
		return append(dst, ev), nil
	}
	cert, bad := parseCertificate(&l)
	if bad != nil {
		return dst, bad
	}
	found := readNames(cert)
	trustDomain, spiffe, ours := found.trustDomains(&d.in)
	mine := ours || spiffe && len(d.in.trustDomains) == 0
	domains := d.ownDomains(found.dns)
	if !mine && len(domains) == 0 && !d.in.all {
		return dst, nil
	}
	if d.extra, err = decodeBase64(d.extra, r.extra); err != nil {
		d.extra = d.extra[:0] // the chain is not part of what a log signs: the certificate counts without it
	}
	ev := jsonrecord.Event(System, d.opts.Instance, id, indexIssued, leastwisev1.Event_ISSUED, l.at, rec)
	d.describe(ev, &l, cert, &found)
	if spiffe {
		label(ev.Labels, "trust_domain", trustDomain)
	}
	if ours {
		ev.Labels["own_trust_domain"] = "true"
	}
	if len(domains) > 0 {
		ev.Labels["own_domain"] = "true"
	}
	if ev.Principal == "" && !spiffe {
		if len(domains) == 0 {
			domains = slices.DeleteFunc(slices.Clone(found.dns), func(name string) bool { return !dnsLike(name) })
		}
		if len(domains) > 0 {
			ev.Principal = d.key("dns", slices.Min(domains))
		}
	}
	return append(dst, ev), nil
}

func decodeBase64(dst []byte, v *fastjson.Value) ([]byte, error) {
	text := v.GetStringBytes()
	dst = slices.Grow(dst[:0], base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(dst[:cap(dst)], text)
	return dst[:n], err
}

// recordID is LOG ID:INDEX, or the leaf hash: the log's own name of an entry, too.
func (d *Decoder) recordID() (string, *source.Malformed) {
	r := &d.rec
	if r.index != nil && r.index.Type() != fastjson.TypeNull {
		index, err := r.index.Uint64()
		if err != nil {
			return "", jsonrecord.Malformed("the index is not a number from 0 on")
		}
		if name := r.logID(); name != "" {
			return name + ":" + strconv.FormatUint(index, 10), nil
		}
	}
	return "leaf:" + hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(d.leaf)), nil
}

func (r *record) logID() string {
	text := r.log.GetStringBytes()
	if len(text) > jsonrecord.MaxID {
		return jsonrecord.HashOf(text)
	}
	return jsonrecord.Text(text, jsonrecord.MaxID)
}

func (d *Decoder) ownDomains(dns []string) (own []string) {
	for _, name := range dns {
		if d.in.domain(name) && dnsLike(name) {
			own = append(own, name)
		}
	}
	return own
}

// describe tells what a certificate is and for whom.
func (d *Decoder) describe(ev *leastwisev1.Event, l *leaf, cert *x509.Certificate, found *names) {
	by, proven := issuer(l, cert, d.extra)
	number := serial(cert.SerialNumber)
	ev.Credential = d.key("certificate", by+"-"+number)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.Action = "x509_entry"
	if l.entry == entryPrecert {
		ev.Action = "precert_entry"
	}
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: jsonrecord.Stamp(moment(cert.NotBefore)), ExpiresAt: jsonrecord.Stamp(moment(cert.NotAfter))}
	if cert.NotAfter.UTC().Format("2006-01-02T15:04:05Z") == neverUntil {
		ev.Lifetime.ExpiresAt, ev.Lifetime.NeverExpires = nil, true
	}
	ev.Labels = map[string]string{"serial_number": number, "entry": ev.Action}
	d.labelLog(ev.Labels)
	if cert.SerialNumber.BitLen() <= 256 {
		ev.Labels["serial_decimal"] = cert.SerialNumber.String()
	}
	label(ev.Labels, "issuer", cert.Issuer.String())
	if !proven {
		ev.Labels["issuer_key"] = "unproven"
	}
	if cert.BasicConstraintsValid && cert.IsCA {
		ev.Labels["ca"] = "true"
	}
	if len(found.dns) > 0 {
		label(ev.Labels, "dns_names", joined(found.dns))
		ev.Labels["dns_count"] = strconv.Itoa(len(found.dns))
	}
	if len(found.uris) == 0 {
		return
	}
	id, why := found.svid(cert)
	if why != "" {
		ev.Labels["not_svid"] = why
		ev.Labels["uri_count"] = strconv.Itoa(len(found.uris))
		return
	}
	label(ev.Labels, "spiffe_id", id.String())
	ev.Principal = d.key("spiffe_id", jsonrecord.Text([]byte(id.String()), maxSPIFFEID))
}

// maxSPIFFEID is the longest SPIFFE ID that implementations must take, SPIFFE-ID section 2.3.
const maxSPIFFEID = 2048

func (d *Decoder) labelLog(labels map[string]string) {
	name := d.rec.logID()
	label(labels, "log", cmp.Or(d.opts.Names[name], name))
}

func (d *Decoder) key(kind, id string) string {
	return schemas.Key{System: System, Instance: d.opts.Instance, Type: kind, ID: id}.String()
}

func label(labels map[string]string, name, value string) {
	if value = jsonrecord.Text([]byte(value), jsonrecord.MaxLabel); value != "" {
		labels[name] = value
	}
}

// joined are as many names as a label holds whole.
func joined(list []string) string {
	var out strings.Builder
	for _, name := range list {
		if out.Len()+1+len(name) > jsonrecord.MaxLabel-1 {
			break
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(name)
	}
	return out.String()
}
