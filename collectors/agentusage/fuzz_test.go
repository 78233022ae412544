package agentusage

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode holds the decoder to what it promises of any record: no panic, no secret, bounded events of kind NOTED or
// UNKNOWN with valid ids and keys, and the same again.
func FuzzDecode(f *testing.F) {
	for _, line := range bytes.Split(append(sample(f, "usage.jsonl"), sample(f, "bedrock.ndjson")...), []byte("\n")) {
		f.Add(line)
	}
	mapping := testMapping(f)
	used := NewDecoder(Options{Mapping: mapping})
	f.Fuzz(func(t *testing.T, text []byte) {
		Recognise(text)
		rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
		events, err := NewDecoder(Options{Mapping: mapping}).Decode(nil, rec)
		if err != nil {
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
				t.Fatalf("error %v with %d events", err, len(events))
			}
			return
		}
		again, err := used.Decode(nil, rec)
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d and %d events, %v", len(events), len(again), err)
		}
		clear(rec.Bytes) // nothing may still point there
		for i, ev := range events {
			id := schemas.EventID(ev.Source, ev.Instance, ev.RecordId, ev.Index)
			if !bytes.Equal(ev.Id, id[:]) || !proto.Equal(ev, again[i]) {
				t.Fatalf("not the same again:\n%v\n%v", ev, again[i])
			}
			if ev.Kind != leastwisev1.Event_NOTED && ev.Kind != leastwisev1.Event_UNKNOWN {
				t.Fatalf("kind of %v", ev)
			}
			if ev.Credential != "" {
				if _, err := schemas.ParseKey(ev.Credential); err != nil {
					t.Fatal(err)
				}
			}
			wire, err := proto.Marshal(ev)
			if err != nil || len(wire) > 16<<10 {
				t.Fatalf("%d bytes, %v", len(wire), err)
			}
			for _, said := range append(slices.Collect(maps.Values(ev.Labels)), ev.Action, ev.Resource, ev.Permission, ev.Error, ev.Credential, ev.RecordId) {
				if jsonrecord.Secret([]byte(said)) {
					t.Fatalf("a secret in %v", ev)
				}
			}
			if len(ev.Labels) > 24 || !utf8.ValidString(ev.Resource) || strings.ContainsRune(ev.Resource, 0) {
				t.Fatalf("event %v", ev)
			}
		}
	})
}
