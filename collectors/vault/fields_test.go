package vault

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
)

func TestOfAFieldThatStandsTwiceOneCounts(t *testing.T) {
	const line = `{"type":"response","type":"request","time":"2026-11-21T06:12:00Z",` +
		`"auth":{"accessor":"hmac-sha256:0","entity_id":"lost"},` +
		`"auth":{"accessor":"hmac-sha256:1","accessor":"hmac-sha256:2","policies":["a"],"policies":["b"],"metadata":{"role":"first","role":"last"},` +
		`"policy_results":{"allowed":false},"policy_results":{"allowed":true,"allowed":false,"granting_policies":[{"name":"g","name":"h"}],"granting_policies":[]}},` +
		`"request":{"id":"0","namespace":{"path":"lost/"}},` +
		`"request":{"id":"1","id":"2","operation":"list","operation":"read","path":"secret/a","path":"ns/secret/b","namespace":{"path":"ns/","path":"other/"}}}`
	events, err := decodeOne(t, Options{}, line)
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	ev := events[0]
	if ev.RecordId != "2" || ev.Permission != "read secret/b" || ev.Principal != "" || !strings.HasSuffix(ev.Credential, "hmac-sha256:2") ||
		ev.Kind.String() != "USED" || ev.Labels["role_name"] != "first" || !slices.Equal(ev.Policies, []string{"b"}) || !slices.Equal(ev.GrantedBy, []string{"g"}) {
		t.Error(ev)
	}
}

func TestFactsThatEventsShareAreOfTheirOwnCall(t *testing.T) {
	d := NewDecoder(Options{})
	for _, c := range []struct{ auth, granted, role string }{
		{`"policies":["a"],"policy_results":{"allowed":true,"granting_policies":[{"name":"a"}]}`, "a", ""},
		{`"policies":["a"],"policy_results":{"allowed":true,"granting_policies":[{"name":"b"}]}`, "b", ""},
		{`"policies":["a"],"metadata":{"role":"r"},"policy_results":{"allowed":true,"granting_policies":[{"name":"a"}]}`, "a", "r"},
		{`"policies":["a"],"metadata":{"role_name":"s"},"policy_results":{"allowed":true,"granting_policies":[{"name":"\u0061"}]}`, "a", "s"},
		{`"metadata":{"role":"[\"a\"]"},"policy_results":{"allowed":true,"granting_policies":"b"}`, "", `["a"]`},
	} {
		text := []byte(`{"time":"2026-11-21T06:12:00Z","type":"request","auth":{"accessor":"hmac-sha256:aa",` + c.auth + `},"request":` + body + `}`)
		events, err := d.Decode(nil, source.Record{Bytes: text})
		if err != nil || len(events) != 1 || strings.Join(events[0].GrantedBy, ",") != c.granted || events[0].Labels["role_name"] != c.role ||
			strings.Contains(c.auth, `"policies"`) != (len(events[0].Policies) == 1) {
			t.Errorf("%s: %v", c.auth, events)
		}
	}
}
