package vault

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// line builds one audit line: of a caller with accessor hmac-sha256:caller, unless auth says otherwise.
type line struct {
	kind, id, path, op, auth, data, mount, response, err, token string
}

func (l line) String() string {
	def := func(text *string, fallback string) {
		if *text == "" {
			*text = fallback
		}
	}
	def(&l.kind, "response")
	def(&l.id, "id-1")
	def(&l.op, "update")
	def(&l.data, "{}")
	def(&l.mount, "token")
	def(&l.auth, `{"accessor":"hmac-sha256:caller","client_token":"hmac-sha256:inner","policies":["p"],"policy_results":{"allowed":true,"granting_policies":[{"type":""},{"name":"p"}]},"token_type":"service"}`)
	def(&l.token, `"client_token":"hmac-sha256:outer","client_token_accessor":"hmac-sha256:caller",`)
	text := `{"time":"2026-11-21T06:12:00.5Z","type":"` + l.kind + `","auth":` + l.auth + `,"request":{"id":"` + l.id + `",` + l.token + `"operation":"` + l.op + `","path":"` + l.path + `","data":` + l.data + `,"mount_type":"` + l.mount + `","mount_point":"` + strings.SplitAfter(l.path, "/")[0] + `"}`
	if l.err != "" {
		text += `,"error":"` + l.err + `"`
	}
	if l.response != "" {
		text += `,"response":` + l.response
	}
	return text + "}"
}

// outline writes events shortly: KIND credential [<parent] [o] [by actor] …
func outlineOf(events []*leastwisev1.Event) string {
	short := strings.NewReplacer("vault/default/", "", "hmac-sha256:", "", "token/", "")
	var out []string
	for _, ev := range events {
		text := ev.Kind.String() + " " + ev.Credential
		if ev.Parent != "" {
			text += " <" + ev.Parent
		}
		if ev.Child != "" {
			text += " >" + ev.Child
		}
		if ev.Orphan {
			text += " orphan"
		}
		if ev.Actor != "" {
			text += " by " + ev.Actor
		}
		for _, name := range []string{"target", "queued", "children", "how", "wrapping", "lease_prefix"} {
			if v := ev.Labels[name]; v != "" {
				text += " " + name + "=" + v
			}
		}
		if ev.Labels[labelEnds] != "" {
			text += " outlives"
		}
		out = append(out, short.Replace(text))
	}
	return strings.Join(out, "; ")
}

const made = `{"auth":{"accessor":"hmac-sha256:new","client_token":"hmac-sha256:newinner","policies":["q"],"token_ttl":60,"token_type":"service"}}`

func TestCallsBecomeEvents(t *testing.T) {
	known := func(hash string) (string, bool) {
		clear, ok := map[string]string{"hmac-sha256:lease": "db/creds/r/1", "hmac-sha256:serial": "aa:bb", "ClearTarget": "hmac-sha256:target"}[hash]
		return clear, ok
	}
	roles := func(role string) (bool, bool) { return role == "orphans", role != "unknown" }
	own := `{"token":"hmac-sha256:outer"}`
	spent := `{"accessor":"hmac-sha256:caller","policies":["p"],"policy_results":{"allowed":true},"remaining_uses":1}`
	wrapper := `{"accessor":"hmac-sha256:caller","policies":["response-wrapping"],"policy_results":{"allowed":true},"remaining_uses":1,"token_issue_time":"2026-11-21T06:11:00Z"}`
	denied := `{"accessor":"hmac-sha256:caller","policies":["p"],"policy_results":{"allowed":false}}`
	nobody := `{"policy_results":{"allowed":true},"token_type":"default"}`
	for name, c := range map[string]struct {
		line line
		want string
	}{
		"use":                     {line{path: "secret/a", response: `{}`}, "USED caller"},
		"use that fails behind":   {line{path: "secret/a", err: "boom"}, "USED caller"},
		"use, 403 by the backend": {line{path: "auth/token/lookup", err: `1 error occurred:\n\t* permission denied`}, "USED caller"},
		"denied":                  {line{path: "secret/a", auth: denied, err: `1 error occurred:\n\t* permission denied\n\n`}, "DENIED caller"},
		"unknown token":           {line{path: "secret/a", auth: "null", token: `"client_token":"hmac-sha256:x",`, err: `2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n`}, "DENIED "},
		"throttled":               {line{path: "secret/a", auth: "null", err: "request path \\\"secret/a\\\": rate limit quota exceeded"}, "NOTED caller"},
		"without a token":         {line{path: "sys/x", auth: nobody, token: " "}, "NOTED "},
		"batch token":             {line{path: "secret/a", auth: `{"client_token":"hmac-sha256:b","token_type":"batch","policy_results":{"allowed":true}}`, token: `"client_token":"hmac-sha256:b",`}, "USED "},
		"old Vault, no results":   {line{path: "secret/a", auth: `{"accessor":"hmac-sha256:caller","policies":["p"]}`}, "USED caller"},
		"last use":                {line{path: "secret/a", auth: spent}, "USED caller; REVOKED caller how=last use"},

		"create":                {line{path: "auth/token/create", response: made}, "USED caller; ISSUED new <caller by caller; LINKED caller >new"},
		"create without parent": {line{path: "auth/token/create", data: `{"no_parent":true}`, response: made}, "USED caller; ISSUED new orphan by caller"},
		"create, flag hashed":   {line{path: "auth/token/create", data: `{"no_parent":"hmac-sha256:x"}`, response: made}, "USED caller; ISSUED new by caller"},
		"create orphan":         {line{path: "auth/token/create-orphan", response: made}, "USED caller; ISSUED new orphan by caller"},
		"role of orphans":       {line{path: "auth/token/create/orphans", response: made}, "USED caller; ISSUED new orphan by caller"},
		"role of children":      {line{path: "auth/token/create/children", data: `{"no_parent":true}`, response: made}, "USED caller; ISSUED new <caller by caller; LINKED caller >new"},
		"role not known":        {line{path: "auth/token/create/unknown", response: made}, "USED caller; ISSUED new by caller"},
		"create batch":          {line{path: "auth/token/create", response: `{"auth":{"client_token":"hmac-sha256:b","token_type":"batch"}}`}, "USED caller"},
		"login":                 {line{path: "auth/approle/login", auth: `{"accessor":"hmac-sha256:new"}`, token: " ", response: made}, "NOTED ; ISSUED new orphan"},
		"login with a token":    {line{path: "auth/approle/login", auth: `{"accessor":"hmac-sha256:new","client_token":"hmac-sha256:outer"}`, response: made}, "NOTED ; ISSUED new orphan"},
		"login, other path":     {line{path: "auth/x/special", auth: `{"accessor":"hmac-sha256:new"}`, token: " ", response: made}, "NOTED ; ISSUED new orphan"},

		"renew itself":            {line{path: "auth/token/renew-self", response: strings.ReplaceAll(made, ":new\"", ":caller\"")}, "NOTED caller; RENEWED caller"},
		"renew itself, old Vault": {line{path: "auth/token/renew-self", auth: `{"accessor":"hmac-sha256:caller"}`, response: strings.ReplaceAll(made, ":new\"", ":caller\"")}, "NOTED caller; RENEWED caller"},
		"renew own token":         {line{path: "auth/token/renew", data: own, response: strings.ReplaceAll(made, ":new\"", ":caller\"")}, "NOTED caller; RENEWED caller"},
		"renew another":           {line{path: "auth/token/renew-accessor", data: `{"accessor":"hmac-sha256:new"}`, response: made}, "USED caller; RENEWED new by caller"},
		"renew denied":            {line{path: "auth/token/renew-self", auth: denied, err: "permission denied"}, "DENIED caller"},
		"revoke itself":           {line{path: "auth/token/revoke-self"}, "NOTED caller; REVOKED caller"},
		"revoke own token":        {line{path: "auth/token/revoke", data: own}, "NOTED caller; REVOKED caller"},
		"revoke, request alone":   {line{kind: "request", path: "auth/token/revoke-self"}, "NOTED caller"},
		"revoke fails":            {line{path: "auth/token/revoke-self", err: "boom"}, "NOTED caller"},
		"revoke accessor":         {line{path: "auth/token/revoke-accessor", data: `{"accessor":"hmac-sha256:target"}`}, "USED caller; REVOKED target by caller"},
		"revoke accessor, clear":  {line{path: "auth/token/revoke-accessor", data: `{"accessor":"ClearTarget"}`}, "USED caller; REVOKED target by caller"},
		"revoke unknown token":    {line{path: "auth/token/revoke", data: `{"token":"hmac-sha256:t"}`}, "USED caller; REVOKED  by caller target=t"},
		"revoke, leave children":  {line{path: "auth/token/revoke-orphan", data: `{"token":"hmac-sha256:t"}`}, "USED caller; REVOKED  by caller target=t children=orphaned"},
		"look itself up":          {line{path: "auth/token/lookup-self", op: "read", response: `{"data":{"orphan":true,"creation_time":1795247166}}`}, "USED caller; OBSERVED caller orphan"},
		"look another up":         {line{path: "auth/token/lookup-accessor", response: `{"data":{"accessor":"hmac-sha256:target"}}`}, "USED caller; OBSERVED target by caller"},

		"lease":                 {line{path: "db/creds/r", op: "read", mount: "database", response: `{"secret":{"lease_id":"db/creds/r/1"}}`}, "USED caller; ISSUED lease/db/creds/r/1 <caller by caller; LINKED caller >lease/db/creds/r/1"},
		"lease renewed":         {line{path: "sys/leases/renew", mount: "system", response: `{"secret":{"lease_id":"db/creds/r/1"}}`}, "USED caller; RENEWED lease/db/creds/r/1 by caller"},
		"lease revoked, hashed": {line{path: "sys/leases/revoke", mount: "system", data: `{"lease_id":"hmac-sha256:lease","sync":true}`}, "USED caller; REVOKED lease/db/creds/r/1 by caller"},
		"lease revoked, queued": {line{path: "sys/leases/revoke/db/creds/r/1", mount: "system"}, "USED caller; REVOKED lease/db/creds/r/1 by caller queued=true"},
		"lease not known":       {line{path: "sys/leases/revoke", mount: "system", data: `{"lease_id":"hmac-sha256:other","sync":true}`}, "USED caller; REVOKED  by caller target=other"},
		"leases by prefix":      {line{path: "sys/leases/revoke-prefix/db/creds", mount: "system"}, "USED caller; REVOKED  by caller lease_prefix=db/creds"},
		"forced":                {line{path: "sys/leases/revoke-force/db/creds", mount: "system"}, "USED caller"},
		"certificate":           {line{path: "pki/issue/r", mount: "pki", response: `{"data":{"serial_number":"aa:bb","expiration":1795414328}}`}, "USED caller; ISSUED certificate/aa:bb <caller by caller outlives; LINKED caller >certificate/aa:bb outlives"},
		"certificate, hashed":   {line{path: "pki/issue/r", mount: "pki", response: `{"data":{"serial_number":"hmac-sha256:s"}}`}, "USED caller"},
		"certificate, leased":   {line{path: "pki/issue/r", mount: "pki", response: `{"data":{"serial_number":"aa:bb"},"secret":{"lease_id":"pki/issue/r/1"}}`}, "USED caller; ISSUED lease/pki/issue/r/1 <caller by caller; LINKED caller >lease/pki/issue/r/1; ISSUED certificate/aa:bb <caller by caller; LINKED caller >certificate/aa:bb"},
		"certificate read":      {line{path: "pki/cert/aa:bb", op: "read", mount: "pki", response: `{"data":{"serial_number":"aa:bb"}}`}, "USED caller"},
		"certificate revoked":   {line{path: "pki/revoke", mount: "pki", data: `{"serial_number":"hmac-sha256:serial"}`}, "USED caller; REVOKED certificate/aa:bb by caller"},

		"wrapped token":         {line{path: "auth/token/create", response: `{"wrap_info":{"accessor":"hmac-sha256:w","wrapped_accessor":"hmac-sha256:new","ttl":60}}`}, "USED caller; ISSUED w orphan by caller wrapping=true; ISSUED new <caller by caller; LINKED caller >new"},
		"wrapped secret":        {line{path: "secret/a", op: "read", response: `{"wrap_info":{"accessor":"hmac-sha256:w","ttl":60}}`}, "USED caller; ISSUED w orphan by caller wrapping=true"},
		"wrapped login":         {line{path: "auth/approle/login", auth: `{"accessor":"hmac-sha256:new","token_ttl":60}`, token: " ", response: `{"wrap_info":{"accessor":"hmac-sha256:w","wrapped_accessor":"hmac-sha256:new","ttl":60}}`}, "NOTED ; ISSUED w orphan wrapping=true; ISSUED new orphan"},
		"unwrapped":             {line{path: "sys/wrapping/unwrap", auth: wrapper, response: made}, "USED caller; OBSERVED new; REVOKED caller how=last use"},
		"unwrapped by somebody": {line{path: "sys/wrapping/unwrap", data: `{"token":"hmac-sha256:w"}`, response: made}, "USED caller; OBSERVED new; REVOKED  by caller target=w"},
	} {
		events, err := decodeOne(t, Options{Resolve: known, RoleOrphan: roles}, c.line.String())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := outlineOf(events); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		ids := map[string]bool{}
		for _, ev := range events {
			ids[string(ev.Id)] = true
		}
		if len(ids) != len(events) {
			t.Errorf("%s: two events have one id", name)
		}
	}
}

func TestTokenRevokedByItsNameIsRecognisedInEitherOrder(t *testing.T) {
	use := line{id: "use", path: "secret/a", token: `"client_token":"hmac-sha256:t","client_token_accessor":"hmac-sha256:target",`, auth: `{"accessor":"hmac-sha256:target","policy_results":{"allowed":true}}`}.String()
	revoke := line{id: "revoke", path: "auth/token/revoke", data: `{"token":"hmac-sha256:t"}`}.String()
	for _, order := range [][]string{{use, revoke}, {revoke, use}} {
		d := NewDecoder(Options{})
		found := map[string]*leastwisev1.Event{}
		for _, text := range order {
			events, err := d.Decode(nil, source.Record{Bytes: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range events {
				if was := found[string(ev.Id)]; was != nil {
					ev = Prefer(was, ev)
				}
				found[string(ev.Id)] = ev
			}
		}
		hits := 0
		for _, ev := range found {
			if ev.Kind == leastwisev1.Event_REVOKED && ev.Credential == "vault/default/token/hmac-sha256:target" && ev.Labels["target"] == "" {
				hits++
			}
		}
		if hits != 1 || len(found) != 3 {
			t.Errorf("%d events, %d times revoked", len(found), hits)
		}
	}
}

func TestPairingRepeatsACallOnlyIfItFailed(t *testing.T) {
	d := NewDecoder(Options{Pairing: true})
	count := func(l line) int {
		events, err := d.Decode(nil, source.Record{Bytes: []byte(l.String())})
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}
	if n := count(line{kind: "request", path: "secret/a"}); n != 1 {
		t.Errorf("request: %d events", n)
	}
	if n := count(line{path: "secret/a"}); n != 0 {
		t.Errorf("its response: %d events", n)
	}
	if n := count(line{path: "secret/a", err: "boom"}); n != 1 {
		t.Errorf("its failure: %d events", n)
	}
	if n := count(line{id: "other", path: "secret/a"}); n != 1 {
		t.Errorf("a response alone: %d events", n)
	}
	for i := range 50_000 { // far more than are remembered: then the response tells the call again
		count(line{kind: "request", path: "secret/a", id: fmt.Sprint("r", i)})
	}
	if n := count(line{id: "id-1", path: "secret/a"}); n != 1 {
		t.Errorf("a response whose request is long forgotten: %d events", n)
	}
}

func TestHelpWithoutAnIDCountsOnce(t *testing.T) {
	events := 0
	for _, kind := range []string{"request", "response"} {
		text := strings.Replace(line{kind: kind, path: "sys/mounts", op: "help"}.String(), `"id":"id-1",`, "", 1)
		got, err := decodeOne(t, Options{}, text)
		if err != nil {
			t.Fatal(err)
		}
		events += len(got)
	}
	if events != 1 {
		t.Errorf("%d events", events)
	}
}

func TestWhatACallTellsOfItsTokensLife(t *testing.T) {
	for name, c := range map[string]struct {
		auth            string
		issued, expires string
		never           bool
	}{
		"young":            {`"token_issue_time":"2026-11-21T06:00:00Z","token_ttl":3600`, "2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z", false},
		"other zone":       {`"token_issue_time":"2026-11-21T08:00:00+02:00","token_ttl":3600`, "2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z", false},
		"renewed before":   {`"token_issue_time":"2026-11-20T06:00:00Z","token_ttl":3600`, "2026-11-20T06:00:00Z", "", false},
		"root":             {`"token_issue_time":"2026-11-20T06:00:00Z","policies":["root"]`, "2026-11-20T06:00:00Z", "", true},
		"no ttl, not root": {`"token_issue_time":"2026-11-20T06:00:00Z"`, "2026-11-20T06:00:00Z", "", false},
		"absurd ttl":       {`"token_issue_time":"2026-11-21T06:00:00Z","token_ttl":9223372036854775807`, "2026-11-21T06:00:00Z", "", false},
		"no time":          {`"token_issue_time":"yesterday","token_ttl":3600`, "", "", false},
	} {
		events, err := decodeOne(t, Options{}, line{path: "secret/a", auth: `{"accessor":"hmac-sha256:caller",` + c.auth + `}`}.String())
		if err != nil {
			t.Fatal(err)
		}
		life := events[0].GetLifetime()
		format := func(set bool, text string) string {
			if !set {
				return ""
			}
			return text
		}
		issued := format(life.GetIssuedAt() != nil, life.GetIssuedAt().AsTime().Format("2006-01-02T15:04:05Z07:00"))
		expires := format(life.GetExpiresAt() != nil, life.GetExpiresAt().AsTime().Format("2006-01-02T15:04:05Z07:00"))
		if issued != c.issued || expires != c.expires || life.GetNeverExpires() != c.never {
			t.Errorf("%s: issued %s, expires %s, never %t", name, issued, expires, life.GetNeverExpires())
		}
	}
}
