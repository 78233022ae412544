package spire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// asText writes a JSON line as logrus writes the same record in text: time, level, msg, and the rest sorted.
func asText(t *testing.T, line []byte, console bool) string {
	t.Helper()
	var record map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&record); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for key := range record {
		if key != "time" && key != "level" && key != "msg" {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	value := func(v any) string {
		text := fmt.Sprint(v)
		for _, c := range text {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._/@^+", c)) {
				return fmt.Sprintf("%q", text)
			}
		}
		return text
	}
	var out strings.Builder
	if console {
		fmt.Fprintf(&out, "\x1b[36m%s\x1b[0m[%04d] %-44s ", strings.ToUpper(record["level"].(string))[:4], 61, record["msg"])
		for _, key := range keys {
			fmt.Fprintf(&out, " \x1b[36m%s\x1b[0m=%s", key, value(record[key]))
		}
		return out.String()
	}
	fmt.Fprintf(&out, "time=%s level=%s msg=%s", value(record["time"]), record["level"], value(record["msg"]))
	for _, key := range keys {
		fmt.Fprintf(&out, " %s=%s", key, value(record[key]))
	}
	return out.String()
}

func one(t *testing.T, d *Decoder, line string) []*leastwisev1.Event {
	t.Helper()
	events, err := d.Decode(nil, source.Record{Bytes: []byte(line), Position: "p"})
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return events
}

func equal(a, b []*leastwisev1.Event) bool {
	return slices.EqualFunc(a, b, func(x, y *leastwisev1.Event) bool { return proto.Equal(x, y) })
}

func TestEveryFormOfARecordGivesTheSameEvents(t *testing.T) {
	log, _ := recording(t, "json")
	told := 0
	for line := range bytes.Lines(log) {
		line = bytes.TrimSpace(line)
		d := NewDecoder(Options{})
		want := one(t, d, string(line))
		told += len(want)
		var record struct{ Time string }
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		text, console := asText(t, line, false), asText(t, line, true)
		for name, form := range map[string]string{
			"text":               text,
			"text, journald":     "Nov 21 06:27:18 host spire-server[812]: " + text,
			"text, container":    "2026-11-21T06:27:19.1Z stderr F " + text,
			"JSON, journald":     "Nov 21 06:27:18 host spire-server[812]: " + string(line),
			"console, container": record.Time + " " + console,
			"console, plain":     record.Time + " " + string(uncoloured([]byte(console))),
		} {
			if got := one(t, d, form); !equal(got, want) {
				t.Errorf("%s:\n%v\nwant\n%v\nof %s", name, got, want, form)
			}
		}
	}
	if told < 40 {
		t.Errorf("%d events", told)
	}
}

// Lines that SPIRE's tests show have neither method nor request id: what they say names them.
func TestRecordsWithoutAnIDAreNamedByTheirContentInEveryForm(t *testing.T) {
	log, err := os.ReadFile("testdata/spire/audit.json.log")
	if err != nil {
		t.Fatal(err)
	}
	lines, ids := map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(log) {
		line = bytes.TrimSpace(line)
		lines[string(line)] = true
		events := one(t, NewDecoder(Options{}), string(line))
		ids[string(events[0].Id)] = true
		for _, form := range []string{asText(t, line, false), "2024-01-01T00:00:00Z " + asText(t, line, true)} {
			if got := one(t, NewDecoder(Options{}), form); !equal(got, events) {
				t.Errorf("%v\nwant %v of %s", got, events, form)
			}
		}
	}
	if len(ids) != len(lines) || len(ids) < 15 {
		t.Errorf("%d ids of %d different lines", len(ids), len(lines))
	}
}

func TestConsoleLineWithoutATimeIsKeptOutOfWindows(t *testing.T) {
	log, told := recording(t, "json")
	n := 0
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte("serial_num")) {
			continue
		}
		n++
		events := one(t, NewDecoder(Options{}), asText(t, line, true))
		if len(events) != 1 || events[0].OccurredAt != nil || events[0].Flag != leastwisev1.Event_STALE ||
			events[0].Kind != leastwisev1.Event_ISSUED || events[0].Lifetime.ExpiresAt == nil || events[0].Lifetime.IssuedAt != nil {
			t.Errorf("%v", events)
		}
	}
	if n < len(told.X509) {
		t.Errorf("%d lines", n)
	}
}

func TestQuotedTextIsReadAsGoWroteIt(t *testing.T) {
	for _, hint := range []string{`a "b" c`, "line\nbreak", "tab\t\\", "umlaut ü ", "equals=inside x=y", "nul\x00byte", "", "\xff"} {
		line := `time="2026-11-21T06:27:18.1Z" level=info msg="API accessed" hint=` + fmt.Sprintf("%q", hint) +
			` method=BatchCreateEntry request_id=r1 service=entry.v1.Entry spiffe_id="spiffe://a/b" status=success subsystem_name=api type=audit`
		events := one(t, NewDecoder(Options{}), line)
		want := strings.ReplaceAll(strings.ReplaceAll(hint, "\x00", "\uFFFD"), "\xff", "\uFFFD")
		if len(events) != 1 || events[0].Labels["hint"] != want || events[0].Resource != "spiffe://a/b" {
			t.Errorf("%q: %v", hint, events)
		}
	}
}
