package gcpaudit

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

func TestWhatCanNotBeReadIsRefusedWithItsReason(t *testing.T) {
	good := call{}.String()
	for name, c := range map[string]struct{ record, reason string }{
		"no JSON":            {"not json at all CANARY", "malformed"},
		"cut off":            {good[:len(good)-40], "truncated"},
		"broken inside":      {`{"logName":"CANARY" "insertId":"x"}`, "malformed"},
		"empty":              {"   ", "malformed"},
		"no object":          {`["CANARY"]`, "malformed"},
		"no log entry":       {`{"CANARY":"CANARY"}`, "malformed"},
		"a wrapper":          {`{"entries":[]}`, "malformed"},
		"no time":            {strings.Replace(good, `"timestamp"`, `"x"`, 1), "malformed"},
		"time no time":       {strings.Replace(good, "2026-10-02T09:00:01.234567Z", "CANARY", 1), "malformed"},
		"time out of range":  {strings.Replace(good, "2026-10-02", "0001-01-01", 1), "malformed"},
		"NUL":                {strings.Replace(good, "abc123", "\x00", 1), "encoding"},
		"no UTF-8":           {strings.Replace(good, "abc123", "\xff\xfeCANARY", 1), "encoding"},
		"nested too deep":    {`{"logName":"x","a":` + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "}", "too_deep"},
		"nested without end": {strings.Repeat(`{"a":`, 100000), "too_deep"},
		"too long":           {strings.Replace(good, "abc123", strings.Repeat("x", 9<<20), 1), "too_long"},
	} {
		events, err := decodeOne(c.record)
		var bad *source.Malformed
		if len(events) != 0 || !errors.As(err, &bad) || bad.Reason != c.reason || bad.Detail == "" {
			t.Errorf("%s: %d events, error %v, want %s", name, len(events), err, c.reason)
			continue
		}
		letter := source.DeadLetter(System, "default", source.Record{Bytes: []byte(c.record)}, bad)
		if strings.Contains(err.Error()+letter.String(), "CANARY") {
			t.Errorf("%s: text of the record in %v, %v", name, err, letter)
		}
	}
}

func TestOddEntriesAreKept(t *testing.T) {
	deep := `{"x":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + "}"
	for name, c := range map[string]struct {
		record string
		kind   leastwisev1.Event_Kind
	}{
		"wrong types everywhere": {`{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insertId":7,"timestamp":"2026-10-02T09:00:00Z","operation":[],"resource":3,"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","methodName":{},"serviceName":[],"status":"7","authenticationInfo":[1],"authorizationInfo":{"a":1},"requestMetadata":3,"request":"x","response":[],"metadata":"m","serviceData":[]}}`, leastwisev1.Event_NOTED},
		"elements of odd types":  {`{"logName":"x","insertId":"1","timestamp":"2026-10-02T09:00:00Z","protoPayload":{"methodName":"SetIamPolicy","authorizationInfo":[1,null,{"permission":7,"granted":1}],"authenticationInfo":{"serviceAccountKeyName":"no key","serviceAccountDelegationInfo":[1,{"firstPartyPrincipal":"x"}]},"serviceData":{"policyDelta":{"bindingDeltas":[1,{"action":"ADD"}]}}}}`, leastwisev1.Event_NOTED},
		"no payload":             {`{"logName":"projects/p/logs/x","insertId":"1"}`, leastwisev1.Event_UNKNOWN},
		"payload null":           {`{"logName":"projects/p/logs/x","protoPayload":null}`, leastwisev1.Event_UNKNOWN},
		"payload text":           {`{"protoPayload":"x"}`, leastwisev1.Event_UNKNOWN},
		"payload empty":          {`{"protoPayload":{}}`, leastwisev1.Event_UNKNOWN},
		"text far too deep":      {strings.Replace(call{method: "SignBlob"}.String(), `"status"`, `"requestJson":`+mustJSON(t, deep)+`,"status"`, 1), leastwisev1.Event_USED},
		"key without an id":      {strings.Replace(call{key: "x"}.String(), `/keys/x"`, `/keys/"`, 1), leastwisev1.Event_USED},
	} {
		events, err := decodeOne(c.record)
		if err != nil || len(events) == 0 || events[0].Kind != c.kind || events[0].Credential != "" {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
}

func TestRecordFromTheFutureIsFlagged(t *testing.T) {
	for at, want := range map[string]leastwisev1.Event_Flag{
		"2026-11-21T07:04:59Z": leastwisev1.Event_NONE,
		"2026-11-21T07:05:01Z": leastwisev1.Event_FUTURE,
	} {
		if ev := decode(t, call{at: at}.String())[0]; ev.Flag != want {
			t.Errorf("%s: %v", at, ev)
		}
	}
}

func TestTokensInOddPlacesAreBlanked(t *testing.T) {
	record := call{who: "ya29.CANARYCANARY", method: "x.ya29.CANARYCANARY", permission: "eyJhbGciOi.CANARYCANARY"}.String()
	record = strings.Replace(record, "projects/_/buckets/b", "b/ya29.CANARYCANARY?X-Goog-Signature=CANARY", 1)
	record = strings.Replace(record, "203.0.113.9", "Bearer CANARYCANARY", 1)
	for _, ev := range decode(t, record) {
		if strings.Contains(ev.String(), "CANARY") {
			t.Errorf("%v", ev)
		}
	}
}

// FuzzDecode holds the decoder to what it promises of any record: no panic, no text of a secret place, bounded events
// with valid ids and keys, the same again from a decoder that has seen other records.
func FuzzDecode(f *testing.F) {
	for _, record := range sampleRecords(f) {
		f.Add(record)
	}
	for record := range bytes.SplitSeq(bytes.TrimSpace(secretLog(f)), []byte("\n")) {
		f.Add(record)
	}
	for record := range strings.SplitSeq(strings.TrimSpace(export), "\n") {
		f.Add([]byte(record))
	}
	used := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, text []byte) {
		Recognise(text)
		rec := source.Record{Bytes: bytes.Clone(text), Position: "f:0"}
		var told int
		events, err := NewDecoder(Options{Facts: func(fact *leastwisev1.Fact) {
			if _, err := proto.Marshal(fact); err != nil || fact.GetGrant().Id == "" {
				t.Fatalf("fact %v: %v", fact, err)
			}
			told++
		}, Assets: NewAssets("")}).Decode(nil, rec)
		if err != nil {
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason == "" || len(events) != 0 {
				t.Fatalf("error %v with %d events", err, len(events))
			}
			return
		}
		if len(events) == 0 || len(events) > 3+maxBindings {
			t.Fatalf("%d events of one record", len(events))
		}
		again, err := used.Decode(nil, rec)
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events, then %d, %v", len(events), len(again), err)
		}
		clear(rec.Bytes) // nothing may still point there
		for i, ev := range events {
			id := schemas.EventID(ev.Source, ev.Instance, ev.RecordId, ev.Index)
			if !bytes.Equal(ev.Id, id[:]) {
				t.Fatalf("id of %v", ev)
			}
			for _, key := range []string{ev.Credential, ev.Principal, ev.Actor, ev.Parent} {
				if _, err := schemas.ParseKey(key); key != "" && err != nil {
					t.Fatal(err)
				}
			}
			wire, err := proto.Marshal(ev)
			if err != nil || len(wire) > 64<<10 || len(ev.Labels) > 24 {
				t.Fatalf("an event of %d bytes, %d labels, %v", len(wire), len(ev.Labels), err)
			}
			if !utf8.ValidString(ev.Resource) || strings.ContainsRune(ev.Resource, 0) {
				t.Fatalf("resource %q", ev.Resource)
			}
			if !proto.Equal(ev, again[i]) {
				t.Fatalf("a used decoder gives\n%v\na fresh one\n%v", again[i], ev)
			}
			for _, other := range events[:i] {
				if bytes.Equal(other.Id, ev.Id) {
					t.Fatalf("one id twice: %v", ev)
				}
			}
		}
	})
}

func FuzzReadAssets(f *testing.F) {
	f.Add([]byte(export))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, _, err := ReadAssets(bytes.NewReader(text), "", seen)
		if err != nil {
			t.Fatal(err)
		}
		for _, fact := range all {
			if _, err := schemas.ParseKey(fact.GetGrant().Id); err != nil {
				t.Fatal(err)
			}
		}
	})
}
