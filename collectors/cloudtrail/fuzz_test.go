package cloudtrail

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// check says what holds of every event, whatever the record.
func check(t testing.TB, text []byte, events []*leastwisev1.Event) {
	t.Helper()
	for _, ev := range events {
		wire, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if len(wire) > 32<<10 {
			t.Fatalf("an event of %d bytes", len(wire))
		}
		for _, field := range []string{ev.Credential, ev.Principal, ev.Actor, ev.Parent, ev.Action, ev.Permission, ev.Resource, ev.Error, ev.RemoteAddress, ev.RecordId} {
			if !utf8.ValidString(field) || strings.IndexByte(field, 0) >= 0 || len(field) > 1024 {
				t.Fatalf("field %q of %.200q", field, text)
			}
		}
		if len(ev.Labels) > 24 {
			t.Fatalf("%d labels", len(ev.Labels))
		}
		for name, value := range ev.Labels {
			if len(value) > 256 || !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
				t.Fatalf("label %s=%q", name, value)
			}
		}
		if len(ev.Id) != 16 || ev.Source != System || ev.RecordId == "" {
			t.Fatalf("event %v", ev)
		}
	}
}

func FuzzDecode(f *testing.F) {
	reader := Records(bytes.NewReader(readTestdata(f, "trail.json")), 0)
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(line.Bytes))
	}
	f.Add([]byte(`{"eventJson":"{\"eventName\":\"x\",\"eventSource\":\"y\",\"eventTime\":\"2026-10-02T09:00:00Z\"}"}`))
	warm := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		rec := source.Record{Bytes: text, Position: "f:0"}
		events, err := NewDecoder(Options{}).Decode(nil, rec)
		var bad *source.Malformed
		if err != nil && (!errors.As(err, &bad) || len(events) > 0) {
			t.Fatalf("%d events, %v", len(events), err)
		}
		check(t, text, events)
		if !bytes.Equal(before, text) {
			t.Fatal("the record was changed")
		}
		again, err2 := warm.Decode(nil, rec) // what was decoded before changes nothing
		if (err == nil) != (err2 == nil) || len(again) != len(events) {
			t.Fatalf("%d and %d events, %v and %v", len(events), len(again), err, err2)
		}
		for i := range events {
			if events[i].String() != again[i].String() {
				t.Fatalf("%v\n%v", events[i], again[i])
			}
		}
		_ = Recognise(text)
	})
}
