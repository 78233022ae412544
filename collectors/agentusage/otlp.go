package agentusage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// otlp reads an export in OTLP's JSON form, as the OpenTelemetry collector's file exporter writes it: one event for every
// span and log record that tells of an agent's use. Spans of what goes on inside a process tell nothing and give none;
// an export that tells nothing at all is kept as unknown.
func (d *Decoder) otlp(dst []*leastwisev1.Event, root *fastjson.Value, rec source.Record) ([]*leastwisev1.Event, error) {
	before := len(dst)
	eachJSON(root, func(u usage) { dst = append(dst, d.event(&u, rec)) })
	if len(dst) == before {
		return append(dst, d.unknown(root, rec, []byte("otlp"))), nil
	}
	return dst, nil
}

// eachJSON gives what spans and log records of an export tell of agents' use.
func eachJSON(root *fastjson.Value, give func(usage)) {
	for _, group := range root.GetArray("resourceSpans") {
		var resource attributes
		resource.json(group.Get("resource", "attributes"), true)
		for _, scope := range group.GetArray("scopeSpans") {
			for _, span := range scope.GetArray("spans") {
				if u, ok := jsonSpan(span, resource); ok {
					give(u)
				}
			}
		}
	}
	for _, group := range root.GetArray("resourceLogs") {
		var resource attributes
		resource.json(group.Get("resource", "attributes"), true)
		for _, scope := range group.GetArray("scopeLogs") {
			for _, log := range scope.GetArray("logRecords") {
				if u, ok := jsonLog(log, resource); ok {
					give(u)
				}
			}
		}
	}
}

// jsonSpan reads a span; false if it tells nothing of an agent's use.
func jsonSpan(span *fastjson.Value, a attributes) (usage, bool) {
	a.json(span.Get("attributes"), false)
	code := span.Get("status", "code")
	failed := code.GetInt() == 2 || string(code.GetStringBytes()) == "STATUS_CODE_ERROR"
	end := nanos(span.Get("endTimeUnixNano"))
	u := a.usage("otlp_span", failed, end > 0)
	u.at = stamp(nanos(span.Get("startTimeUnixNano")))
	trace := idText(span.GetStringBytes("traceId"))
	u.traced(trace)
	u.id = spanID(trace, idText(span.GetStringBytes("spanId")), &u)
	return u, a.tells() && !u.at.IsZero()
}

// jsonLog reads a log record; its body is not looked at.
func jsonLog(log *fastjson.Value, a attributes) (usage, bool) {
	a.json(log.Get("attributes"), false)
	u := a.usage("otlp_log", false, false)
	if u.at = stamp(nanos(log.Get("timeUnixNano"))); u.at.IsZero() {
		u.at = stamp(nanos(log.Get("observedTimeUnixNano")))
	}
	trace := idText(log.GetStringBytes("traceId"))
	u.traced(trace)
	u.id = logID(trace, idText(log.GetStringBytes("spanId")), log.GetStringBytes("eventName"), &u)
	return u, a.tells() && !u.at.IsZero()
}

// idText is a trace's or span's id in lower case; nil for none, and for one of zeros, which is invalid.
func idText(id []byte) []byte {
	if len(bytes.Trim(id, "0")) == 0 {
		return nil
	}
	return bytes.ToLower(id)
}

// traced adds the trace's id.
func (u *usage) traced(trace []byte) {
	if len(trace) > 0 {
		u.labels = append(u.labels, fact{"trace_id", trace})
	}
}

// nanos is a number of 64 bits, which OTLP's JSON form writes as a text.
func nanos(v *fastjson.Value) uint64 {
	if v == nil {
		return 0
	}
	text := v.GetStringBytes()
	if text == nil {
		text = v.MarshalTo(nil)
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// spanID is the id of a span's record: trace and span ids name it everywhere. Without them it is made of its content.
func spanID(trace, span []byte, u *usage) string {
	if len(trace) == 0 || len(span) == 0 {
		return u.content("span")
	}
	return jsonrecord.ID([]byte("span:" + string(trace) + ":" + string(span)))
}

// logID is made of what is kept of a log record: it has no id of its own.
func logID(trace, span, event []byte, u *usage) string {
	return u.content("log", trace, span, event)
}

// content is the hash of all that is kept.
func (u *usage) content(form string, parts ...[]byte) string {
	h := sha256.New()
	write := func(text []byte) {
		h.Write(strconv.AppendInt(nil, int64(len(text)), 10))
		h.Write([]byte{':'})
		h.Write(text)
	}
	for _, part := range parts {
		write(part)
	}
	for _, part := range [...][]byte{strconv.AppendInt(nil, u.at.UnixNano(), 10), u.agent, u.kind, u.credential, u.action,
		u.permission, u.resource, []byte(u.outcome), u.failure} {
		write(part)
	}
	return form + ":" + hex.EncodeToString(h.Sum(nil))
}
