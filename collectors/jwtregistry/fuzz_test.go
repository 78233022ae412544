package jwtregistry

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode holds the decoder to what it promises of any record: no panic, no secret, bounded events with valid ids and
// keys, the same again from a decoder that has seen others.
func FuzzDecode(f *testing.F) {
	signed, _ := signedLog(f)
	for _, line := range bytes.Split(append(append(sample(f, "registry.jsonl"), sample(f, "keycloak.jsonl")...), signed...), []byte("\n")) {
		f.Add(line)
	}
	keys := keysOf(f, newSigner("good"))
	used := NewDecoder(Options{Keys: keys})
	f.Fuzz(func(t *testing.T, text []byte) {
		Recognise(text)
		rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
		events, err := NewDecoder(Options{Keys: keys}).Decode(nil, rec)
		if err != nil {
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
				t.Fatalf("error %v with %d events", err, len(events))
			}
			return
		}
		if len(events) == 0 || len(events) > 6 {
			t.Fatalf("%d events of one record", len(events))
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
			for _, key := range []string{ev.Credential, ev.Principal, ev.Parent, ev.Child} {
				if key == "" {
					continue
				}
				if _, err := schemas.ParseKey(key); err != nil || len(key) > 1024 {
					t.Fatalf("key %q: %v", key, err)
				}
			}
			wire, err := proto.Marshal(ev)
			if err != nil || len(wire) > 64<<10 {
				t.Fatalf("%d bytes, %v", len(wire), err)
			}
			for _, said := range append(append(slices.Collect(maps.Values(ev.Labels)), ev.Policies...), ev.Action, ev.Error, ev.Permission, ev.Resource, ev.RecordId) {
				if jsonrecord.Secret([]byte(said)) {
					t.Fatalf("a secret in %v", ev)
				}
			}
			for _, other := range events[:i] {
				if bytes.Equal(other.Id, ev.Id) {
					t.Fatalf("one id twice: %v", ev)
				}
			}
		}
	})
}
