// Package sourcetest is the contract that every source keeps, as a test suite: ids that never change, order and repeats
// that change nothing, malformed input that gets a reason, unknown kinds that are kept, no secret in anything that comes
// out, and, of a whole collector, nothing lost and nothing committed before it is published.
package sourcetest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Suite is one source and what is known of it.
type Suite struct {
	// System that its events must name.
	System    string
	Decoder   func() source.Decoder // a new one each time, with the instance "default"
	Records   func(r io.Reader, max int) source.Reader
	Recognise func(record []byte) bool
	// Log is a file of well-formed records, with Secrets in it.
	Log     []byte
	Secrets []string
	// Unknown is a well-formed record of a kind that this release does not know.
	Unknown []byte
	// Foreign are records of other sources.
	Foreign [][]byte
	// Golden is the file of Log's events, one JSON document a line. `go test -update` writes it anew.
	Golden string
	// Merge makes one of two readings of one event that differ. Nil: readings never differ.
	Merge func(a, b *leastwisev1.Event) *leastwisev1.Event
	// TextLines: a record cut off may still be a record.
	TextLines bool
}

var update = flag.Bool("update", false, "write golden files anew")

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	records := s.split(t, s.Log)
	if len(records) == 0 {
		t.Fatal("the log has no records")
	}
	want := s.events(t, records)
	t.Run("ids never change", func(t *testing.T) {
		if again := s.events(t, records); !same(want, again) {
			t.Error("a second decoder made other events of the same records")
		}
	})
	t.Run("events are well-formed", func(t *testing.T) { s.wellFormed(t, want) })
	t.Run("order changes nothing", func(t *testing.T) {
		random := rand.New(rand.NewPCG(7, 11))
		for range 20 {
			shuffled := slices.Clone(records)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := s.events(t, shuffled); !same(want, got) {
				t.Fatal("in another order: " + difference(want, got))
			}
		}
	})
	t.Run("repeats change nothing", func(t *testing.T) {
		if got := s.events(t, append(slices.Clone(records), records...)); !same(want, got) {
			t.Error("read twice: " + difference(want, got))
		}
	})
	t.Run("events that were let go of leave nothing behind", func(t *testing.T) { s.reused(t, append(slices.Clone(records), records...)) })
	t.Run("malformed input gets a reason", func(t *testing.T) { s.malformed(t, records) })
	t.Run("unknown kinds are kept", s.unknown)
	t.Run("no secret comes out", func(t *testing.T) { s.secrets(t, records) })
	t.Run("the source is recognised", func(t *testing.T) { s.recognised(t, records) })
	t.Run("a cut file loses one record", func(t *testing.T) { s.cut(t, records) })
	t.Run("golden", func(t *testing.T) { s.golden(t, want) })
}

// split gives the records of a file.
func (s *Suite) split(t *testing.T, file []byte) [][]byte {
	t.Helper()
	reader := s.Records(bytes.NewReader(file), 0)
	var records [][]byte
	for {
		line, err := reader.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("split: %v", err)
		}
		if line.Length > 0 && len(line.Bytes) > 0 {
			records = append(records, bytes.Clone(line.Bytes))
		}
		if err != nil {
			return records
		}
	}
}

// events are those of the records, by id.
func (s *Suite) events(t *testing.T, records [][]byte) map[string]*leastwisev1.Event {
	t.Helper()
	decoder, all := s.Decoder(), map[string]*leastwisev1.Event{}
	for _, record := range records {
		events, err := decoder.Decode(nil, source.Record{Bytes: bytes.Clone(record), Position: "test:0"})
		if err != nil {
			t.Fatalf("a well-formed record is refused: %v", err)
		}
		for _, ev := range events {
			id := hex.EncodeToString(ev.Id)
			if before := all[id]; before != nil && s.Merge != nil {
				ev = s.Merge(before, ev)
			} else if before != nil && !bytes.Equal(text(before), text(ev)) {
				t.Fatalf("one id, two events:\n%s\n%s", text(before), text(ev))
			}
			all[id] = ev
		}
	}
	return all
}

// reused decodes into events that were let go of, of other kinds among them, and anew.
func (s *Suite) reused(t *testing.T, records [][]byte) {
	anew, again := s.Decoder(), s.Decoder()
	random := rand.New(rand.NewPCG(3, 5))
	random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	var dst []*leastwisev1.Event
	for i, record := range records {
		rec := source.Record{Bytes: record, Position: "test:0"}
		if i%3 > 0 {
			rec.ObservedAt = time.Unix(1_900_000_000+int64(i), 0)
		}
		want, err := anew.Decode(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		if dst, err = again.Decode(dst[:0], rec); err != nil {
			t.Fatal(err)
		}
		if len(dst) != len(want) {
			t.Fatalf("record %d: %d events, and %d where events are used again", i, len(want), len(dst))
		}
		for n := range want {
			if !bytes.Equal(text(want[n]), text(dst[n])) {
				t.Fatalf("record %d: event %d\n%s\nwhere events are used again\n%s", i, n, text(want[n]), text(dst[n]))
			}
		}
	}
}

func text(ev *leastwisev1.Event) []byte {
	out, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(ev)
	if err != nil {
		return []byte(err.Error())
	}
	var compact bytes.Buffer // protojson's spaces differ from build to build
	if err := json.Compact(&compact, out); err != nil {
		return []byte(err.Error())
	}
	return compact.Bytes()
}

func same(a, b map[string]*leastwisev1.Event) bool {
	return maps.EqualFunc(a, b, func(x, y *leastwisev1.Event) bool { return bytes.Equal(text(x), text(y)) })
}

func difference(want, got map[string]*leastwisev1.Event) string {
	for id, ev := range want {
		if got[id] == nil {
			return fmt.Sprintf("missing %s", text(ev))
		}
		if !bytes.Equal(text(ev), text(got[id])) {
			return fmt.Sprintf("want %s\ngot %s", text(ev), text(got[id]))
		}
	}
	for id, ev := range got {
		if want[id] == nil {
			return fmt.Sprintf("new %s", text(ev))
		}
	}
	return "none"
}

// Limits of what may stand in labels.
const (
	maxLabels     = 24
	maxLabelBytes = 256
)

func (s *Suite) wellFormed(t *testing.T, events map[string]*leastwisev1.Event) {
	for _, ev := range events {
		said := text(ev)
		if len(ev.Id) != 16 || ev.Source != s.System || ev.Instance != "default" || ev.RecordId == "" {
			t.Errorf("id, source, instance or record id: %s", said)
		}
		for _, key := range []string{ev.Credential, ev.Principal, ev.Actor, ev.Parent, ev.Child} {
			if key != "" && strings.Count(key, "/") < 3 {
				t.Errorf("%q is no key system/instance/type/id: %s", key, said)
			}
		}
		if ev.Kind != leastwisev1.Event_UNKNOWN && ev.OccurredAt == nil {
			t.Errorf("no time: %s", said)
		}
		if len(ev.Labels) > maxLabels {
			t.Errorf("%d labels: %s", len(ev.Labels), said)
		}
		for name, value := range ev.Labels {
			if len(name) > maxLabelBytes || len(value) > maxLabelBytes || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				t.Errorf("label %q: %s", name, said)
			}
		}
	}
}

var reasons = []string{source.ReasonMalformed, source.ReasonTruncated, source.ReasonTooLong, source.ReasonTooDeep,
	source.ReasonEncoding, source.ReasonRejected}

// malformed decodes what is none, and each record cut off in several places.
func (s *Suite) malformed(t *testing.T, records [][]byte) {
	bad := [][]byte{{}, []byte("\x00\x00"), []byte("\xff\xfe{}"), bytes.Repeat([]byte("["), 100_000),
		bytes.Repeat([]byte(`{"a":`), 100_000)}
	if !s.TextLines {
		bad = append(bad, []byte("not JSON at all"), []byte(`"text"`), []byte(`[]`), []byte("{"))
		for _, record := range records[:min(len(records), 20)] {
			for _, at := range []int{1, len(record) / 3, len(record) / 2, len(record) - 1} {
				bad = append(bad, record[:at])
			}
		}
	}
	decoder := s.Decoder()
	for _, record := range bad {
		events, err := decoder.Decode(nil, source.Record{Bytes: bytes.Clone(record), Position: "test:0"})
		var malformed *source.Malformed
		if s.TextLines && err == nil {
			continue
		}
		if !errors.As(err, &malformed) || len(events) > 0 {
			t.Fatalf("%.60q: %d events, error %v; want a *source.Malformed", record, len(events), err)
		}
		if !slices.Contains(reasons, malformed.Reason) || malformed.Detail == "" {
			t.Errorf("%.60q: reason %q, detail %q", record, malformed.Reason, malformed.Detail)
		}
	}
	if _, err := decoder.Decode(nil, source.Record{Bytes: bytes.Clone(records[0])}); err != nil {
		t.Errorf("after bad records a good one is refused: %v", err)
	}
}

func (s *Suite) unknown(t *testing.T) {
	if s.Unknown == nil {
		t.Skip("the source knows no kinds")
	}
	events, err := s.Decoder().Decode(nil, source.Record{Bytes: bytes.Clone(s.Unknown), Position: "test:0"})
	if err != nil || len(events) != 1 || events[0].Kind != leastwisev1.Event_UNKNOWN {
		t.Errorf("%d events, error %v; want one of kind UNKNOWN", len(events), err)
	}
}

// secrets looks for planted secrets in events, dead letters and errors.
func (s *Suite) secrets(t *testing.T, records [][]byte) {
	for _, secret := range s.Secrets {
		if !bytes.Contains(s.Log, []byte(secret)) {
			t.Fatalf("%q is not in the log, so nothing is shown", secret)
		}
	}
	look := func(what string, out []byte) {
		for _, secret := range s.Secrets {
			if bytes.Contains(out, []byte(secret)) {
				t.Errorf("%s holds %q: %s", what, secret, out)
			}
		}
	}
	for _, ev := range s.events(t, records) {
		look("an event", text(ev))
	}
	decoder := s.Decoder()
	for _, record := range records {
		broken := record[:len(record)-1]
		events, err := decoder.Decode(nil, source.Record{Bytes: bytes.Clone(broken), Position: "test:0"})
		for _, ev := range events {
			look("an event of a cut record", text(ev))
		}
		var malformed *source.Malformed
		if errors.As(err, &malformed) {
			look("an error", []byte(malformed.Error()))
			letter := source.DeadLetter(s.System, "default", source.Record{Bytes: broken, Position: "test:0"}, malformed)
			look("a dead letter", []byte(letter.String()))
		}
	}
}

func (s *Suite) recognised(t *testing.T, records [][]byte) {
	n := 0
	for _, record := range records {
		if s.Recognise(record) {
			n++
		}
	}
	if 2*n < len(records) {
		t.Errorf("%d of %d records are recognised", n, len(records))
	}
	for _, foreign := range append([][]byte{nil, {}, []byte("{}"), []byte("text"), []byte("\x00\xff"), []byte(`{"a":1}`)}, s.Foreign...) {
		if s.Recognise(foreign) {
			t.Errorf("taken for its own: %.200q", foreign)
		}
	}
}

// cut takes away the file's last bytes: all records but the last are there, and the last is not taken for whole.
func (s *Suite) cut(t *testing.T, records [][]byte) {
	end := len(bytes.TrimRight(s.Log, " \r\n\t]}"))
	reader := s.Records(bytes.NewReader(s.Log[:end-1]), 0)
	whole := 0
	for {
		line, err := reader.Next()
		if err == nil || !line.Partial && line.Length > 0 {
			whole++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if whole != len(records)-1 {
		t.Errorf("%d whole records, want %d", whole, len(records)-1)
	}
}

func (s *Suite) golden(t *testing.T, events map[string]*leastwisev1.Event) {
	var out bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(events)) {
		out.Write(text(events[id]))
		out.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(s.Golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(s.Golden)
	if err != nil {
		t.Fatalf("%v; `go test -update` writes it", err)
	}
	if bytes.Equal(want, out.Bytes()) {
		return
	}
	old := strings.Split(string(want), "\n")
	for i, line := range strings.Split(out.String(), "\n") {
		if i >= len(old) || line != old[i] {
			t.Fatalf("line %d of %s changed; look at it, and `go test -update` if it is meant:\n%s", i+1, s.Golden, line)
		}
	}
	t.Fatalf("%s has more lines", s.Golden)
}
