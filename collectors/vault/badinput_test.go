package vault

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	head = `{"time":"2026-11-21T06:12:00.5Z","type":"request","auth":{"accessor":"hmac-sha256:aa","policy_results":{"allowed":true}},"request":`
	body = `{"id":"11111111-2222-3333-4444-555555555555","operation":"read","path":"secret/a"}`
)

func decodeOne(t *testing.T, opts Options, line string) ([]*leastwisev1.Event, error) {
	t.Helper()
	return NewDecoder(opts).Decode(nil, source.Record{Bytes: []byte(line), Position: "a:1", ObservedAt: time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)})
}

func TestWhatCanNotBeReadIsRefusedWithItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		line, reason, detail string
	}{
		"no JSON":            {"not json at all CANARY", "malformed", "prefix"},
		"cut off":            {head + `{"id":"CANARY`, "truncated", "cut"},
		"broken inside":      {`{"time":"CANARY" "type":"request"}`, "malformed", "not JSON"},
		"empty":              {"   ", "malformed", "empty"},
		"XML":                {"<json:object><CANARY/>", "malformed", "jsonx"},
		"no object":          {`["CANARY"]`, "malformed", "object"},
		"no type":            {`{"time":"2026-11-21T06:12:00Z","request":` + body + `}`, "malformed", "type"},
		"type no text":       {`{"type":3,"request":` + body + `}`, "malformed", "type"},
		"no time":            {`{"type":"request","request":` + body + `}`, "malformed", "omit_time"},
		"time no time":       {`{"time":"CANARY","type":"request","request":` + body + `}`, "malformed", "time"},
		"no request":         {`{"time":"2026-11-21T06:12:00Z","type":"response"}`, "malformed", "request"},
		"request no map":     {`{"time":"2026-11-21T06:12:00Z","type":"response","request":"CANARY"}`, "malformed", "request"},
		"NUL":                {head + "\x00" + body + "}", "encoding", "NUL"},
		"no UTF-8":           {head + `{"id":"` + "\xff\xfeCANARY" + `"}}`, "encoding", "UTF-8"},
		"nested too deep":    {head + `{"id":"1","data":` + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "}}", "too_deep", "300"},
		"nested without end": {strings.Repeat(`{"a":`, 100000), "too_deep", "300"},
		"too long":           {head + `{"id":"` + strings.Repeat("x", 9<<20) + `"}}`, "too_long", "limit"},
		"a tail":             {head + body + "}CANARY", "truncated", "cut"},
	} {
		events, err := decodeOne(t, Options{}, c.line)
		var bad *source.Malformed
		if len(events) != 0 || !errors.As(err, &bad) {
			t.Errorf("%s: %d events, error %v", name, len(events), err)
			continue
		}
		if bad.Reason != c.reason || !strings.Contains(bad.Detail, c.detail) {
			t.Errorf("%s: %s: %s, want %s: …%s…", name, bad.Reason, bad.Detail, c.reason, c.detail)
		}
		letter := source.DeadLetter(System, "default", source.Record{Bytes: []byte(c.line)}, bad)
		if strings.Contains(err.Error()+letter.String(), "CANARY") {
			t.Errorf("%s: text of the record in %v, %v", name, err, letter)
		}
	}
}

func TestManyBracketsInTextAreNotNesting(t *testing.T) {
	events, err := decodeOne(t, Options{}, head+`{"id":"1","operation":"read","path":"secret/`+strings.Repeat(`[{\"`, 100)+`"}}`)
	if err != nil || len(events) != 1 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestUnknownKindIsKept(t *testing.T) {
	for _, line := range []string{
		`{"time":"2026-11-20T10:00:00Z","type":"from-the-future","request":{"id":"x"}}`,
		`{"type":"kmip-request","whatever":1}`,
	} {
		events, err := decodeOne(t, Options{}, line)
		if err != nil || len(events) != 1 || events[0].Kind != leastwisev1.Event_UNKNOWN || events[0].Action == "" || events[0].RecordId == "" || len(events[0].Id) != 16 {
			t.Errorf("%s: %v, %v", line, events, err)
		}
	}
}

func TestRecordFromTheFutureIsFlagged(t *testing.T) {
	for at, want := range map[string]leastwisev1.Event_Flag{
		"2026-11-21T07:04:59Z": leastwisev1.Event_NONE,
		"2026-11-21T07:05:01Z": leastwisev1.Event_FUTURE,
	} {
		line := strings.Replace(head+body+"}", "2026-11-21T06:12:00.5Z", at, 1)
		events, err := decodeOne(t, Options{}, line)
		if err != nil || events[0].Flag != want {
			t.Errorf("%s: %v, %v", at, events, err)
		}
	}
}

func TestPrefixIsAcceptedOnlyWhereConfigured(t *testing.T) {
	line := "@cee: " + head + body + "}"
	if _, err := decodeOne(t, Options{}, line); err == nil {
		t.Error("a prefix that is not configured was accepted")
	}
	with, err := decodeOne(t, Options{Prefix: "@cee: "}, line)
	without, err2 := decodeOne(t, Options{}, head+body+"}")
	if err != nil || err2 != nil || string(with[0].Id) != string(without[0].Id) {
		t.Errorf("%v %v %v", with, err, err2)
	}
}

func TestWrongTypesInsideARecordAreTakenAsMissing(t *testing.T) {
	events, err := decodeOne(t, Options{}, `{"time":"2026-11-21T06:12:00Z","type":"response","auth":[1],"error":{},"request":{"id":7,"path":[],"operation":{},"data":3,"namespace":"x"},"response":{"auth":"no","data":[],"wrap_info":1,"secret":2}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if ev.Credential != "" {
			t.Errorf("invented %v", ev)
		}
	}
}

func TestSecretsOfARawLogAreNotCopied(t *testing.T) {
	raw := `{"time":"2026-11-21T06:12:00Z","type":"response","error":"bad thing with hvs.CANARY","auth":{"accessor":"ClearAccessor","client_token":"hvs.CANARYa","display_name":"s.CANARY","metadata":{"k":"hvs.CANARYm"},"policy_results":{"allowed":true}},` +
		`"request":{"id":"1","operation":"update","path":"%PATH%","client_token":"hvs.CANARYb","client_token_accessor":"ClearAccessor","data":{"token":"hvs.CANARYt","password":"CANARY","lease_id":"CANARY","accessor":"CANARY"},"headers":{"x":["CANARY"]},"mount_point":"auth/token/","mount_type":"pki"},` +
		`"response":{"auth":{"accessor":"NewAccessor","client_token":"hvs.CANARYn"},"data":{"private_key":"CANARY","serial_number":"hmac-sha256:x"},"wrap_info":{"accessor":"W","token":"hvs.CANARYw","wrapped_accessor":"I"}}}`
	for _, path := range []string{"secret/data/x", "auth/token/revoke", "auth/token/revoke/hvs.CANARYp", "auth/token/lookup/s.CANARYs", "cubbyhole/hvs.CANARYc/x", "sys/wrapping/unwrap", "auth/token/revoke-accessor", "auth/token/create"} {
		for _, line := range []string{raw, strings.Replace(raw, `"error":"bad thing with hvs.CANARY",`, "", 1)} {
			line = strings.Replace(line, "%PATH%", path, 1)
			if strings.Contains(path, "revoke-accessor") { // an accessor is no secret, but what is in a body is not shown
				line = strings.Replace(line, `"accessor":"CANARY"`, `"accessor":"hmac-sha256:zz"`, 1)
			}
			events, err := decodeOne(t, Options{}, line)
			if err != nil || len(events) == 0 {
				t.Fatalf("%s: %v", path, err)
			}
			for _, ev := range events {
				if strings.Contains(ev.String(), "CANARY") {
					t.Errorf("%s: secret in %v", path, ev)
				}
			}
		}
	}
}
