package agentusage

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestWhatBadInputGets(t *testing.T) {
	huge := `{"agent_usage":1,"time":1777629600,"agent_id":"a","prompt":"` + strings.Repeat("x", 1<<16) + `"}`
	for name, c := range map[string]struct{ text, reason string }{
		"truncated":            {`{"agent_usage":1,"time":1777629600,"agent_id":"CANARY`, source.ReasonTruncated},
		"no JSON":              {`CANARY time=1`, source.ReasonMalformed},
		"an array":             {`[1]`, source.ReasonMalformed},
		"no form":              {`{"hello":"CANARY"}`, source.ReasonMalformed},
		"NUL":                  {"{\"agent_usage\":1,\"agent_id\":\"a\x00\"}", source.ReasonEncoding},
		"invalid UTF-8":        {"{\"agent_usage\":1,\"agent_id\":\"\xff\"}", source.ReasonEncoding},
		"deep":                 {strings.Repeat(`{"a":`, 400) + "1" + strings.Repeat("}", 400), source.ReasonTooDeep},
		"huge":                 {huge, source.ReasonTooLong},
		"no time":              {`{"agent_usage":1,"agent_id":"a"}`, source.ReasonMalformed},
		"a time before 1970":   {`{"agent_usage":1,"agent_id":"a","time":-5}`, source.ReasonMalformed},
		"Bedrock without time": {`{"schemaType":"ModelInvocationLog","requestId":"r","operation":"x"}`, source.ReasonMalformed},
		"Bedrock's bad time":   {`{"schemaType":"ModelInvocationLog","requestId":"r","timestamp":"yesterday"}`, source.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := NewDecoder(Options{MaxBytes: 1 << 15}).Decode(nil, source.Record{Bytes: []byte(c.text), Position: "f:1"})
			var bad *source.Malformed
			if !errors.As(err, &bad) || bad.Reason != c.reason || len(events) != 0 {
				t.Fatalf("error %v with %d events, want %s", err, len(events), c.reason)
			}
			if strings.Contains(bad.Detail, "CANARY") {
				t.Errorf("the record's text in %q", bad.Detail)
			}
		})
	}
}

func one(t *testing.T, opts Options, text string, seen time.Time) *leastwisev1.Event {
	t.Helper()
	events, err := NewDecoder(opts).Decode(nil, source.Record{Bytes: []byte(text), ObservedAt: seen})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return events[0]
}

func TestWhatIsKeptAndNotCounted(t *testing.T) {
	now := time.Unix(1777629600, 0)
	future := one(t, Options{}, `{"agent_usage":1,"agent_id":"a","action":"x","time":"2030-01-01T00:00:00Z"}`, now)
	if future.Flag != leastwisev1.Event_FUTURE {
		t.Errorf("a record from the future is not flagged: %v", future)
	}
	for name, text := range map[string]string{
		"a later version":            `{"agent_usage":7,"agent_id":"a","time":1777629600}`,
		"nothing told":               `{"agent_usage":1,"time":1777629600}`,
		"an export of internal work": `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"a","spanId":"b","startTimeUnixNano":"1","name":"internal"}]}]}]}`,
		"an empty export":            `{"resourceLogs":[]}`,
		"another schema of Bedrock":  `{"schemaType":"Other","requestId":"r","accountId":"1","modelId":"m","operation":"x","timestamp":"2026-05-07T19:43:51Z"}`,
	} {
		if ev := one(t, Options{}, text, now); ev.Kind != leastwisev1.Event_UNKNOWN {
			t.Errorf("%s: %v", name, ev)
		}
	}
}

// What an agent reports must leave the issuer's counts, principal and policies alone.
func TestReportedUseIsNoUse(t *testing.T) {
	for _, outcome := range []string{"success", "denied", "failure", "unknown"} {
		ev := one(t, Options{}, `{"agent_usage":1,"agent_id":"a","credential_id":"AKIAIOSFODNN7EXAMPLE","action":"x","time":1777629600,"outcome":"`+outcome+`"}`, time.Time{})
		if ev.Kind != leastwisev1.Event_NOTED || ev.Principal != "" || len(ev.Policies) != 0 || ev.Lifetime != nil || ev.Parent != "" {
			t.Errorf("%s: %v", outcome, ev)
		}
		if ev.Labels["reported_use"] != "true" || ev.Labels["reported_outcome"] != outcome || ev.Labels["agent_id"] != "a" {
			t.Errorf("%s: labels %v", outcome, ev.Labels)
		}
	}
}

func TestKeysAreThoseOfTheIssuersSource(t *testing.T) {
	over := map[string]Target{"vault_accessor": {Instance: "prod"}, "site_token": {System: "jwtregistry", Type: "jwt"}}
	hash := strings.Repeat("ab", 32)
	for _, c := range []struct{ kind, id, key, why string }{
		{"vault_accessor", "acc", "vault/prod/token/acc", ""},
		{"vault_lease", "database/creds/ro/x", "vault/default/lease/database/creds/ro/x", ""},
		{"aws_access_key", "ASIAIOSFODNN7EXAMPLE", "cloudtrail/default/session/ASIAIOSFODNN7EXAMPLE", ""},
		{"aws_session", "AKIAIOSFODNN7EXAMPLE", "cloudtrail/default/access_key/AKIAIOSFODNN7EXAMPLE", ""},
		{"", " ASIAIOSFODNN7EXAMPLE ", "cloudtrail/default/session/ASIAIOSFODNN7EXAMPLE", ""},
		{"svid_serial", "123", "spire/default/x509_svid/123", ""},
		{"jti", "j", "jwtregistry/default/jwt/j", ""},
		{"site_token", "j", "jwtregistry/default/jwt/j", ""},
		{"token_hash", "SHA256:x", "", "not_a_hash"},
		{"token_hash", "sha256:" + hash, "jwtregistry/default/jwt/sha256:" + hash, ""},
		{"", "sha256:" + hash, "jwtregistry/default/jwt/sha256:" + hash, ""},
		{"", "vault/prod/token/a/b", "vault/prod/token/a/b", ""},
		{"key", "vault/token", "", "not_a_key"},
		{"", "acc", "", "unknown_kind"},
		{"passport", "acc", "", "unknown_kind"},
		{"vault_accessor", "hvs.AAAAAAAAAAAAAAAA", "", "secret"},
		// A whole JWT: by the jti it claims, or by its hash.
		{"jti", "eyJhbGciOiJub25lIn0.eyJqdGkiOiJqLTEifQ.sig", "jwtregistry/default/jwt/j-1", ""},
		{"", "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.sig", "jwtregistry/default/jwt/" + jsonrecord.HashOf([]byte("eyJhbGciOiJub25lIn0.eyJhIjoxfQ.sig")), ""},
		{"", "eyJhbGciOiJub25lIn0.!!!.sig", "jwtregistry/default/jwt/" + jsonrecord.HashOf([]byte("eyJhbGciOiJub25lIn0.!!!.sig")), ""},
		{"vault_accessor", "", "", ""},
	} {
		if key, why := newKeys(over).key([]byte(c.kind), []byte(c.id)); key != c.key || why != c.why {
			t.Errorf("%s %s: %q %q, want %q %q", c.kind, c.id, key, why, c.key, c.why)
		}
	}
}

func TestMappingsThatCanNotWorkAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no version":       {"fields: {time: ts, agent_id: a}", "version"},
		"no time":          {"version: 1\nfields: {agent_id: a}", "time is missing"},
		"nothing told":     {"version: 1\nfields: {time: ts}", "agent_id"},
		"a typo":           {"version: 1\nfields: {time: ts, agentid: a}", "agentid"},
		"a bad path":       {"version: 1\nfields: {time: ts, agent_id: a..b}", "a..b"},
		"a constant time":  {"version: 1\nfields: {time: =1, agent_id: a}", "same for every record"},
		"a made-up result": {"version: 1\nfields: {time: ts, agent_id: a}\noutcomes: {x: good}", "good"},
		"no YAML":          {"{", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseMapping([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}
