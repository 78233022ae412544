package certlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"unicode/utf8"

	ct "github.com/google/certificate-transparency-go"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// check holds the decoder to what it promises of any record.
func check(t *testing.T, used *Decoder, opts Options, text []byte) {
	t.Helper()
	rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
	events, err := NewDecoder(opts).Decode(nil, rec)
	if err != nil {
		var bad *source.Malformed
		if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
			t.Fatalf("error %v with %d events", err, len(events))
		}
		return
	}
	again, err := used.Decode(nil, rec)
	if err != nil || len(again) != len(events) || len(events) > 1 {
		t.Fatalf("%d and %d events, %v", len(events), len(again), err)
	}
	clear(rec.Bytes) // nothing may still point there
	for i, ev := range events {
		id := schemas.EventID(ev.Source, ev.Instance, ev.RecordId, ev.Index)
		if !bytes.Equal(ev.Id, id[:]) || !proto.Equal(ev, again[i]) {
			t.Fatalf("%v\n%v", ev, again[i])
		}
		if ev.Kind == leastwisev1.Event_ISSUED {
			if _, err := schemas.ParseKey(ev.Credential); err != nil {
				t.Fatal(err)
			}
		}
		if wire, err := proto.Marshal(ev); err != nil || len(wire) > 32<<10 {
			t.Fatalf("%d bytes, %v", len(wire), err)
		}
		if len(ev.Labels) > 24 {
			t.Fatalf("%d labels", len(ev.Labels))
		}
		for name, value := range ev.Labels {
			if len(value) > 256 || !utf8.ValidString(value) || bytes.IndexByte([]byte(value), 0) >= 0 {
				t.Fatalf("label %s: %q", name, value)
			}
		}
	}
	Recognise(text)
}

// sampleLines are the records of the sample: fuzzing needs the same ones in every process.
func sampleLines(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

var everything = Options{All: true, TrustDomains: []string{"example.org"}}

func FuzzDecode(f *testing.F) {
	for _, line := range sampleLines(f) {
		f.Add(line)
	}
	f.Add((&Alarm{Kind: AlarmGap, Head: Head{Size: 1, Root: []byte("x")}}).record(someLog, testBegin))
	used := NewDecoder(everything)
	f.Fuzz(func(t *testing.T, text []byte) { check(t, used, everything, text) })
}

// FuzzLeaf reaches the certificates, which base64 hides from FuzzDecode.
func FuzzLeaf(f *testing.F) {
	for _, line := range sampleLines(f) {
		var e ct.LeafEntry
		if err := json.Unmarshal(line, &e); err != nil {
			f.Fatal(err)
		}
		f.Add(e.LeafInput, e.ExtraData)
	}
	used := NewDecoder(everything)
	f.Fuzz(func(t *testing.T, leaf, extra []byte) { check(t, used, everything, wrapped(t, leaf, extra)) })
}
