package spire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode holds the decoder to what it promises of any line: no panic, bounded events with valid ids and keys, the
// same again from a fresh decoder and from one that has seen other lines, and nothing kept of the line's memory.
func FuzzDecode(f *testing.F) {
	for _, form := range []string{"json", "text"} {
		log, _ := recording(f, form)
		for line := range bytes.Lines(log) {
			if bytes.Contains(line, []byte("subsystem_name")) && bytes.Contains(line, []byte("api")) {
				f.Add(bytes.TrimSpace(line))
			}
		}
	}
	for _, line := range planted {
		f.Add([]byte(line))
	}
	f.Add([]byte("\x1b[37mDEBU\x1b[0m[0061] Signed X509 SVID                             \x1b[37mserial_num\x1b[0m=12 \x1b[37msubsystem_name\x1b[0m=api"))
	f.Add([]byte("Nov 21 06:27:18 host spire-server[812]: INFO[0000] API accessed                                 type=audit"))
	used := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, text []byte) {
		rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
		Recognise(rec.Bytes)
		sameAsTheParser(t, rec.Bytes)
		events, err := NewDecoder(Options{}).Decode(nil, rec)
		if err != nil {
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
				t.Fatalf("error %v with %d events", err, len(events))
			}
			return
		}
		if len(events) > 1 {
			t.Fatalf("%d events of one record", len(events))
		}
		again, err := used.Decode(nil, rec)
		if err != nil || len(again) != len(events) {
			t.Fatal(again, err)
		}
		clear(rec.Bytes) // nothing may still point there
		for i, ev := range events {
			id := schemas.EventID(ev.Source, ev.Instance, ev.RecordId, ev.Index)
			if !bytes.Equal(ev.Id, id[:]) || !proto.Equal(ev, again[i]) {
				t.Fatalf("%v and again %v", ev, again[i])
			}
			for _, key := range []string{ev.Credential, ev.Principal} {
				if key == "" {
					continue
				}
				if _, err := schemas.ParseKey(key); err != nil || !utf8.ValidString(key) {
					t.Fatalf("key %q: %v", key, err)
				}
			}
			if ev.OccurredAt == nil && ev.Flag != leastwisev1.Event_STALE {
				t.Fatalf("no time and no flag: %v", ev)
			}
			wire, err := proto.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			if len(wire) > 16<<10 || len(ev.Labels) > 24 {
				t.Fatalf("an event of %d bytes, %d labels", len(wire), len(ev.Labels))
			}
		}
	})
}

// sameAsTheParser: what is read of a line in JSON is what fastjson's parser reads, and the same lines are none.
func sameAsTheParser(t *testing.T, text []byte) {
	how, _, record := split(text)
	if how != formJSON || jsonrecord.Refuse(record, 0) != nil {
		return
	}
	var got, want fields
	var w jsonrecord.Walk
	read := got.readJSON(&w, record)
	root, err := fastjson.ParseBytes(record)
	if read != (err == nil) {
		t.Fatalf("%q is read: %v; the parser says %v", record, read, err)
	}
	if err != nil {
		return
	}
	root.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		place := want.slotOf(key)
		if place == nil {
			return
		}
		switch v.Type() {
		case fastjson.TypeString:
			*place = v.GetStringBytes()
		case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
			*place = v.MarshalTo(nil)
		}
	})
	var again fields
	shapes := jsonrecord.NewShapes(&again, again.texts()...)
	shapes.Learn(record, func(w *jsonrecord.Walk) bool { return again.readJSON(w, record) })
	if shapes.Read(record) && !reflect.DeepEqual(texts(&again), texts(&want)) {
		t.Fatalf("%q\nof its shape %q\nparser       %q", record, texts(&again), texts(&want))
	}
	if !reflect.DeepEqual(texts(&got), texts(&want)) {
		t.Fatalf("%q\nread   %q\nparser %q", record, texts(&got), texts(&want))
	}
}

// texts are the fields that have any text.
func texts(f *fields) map[string]string {
	out := map[string]string{}
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		if text := v.Field(i).Bytes(); len(text) > 0 {
			out[v.Type().Field(i).Name] = string(text)
		}
	}
	return out
}
