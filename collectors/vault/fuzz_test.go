package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode holds the decoder to what it promises of any line: no panic, no text of a secret place, bounded events with
// valid ids and keys, the same again from a fresh decoder and from one that has seen other lines.
func FuzzDecode(f *testing.F) {
	for _, line := range recordedLines(f)[:60] {
		f.Add(line)
	}
	f.Add([]byte(line{path: "auth/token/revoke", data: `{"token":"hvs.CANARY"}`}.String()))
	f.Add([]byte(line{path: "auth/token/lookup/hvs.CANARY"}.String()))
	f.Add([]byte(`{"type":"kmip-request","time":"x"}`))
	used := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, text []byte) {
		rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
		events, err := NewDecoder(Options{}).Decode(nil, rec)
		if err != nil {
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
				t.Fatalf("error %v with %d events", err, len(events))
			}
			return
		}
		if len(events) > 12 {
			t.Fatalf("%d events of one record", len(events))
		}
		again, err := used.Decode(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		clear(rec.Bytes) // nothing may still point there
		for i, ev := range events {
			id := schemas.EventID(ev.Source, ev.Instance, ev.RecordId, ev.Index)
			if !bytes.Equal(ev.Id, id[:]) {
				t.Fatalf("id of %v", ev)
			}
			if ev.Credential != "" {
				if _, err := schemas.ParseKey(ev.Credential); err != nil {
					t.Fatal(err)
				}
			}
			wire, err := proto.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			if len(wire) > 128<<10 {
				t.Fatalf("an event of %d bytes", len(wire))
			}
			if strings.Contains(string(wire), "hvs.") {
				t.Fatalf("a token in %v", ev)
			}
			if !utf8.ValidString(ev.Resource) || strings.ContainsRune(ev.Resource, 0) {
				t.Fatalf("resource %q", ev.Resource)
			}
			if ev.Index != indexRevoked && !proto.Equal(ev, find(again, ev.Id)) { // a revocation may know its target by now
				t.Fatalf("a used decoder gives\n%v\na fresh one\n%v", find(again, ev.Id), ev)
			}
			for _, other := range events[:i] {
				if bytes.Equal(other.Id, ev.Id) && other.Index != indexRevoked {
					t.Fatalf("one id twice: %v", ev)
				}
			}
		}
	})
}

func find(events []*leastwisev1.Event, id []byte) *leastwisev1.Event {
	for _, ev := range events {
		if bytes.Equal(ev.Id, id) {
			return ev
		}
	}
	return nil
}

func FuzzParsePolicy(f *testing.F) {
	for _, text := range []string{`path "a/*" { capabilities = ["read"] }`, `path "b" { policy = "write" }`, `{"path":{"c":{"capabilities":["deny"]}}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, _, err := ParsePolicy(text)
		if err != nil && strings.Contains(err.Error(), "QZX7") {
			t.Fatalf("the policy's text in %v", err)
		}
		for _, rule := range rules {
			if strings.HasPrefix(rule.Resource, "//") == false && strings.HasPrefix(rule.Resource, "/") {
				t.Fatalf("resource %q", rule.Resource)
			}
		}
	})
}
