package jwtregistry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestWhatBadInputGets(t *testing.T) {
	huge := `{"version":1,"event":"issued","time":1777629600,"jti":"a","note":"` + strings.Repeat("x", 1<<16) + `"}`
	for name, c := range map[string]struct{ text, reason string }{
		"truncated":              {`{"version":1,"event":"issued","jti":"CANARY`, source.ReasonTruncated},
		"no JSON":                {`CANARY`, source.ReasonMalformed},
		"no form":                {`{"hello":"CANARY"}`, source.ReasonMalformed},
		"an event of no token":   {`{"event":"issued","note":"CANARY"}`, source.ReasonMalformed},
		"NUL":                    {"{\"version\":1,\"event\":\"issued\",\"jti\":\"a\x00\"}", source.ReasonEncoding},
		"invalid UTF-8":          {"{\"version\":1,\"event\":\"issued\",\"jti\":\"\xff\"}", source.ReasonEncoding},
		"deep":                   {strings.Repeat(`{"act":`, 400) + "1" + strings.Repeat("}", 400), source.ReasonTooDeep},
		"huge":                   {huge, source.ReasonTooLong},
		"no time":                {`{"version":1,"event":"revoked","jti":"a"}`, source.ReasonMalformed},
		"a time that is none":    {`{"version":1,"event":"revoked","jti":"a","time":"yesterday"}`, source.ReasonMalformed},
		"an exp that is none":    {`{"version":1,"event":"issued","jti":"a","time":1777629600,"exp":"CANARY"}`, source.ReasonMalformed},
		"Keycloak without time":  {`{"type":"LOGIN","realmId":"r"}`, source.ReasonMalformed},
		"Vault without a token":  {`{"data":{"token":"","client_id":"c","ttl":1}}`, source.ReasonMalformed},
		"Vault's opaque token":   {`{"data":{"token":"CANARY","client_id":"c","ttl":1}}`, source.ReasonMalformed},
		"a token with no claims": {`{"version":1,"event":"issued","token":"eyJhbGciOiJub25lIn0.CANARY!.x"}`, source.ReasonMalformed},
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

func decodeOne(t *testing.T, opts Options, text string) *leastwisev1.Event {
	t.Helper()
	events, err := NewDecoder(opts).Decode(nil, source.Record{Bytes: []byte(text), ObservedAt: time.Unix(1777629600, 0)})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return events[0]
}

func TestUnknownRecordsAreKept(t *testing.T) {
	for name, text := range map[string]string{
		"a later version":     `{"version":2,"event":"issued","jti":"a","time":1777629600}`,
		"an event of no name": `{"version":1,"event":"frozen","jti":"a"}`,
		"a Keycloak type":     `{"type":"SOMETHING_NEW","realmId":"r","time":1758791787360}`,
	} {
		if ev := decodeOne(t, Options{}, text); ev.Kind != leastwisev1.Event_UNKNOWN {
			t.Errorf("%s: %v", name, ev)
		}
	}
	future := decodeOne(t, Options{}, `{"version":1,"event":"issued","jti":"a","time":"2030-01-01T00:00:00Z"}`)
	if future.Flag != leastwisev1.Event_FUTURE {
		t.Errorf("a record from the future is not flagged: %v", future)
	}
}

func TestClaimsAreReadAsTheirStandardsSay(t *testing.T) {
	for name, c := range map[string]struct {
		claims string
		check  func(*leastwisev1.Event) bool
	}{
		"scope is split at spaces and sorted": {`"scope":"b  a b"`, func(ev *leastwisev1.Event) bool { return strings.Join(ev.Policies, ",") == "a,b" }},
		"scp may be a list":                   {`"scp":["b c","a"]`, func(ev *leastwisev1.Event) bool { return strings.Join(ev.Policies, ",") == "a,b c" }},
		"scp may be a text":                   {`"scp":"b a"`, func(ev *leastwisev1.Event) bool { return strings.Join(ev.Policies, ",") == "a,b" }},
		"of nested act the outermost acts": {`"act":{"sub":"now","act":{"sub":"before"}}`,
			func(ev *leastwisev1.Event) bool { return ev.Labels["actor_subject"] == "now" }},
		"an actor of another issuer": {`"act":{"sub":"now","iss":"https://i"}`,
			func(ev *leastwisev1.Event) bool { return ev.Labels["actor_subject"] == "https://i|now" }},
		"an act that is no object": {`"act":"x"`, func(ev *leastwisev1.Event) bool { return ev.Labels["actor_subject"] == "" }},
		"bound to a key":           {`"cnf":{"jkt":"T"}`, func(ev *leastwisev1.Event) bool { return ev.Labels["cnf"] == "jkt=T" }},
		"bound to a certificate":   {`"cnf":{"x5t#S256":"T"}`, func(ev *leastwisev1.Event) bool { return ev.Labels["cnf"] == "x5t#S256=T" }},
		"no key material": {`"cnf":{"jwk":{"kty":"oct","k":"CANARY"}}`,
			func(ev *leastwisev1.Event) bool { return ev.Labels["cnf"] == "jwk" }},
		"azp is the client where client_id is not": {`"azp":"a"`, func(ev *leastwisev1.Event) bool { return ev.Labels["oauth_client"] == "a" }},
		"client_id wins over azp":                  {`"azp":"a","client_id":"c"`, func(ev *leastwisev1.Event) bool { return ev.Labels["oauth_client"] == "c" }},
		"aud may be a list":                        {`"aud":["b","a"]`, func(ev *leastwisev1.Event) bool { return ev.Labels["audience"] == "a b" }},
		"a subject is its issuer's":                {`"iss":"https://i"`, func(ev *leastwisev1.Event) bool { return ev.Principal == "jwtregistry/default/subject/https://i|s" }},
		"without iss the configured one": {`"x":1`, func(ev *leastwisev1.Event) bool {
			return ev.Principal == "jwtregistry/default/subject/https://default|s"
		}},
		"an exp with a fraction":                      {`"exp":1777629600.5`, func(ev *leastwisev1.Event) bool { return ev.Lifetime.ExpiresAt.Nanos == 5e8 }},
		"a record without exp does not live for ever": {`"iat":1777629600`, func(ev *leastwisev1.Event) bool { return !ev.Lifetime.NeverExpires }},
	} {
		ev := decodeOne(t, Options{Issuer: "https://default"}, `{"version":1,"event":"issued","jti":"j","sub":"s","time":1777629600,`+c.claims+`}`)
		if !c.check(ev) {
			t.Errorf("%s: %v", name, ev)
		}
	}
	bare := decodeOne(t, Options{}, `{"iss":"https://i","sub":"s","iat":1777629600,"jti":"j"}`)
	if !bare.Lifetime.NeverExpires {
		t.Errorf("whole claims without exp never expire: %v", bare)
	}
}

func TestAnInactiveTokenHasExpiredOrWasRevoked(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   leastwisev1.Event_Kind
	}{
		{`"active":true,"exp":1777639600`, leastwisev1.Event_OBSERVED},
		{`"active":false,"exp":1777639600`, leastwisev1.Event_REVOKED},
		{`"active":false,"exp":1777629600`, leastwisev1.Event_NOTED},
		{`"active":false`, leastwisev1.Event_REVOKED},
		{`"exp":1777639600`, leastwisev1.Event_NOTED},
		// A token that nobody verified says of itself which jti it bears: it must not revoke another.
		{`"active":false,"token":"eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJqIn0.x"`, leastwisev1.Event_NOTED},
	} {
		if ev := decodeOne(t, Options{}, `{"version":1,"event":"introspected","jti":"j","time":1777629600,`+c.fields+`}`); ev.Kind != c.want {
			t.Errorf("%s: %v, want %v", c.fields, ev.Kind, c.want)
		}
	}
}
