package spire

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	audit = `"level":"info","msg":"API accessed","status":"success","subsystem_name":"api","type":"audit"`
	at    = `"time":"2026-11-21T06:27:02.5Z"`
)

func TestWhatCanNotBeReadIsRefusedWithItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		line, reason, detail string
	}{
		"prose":                 {"panic: runtime error CANARY", "malformed", "neither"},
		"stack trace":           {"\t/build/pkg/server/CANARY.go:12 +0x1d", "malformed", "neither"},
		"empty":                 {"  ", "malformed", "empty"},
		"cut off":               {`{"level":"info","msg":"CANARY`, "truncated", "cut"},
		"broken inside":         {`{"level":"CANARY" "msg":"x"}`, "malformed", "not JSON"},
		"a list":                {`["CANARY"]`, "malformed", "neither"},
		"another's JSON":        {`{"eventName":"CANARY"}`, "malformed", "level"},
		"level is no text":      {`{"level":{"a":"CANARY"},"msg":"x"}`, "malformed", "level"},
		"audit without time":    {`{` + audit + `}`, "malformed", "time"},
		"time is no time":       {`{"time":"CANARY",` + audit + `}`, "malformed", "time"},
		"time before 1970":      {`{"time":"1969-12-31T23:59:59Z",` + audit + `}`, "malformed", "time"},
		"NUL":                   {`{` + at + "," + audit + ",\"hint\":\"\x00CANARY\"}", "encoding", "NUL"},
		"not UTF-8":             {`{` + at + "," + audit + ",\"hint\":\"\xff\xfeCANARY\"}", "encoding", "UTF-8"},
		"nested too deep":       {`{"level":"info","a":` + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "}", "too_deep", "300"},
		"nested without end":    {strings.Repeat(`{"a":`, 100_000), "too_deep", "300"},
		"too long":              {`{"level":"` + strings.Repeat("x", 9<<20) + `"}`, "too_long", "limit"},
		"a tail":                {`{` + at + "," + audit + "}CANARY", "truncated", "cut"},
		"text, quote left open": {`time="2026-11-21T06:27:02Z" level=info msg="CANARY`, "truncated", "quoted"},
		"text, no key":          {`time="2026-11-21T06:27:02Z" level=info CANARY`, "malformed", "neither"},
		"text, bad escape":      {`time="2026-11-21T06:27:02Z" level=info msg="\qCANARY"`, "malformed", "neither"},
		"text without level":    {`time="2026-11-21T06:27:02Z" msg=CANARY`, "malformed", "level"},
		"console, no bracket":   {`INFO[0061 CANARY`, "malformed", "neither"},
		"console, bad fields":   {`INFO[0061] API accessed      CANARY CANARY`, "malformed", "neither"},
	} {
		events, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(c.line), Position: "a:1"})
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

func TestOrdinaryLinesOfTheServerTellNothing(t *testing.T) {
	for _, line := range []string{
		`{"level":"info","msg":"Server stopped gracefully","time":"2026-11-21T06:27:18Z"}`,
		`{"level":"info","msg":"no time needed"}`,
		`{"level":"info","msg":"Connected to SQL database","subsystem_name":"sql","type":"sqlite3","time":"2026-11-21T06:27:18Z"}`,
		`{"level":"error","msg":"Invalid argument: missing CSR","subsystem_name":"api","request_id":"r","time":"2026-11-21T06:27:18Z"}`,
		`{"level":"error","msg":"Failed to authenticate caller","subsystem_name":"a-plugin","time":"2026-11-21T06:27:18Z"}`,
		`time="2026-11-21T06:27:18.8Z" level=warning msg="Current umask 0022 is too permissive; setting umask 0027"`,
		`INFO[0000] Server stopped gracefully`,
		`WARN[0000] Current umask 0022 is too permissive; setting umask 0027 `,
	} {
		events, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(line)})
		if err != nil || len(events) != 0 {
			t.Errorf("%s: %v, %v", line, events, err)
		}
	}
}

// A text line cut off may look whole. It must not name a credential that never was.
func TestCutTextLineNamesNoCredential(t *testing.T) {
	log, _ := recording(t, "text")
	whole := map[string]bool{}
	for _, ev := range decodeLog(t, Options{}, log) {
		whole[ev.Credential+ev.Principal] = true
	}
	for line := range strings.Lines(string(log)) {
		line = strings.TrimSuffix(line, "\n")
		for cut := range line {
			events, _ := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(line[:cut])})
			for _, ev := range events {
				if !whole[ev.Credential+ev.Principal] {
					t.Fatalf("%v of %s", ev, line[:cut])
				}
			}
		}
	}
}

func TestSamplesOfSPIREsOwnTestsAreKeptAsUnknown(t *testing.T) {
	log, err := os.ReadFile("testdata/spire/audit.json.log")
	if err != nil {
		t.Fatal(err)
	}
	n, failed := 0, 0
	for _, ev := range decodeLog(t, Options{}, log) {
		if n++; ev.Kind != leastwisev1.Event_UNKNOWN { // they name no method
			t.Errorf("%v", ev)
		}
		if ev.Outcome == leastwisev1.Outcome_OUTCOME_FAILURE {
			failed++
			if ev.Error != "internal" && ev.Error != "invalid argument" {
				t.Errorf("error %q", ev.Error)
			}
		}
	}
	if n != strings.Count(string(log), "\n") || failed == 0 {
		t.Errorf("%d events, %d failed", n, failed)
	}
}

func TestStatusIsANumberInJSONAndANameInText(t *testing.T) {
	const rest = `"method":"BatchCreateEntry","service":"entry.v1.Entry","request_id":"r","level":"info","msg":"API accessed","status":"error","subsystem_name":"api","type":"audit",` + at
	for code, want := range map[string]struct {
		kind  leastwisev1.Event_Kind
		error string
	}{
		`7`:                   {leastwisev1.Event_DENIED, "permission denied"},
		`"PermissionDenied"`:  {leastwisev1.Event_DENIED, "permission denied"},
		`16`:                  {leastwisev1.Event_DENIED, "unauthenticated"},
		`8`:                   {leastwisev1.Event_NOTED, "throttled"},
		`"ResourceExhausted"`: {leastwisev1.Event_NOTED, "throttled"},
		`5`:                   {leastwisev1.Event_USED, "not found"},
		`"AlreadyExists"`:     {leastwisev1.Event_USED, "already exists"},
		`99`:                  {leastwisev1.Event_USED, "error"},
	} {
		events := one(t, NewDecoder(Options{}), `{"status_code":`+code+`,`+rest+`}`)
		if len(events) != 1 || events[0].Kind != want.kind || events[0].Error != want.error || events[0].Outcome != leastwisev1.Outcome_OUTCOME_FAILURE {
			t.Errorf("%s: %v", code, events)
		}
	}
}

// One call may make several entries: they have no id in the log yet.
func TestItemsOfABatchHaveIdsOfTheirOwn(t *testing.T) {
	line := func(more string) string {
		return `{"method":"BatchCreateEntry","service":"entry.v1.Entry","request_id":"r",` + more + `,` + audit + `,` + at + `}`
	}
	d, seen := NewDecoder(Options{}), map[string]string{}
	for _, more := range []string{`"spiffe_id":"spiffe://a/1"`, `"spiffe_id":"spiffe://a/2"`, `"spiffe_id":"spiffe://a/1","selectors":"unix:uid:1"`,
		`"spiffe_id":"spiffe://a/1","selectors":"unix:uid:2"`, `"spiffe_id":"spiffe://a/1","x509_svid_ttl":60`, `"spiffe_id":"spiffe://a/1","entry_id":"e"`} {
		id := string(one(t, d, line(more))[0].Id)
		if other := seen[id]; other != "" {
			t.Errorf("%s has the id of %s", more, other)
		}
		seen[id] = more
	}
}

func TestUnusualRecords(t *testing.T) {
	huge := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		line string
		ok   func(ev *leastwisev1.Event) bool
	}{
		"serial that is none": {`{"level":"debug","msg":"Signed X509 SVID","serial_num":"0x12/../","subsystem_name":"api","request_id":"r",` + at + `}`,
			func(ev *leastwisev1.Event) bool { return ev.Kind == leastwisev1.Event_NOTED && ev.Credential == "" }},
		"the server's own SVID": {`{"expiration":"2026-11-21T07:26:57Z","level":"debug","msg":"Signed X509 SVID","spiffe_id":"spiffe://a/spire/server","subsystem_name":"svid_rotator",` + at + `}`,
			func(ev *leastwisev1.Event) bool {
				return ev.Kind == leastwisev1.Event_NOTED && ev.Credential == "" && ev.Principal == "spire/default/spiffe_id/spiffe://a/spire/server" &&
					ev.Lifetime.ExpiresAt.AsTime().Equal(time.Date(2026, 11, 21, 7, 26, 57, 0, time.UTC))
			}},
		"expiry that is none": {`{"expiration":"soon","level":"debug","msg":"Signed X509 SVID","serial_num":"12","subsystem_name":"api","request_id":"r",` + at + `}`,
			func(ev *leastwisev1.Event) bool {
				return ev.Credential == "spire/default/x509_svid/12" && ev.Lifetime.ExpiresAt == nil
			}},
		"JWT-SVID with the server's default lifetime": {`{"method":"NewJWTSVID","service":"svid.v1.SVID","request_id":"j","ttl":0,"spiffe_id":"spiffe://a/b",` + audit + `,` + at + `}`,
			func(ev *leastwisev1.Event) bool {
				return ev.Credential == "spire/default/jwt_svid/j" && ev.Lifetime.ExpiresAt == nil && ev.Lifetime.IssuedAt != nil
			}},
		"JWT-SVID that was refused": {`{"method":"NewJWTSVID","service":"svid.v1.SVID","request_id":"j","level":"info","msg":"API accessed","status":"error","status_code":5,"subsystem_name":"api","type":"audit",` + at + `}`,
			func(ev *leastwisev1.Event) bool { return ev.Credential == "" && ev.Error == "not found" }},
		"SPIFFE ID that is none": {`{"method":"GetBundle","service":"bundle.v1.Bundle","request_id":"j","caller_id":"https://x",` + audit + `,` + at + `}`,
			func(ev *leastwisev1.Event) bool { return ev.Principal == "" }},
		"huge text": {`{"method":"BatchCreateEntry","service":"entry.v1.Entry","request_id":"` + huge + `","hint":"` + huge + `","selectors":"` + huge + `","entry_id":"` + huge + `",` + audit + `,` + at + `}`,
			func(ev *leastwisev1.Event) bool {
				return len(ev.RecordId) < 200 && len(ev.Labels["hint"]) == maxLabel && len(ev.Resource) == maxLabel
			}},
		"a time to come": {`{"method":"GetBundle","service":"bundle.v1.Bundle","request_id":"j",` + audit + `,"time":"2126-11-21T06:27:02Z"}`,
			func(ev *leastwisev1.Event) bool { return ev.Flag == leastwisev1.Event_FUTURE }},
		"a time of another zone": {`{"method":"GetBundle","service":"bundle.v1.Bundle","request_id":"j",` + audit + `,"time":"2026-11-21T07:27:02.5+01:00"}`,
			func(ev *leastwisev1.Event) bool {
				return ev.OccurredAt.AsTime().Equal(time.Date(2026, 11, 21, 6, 27, 2, 500_000_000, time.UTC))
			}},
		"agent whose SVID was replaced": {`{"level":"error","msg":"Agent SVID is not active","svid_serial_num":"77","serial_num":"78","caller_id":"spiffe://a/spire/agent/x","request_id":"r","subsystem_name":"api",` + at + `}`,
			func(ev *leastwisev1.Event) bool {
				return ev.Kind == leastwisev1.Event_NOTED && ev.Credential == "spire/default/x509_svid/77" && ev.Error == "agent SVID not active"
			}},
	} {
		events, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(c.line), ObservedAt: time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)})
		if err != nil || len(events) != 1 || !c.ok(events[0]) {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
}
