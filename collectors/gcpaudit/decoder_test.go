package gcpaudit

import (
	"bytes"
	"encoding/hex"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// told is what events say of one key, each id once, the first reading of it.
type told struct {
	truth
	never, issuedAt bool
}

func tell(t *testing.T, entries []string) map[string]*told {
	t.Helper()
	d, ids, out := NewDecoder(Options{}), map[string]bool{}, map[string]*told{}
	for _, entry := range entries {
		events, err := d.Decode(nil, source.Record{Bytes: []byte(entry), ObservedAt: seen})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			id, ok := strings.CutPrefix(ev.Credential, "gcpaudit/default/service_account_key/")
			if ids[string(ev.Id)] || !ok {
				continue
			}
			ids[string(ev.Id)] = true
			k := out[id]
			if k == nil {
				k = &told{truth: truth{permissions: map[string]bool{}}}
				out[id] = k
			}
			switch ev.Kind {
			case leastwisev1.Event_USED:
				k.uses++
			case leastwisev1.Event_DENIED:
				k.denied++
				k.permissions[ev.Permission] = true
			case leastwisev1.Event_REVOKED:
				k.revoked = true
			case leastwisev1.Event_ISSUED:
				k.issued = true
				k.never = ev.Lifetime.GetNeverExpires() && ev.Lifetime.GetExpiresAt() == nil
				k.issuedAt = ev.Lifetime.GetIssuedAt() != nil
			}
		}
	}
	return out
}

func TestHistoryIsToldAsItHappenedInWhateverOrder(t *testing.T) {
	entries, want := history(4, 40)
	for round := range 20 {
		got := tell(t, entries)
		if len(got) != len(want) {
			t.Fatalf("round %d: %d keys, want %d", round, len(got), len(want))
		}
		for key, w := range want {
			g := got[key]
			if g == nil || g.uses != w.uses || g.denied != w.denied || len(g.permissions) != len(w.permissions) || g.revoked != w.revoked ||
				g.issued != w.issued || g.never != w.issued || g.issuedAt != w.issued {
				t.Fatalf("round %d, key %s: %+v, want %+v", round, key, g, w)
			}
		}
		rng := rand.New(rand.NewSource(int64(round)))
		entries = append(entries, entries[rng.Intn(len(entries))])
		rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
}

func TestWhatACallWas(t *testing.T) {
	op := func(flags string) string {
		return `,"operation":{"id":"op-1","producer":"compute.googleapis.com"` + flags + `}`
	}
	for name, c := range map[string]struct {
		call    call
		kind    leastwisev1.Event_Kind
		outcome leastwisev1.Outcome
		failed  string
	}{
		"allowed":                            {call{}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_SUCCESS, ""},
		"allowed, not found":                 {call{code: 5}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_FAILURE, "not found"},
		"refused":                            {call{refused: true, code: 7}, leastwisev1.Event_DENIED, leastwisev1.Outcome_OUTCOME_FAILURE, "permission denied"},
		"granted by IAM, refused elsewhere":  {call{code: 7}, leastwisev1.Event_DENIED, leastwisev1.Outcome_OUTCOME_FAILURE, "permission denied"},
		"refused by a service perimeter":     {call{bare: true, code: 7, log: "policy"}, leastwisev1.Event_DENIED, leastwisev1.Outcome_OUTCOME_FAILURE, "vpc service controls"},
		"not granted, not confirmed":         {call{refused: true}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_UNSPECIFIED, ""},
		"not granted, not found":             {call{refused: true, code: 5}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_FAILURE, "not found"},
		"throttled":                          {call{code: 8}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_FAILURE, "throttled"},
		"unauthenticated":                    {call{code: 16}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_FAILURE, "unauthenticated"},
		"nobody says whether allowed":        {call{bare: true}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_UNSPECIFIED, ""},
		"nobody says whether allowed, fails": {call{bare: true, code: 3}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_FAILURE, "invalid argument"},
		"a code nobody knows":                {call{code: 4711}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_FAILURE, "other"},
		"a negative code":                    {call{code: -1}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_FAILURE, "other"},
		"an operation's first entry":         {call{entry: op(`,"first":true`)}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_SUCCESS, ""},
		"an operation's only entry":          {call{entry: op(`,"first":true,"last":true`)}, leastwisev1.Event_USED, leastwisev1.Outcome_OUTCOME_SUCCESS, ""},
		"an operation's last entry":          {call{entry: op(`,"last":true`)}, leastwisev1.Event_NOTED, leastwisev1.Outcome_OUTCOME_SUCCESS, ""},
		"an operation refused at its end":    {call{refused: true, code: 7, entry: op(`,"last":true`)}, leastwisev1.Event_DENIED, leastwisev1.Outcome_OUTCOME_FAILURE, "permission denied"},
	} {
		events := decode(t, c.call.String())
		if len(events) != 1 || events[0].Kind != c.kind || events[0].Outcome != c.outcome || events[0].Error != c.failed {
			t.Errorf("%s: %v", name, events)
		}
	}
}

func TestTwoEntriesOfAnOperationAreOneRecord(t *testing.T) {
	op := func(flags string) string { return `,"operation":{"id":"op-1","producer":"p"` + flags + `}` }
	first := decode(t, call{id: "1", entry: op(`,"first":true`)}.String())[0]
	last := decode(t, call{id: "2", entry: op(`,"last":true`)}.String())[0]
	inside := decode(t, call{id: "3", entry: op("")}.String())[0]
	if first.RecordId != last.RecordId || first.Index == last.Index {
		t.Errorf("first %s %d, last %s %d", first.RecordId, first.Index, last.RecordId, last.Index)
	}
	if inside.RecordId == first.RecordId || inside.Kind != leastwisev1.Event_USED {
		t.Errorf("an entry that only belongs to an operation is a call of its own: %v", inside)
	}
}

func TestRecordIDIsTheSameFromEveryExport(t *testing.T) {
	api := `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insertId":"i1","timestamp":"2022-08-22T02:12:57.630Z","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","serviceName":"iam.googleapis.com","methodName":"m","status":{"code":5},"authenticationInfo":{"principalEmail":"a@b.c"},"authorizationInfo":[{"permission":"x.y.z","granted":true}],"operation":null}}`
	query := `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insertId":"i1","timestamp":"2022-08-22 02:12:57.630000 UTC","protopayload_auditlog":{"serviceName":"iam.googleapis.com","methodName":"m","status":{"code":"5","message":null},"authenticationInfo":{"principalEmail":"a@b.c","authoritySelector":null},"authorizationInfo":[{"permission":"x.y.z","granted":"true","resource":null}]},"operation":null,"httpRequest":null}`
	names := `{"log_name":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insert_id":"i1","timestamp":"2022-08-22T02:12:57.63+00:00","proto_payload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","service_name":"iam.googleapis.com","method_name":"m","status":{"code":5},"authentication_info":{"principal_email":"a@b.c"},"authorization_info":[{"permission":"x.y.z","granted":true}]}}`
	want := decode(t, api)
	for _, record := range []string{query, names} {
		if got := decode(t, record); len(got) != 1 || got[0].String() != want[0].String() {
			t.Errorf("%v\nwant %v", got, want)
		}
	}
	if want[0].Principal != "gcpaudit/default/principal/user:a@b.c" || want[0].Permission != "x.y.z" || want[0].Kind != leastwisev1.Event_USED {
		t.Errorf("%v", want[0])
	}
}

func TestBigQueryTextFieldsAreRead(t *testing.T) {
	record := `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insertId":"i1","timestamp":"2022-08-22T02:12:57.630Z","protopayload_auditlog":{"serviceName":"iam.googleapis.com","methodName":"google.iam.admin.v1.CreateServiceAccountKey","authenticationInfo":{"principalEmail":"a@b.c"},"authorizationInfo":[{"permission":"iam.serviceAccountKeys.create","granted":true}],"responseJson":"{\"name\":\"projects/p/serviceAccounts/s@p.iam.gserviceaccount.com/keys/k1\",\"valid_before_time\":{\"seconds\":\"1800000000\"}}","requestJson":"not json"}}`
	ev := kind(decode(t, record), leastwisev1.Event_ISSUED)
	if ev == nil || ev.Credential != "gcpaudit/default/service_account_key/k1" || ev.Lifetime.ExpiresAt.GetSeconds() != 1800000000 {
		t.Errorf("%v", ev)
	}
}

func TestSampleIsReadWhole(t *testing.T) {
	count := map[leastwisev1.Event_Kind]int{}
	for _, record := range sampleRecords(t) {
		if !Recognise(record) {
			t.Errorf("not recognised: %.200s", record)
		}
		for _, ev := range decode(t, string(record)) {
			count[ev.Kind]++
		}
	}
	// 3 entries of other logs; 4 without authorizationInfo and 3 binding changes are noted; one VPC Service Controls denial.
	if count[leastwisev1.Event_UNKNOWN] != 3 || count[leastwisev1.Event_DENIED] != 1 || count[leastwisev1.Event_NOTED] != 7 || count[leastwisev1.Event_USED] != 10 {
		t.Errorf("%v", count)
	}
}

func TestKeyLifeIsToldUnderTheKey(t *testing.T) {
	name := "projects/acme-prod/serviceAccounts/" + account + "/keys/k1"
	const credential, owner = "gcpaudit/default/service_account_key/k1", "gcpaudit/default/principal/serviceAccount:" + account
	create := call{method: "google.iam.admin.v1.CreateServiceAccountKey", service: "iam.googleapis.com", who: "root@acme.example", key: "admin"}
	for expiry, want := range map[string]string{
		`"valid_before_time":{"seconds":253402300799}`:   "never",
		`"valid_before_time":{"seconds":"253402300799"}`: "never",
		`"validBeforeTime":"9999-12-31T23:59:59Z"`:       "never",
		`"valid_before_time":{"seconds":1800000000}`:     "2027-01-15T08:00:00Z",
		`"validBeforeTime":"2027-01-15T08:00:00Z"`:       "2027-01-15T08:00:00Z",
		`"x":1`:                        "",
		`"validBeforeTime":"whenever"`: "",
	} {
		create.extra = `,"response":{"name":"` + name + `",` + expiry + `}`
		ev := kind(decode(t, create.String()), leastwisev1.Event_ISSUED)
		got := ""
		switch {
		case ev.Lifetime.NeverExpires:
			got = "never"
		case ev.Lifetime.ExpiresAt != nil:
			got = ev.Lifetime.ExpiresAt.AsTime().Format("2006-01-02T15:04:05Z")
		}
		if got != want || ev.Credential != credential || ev.Principal != owner || ev.Actor != "gcpaudit/default/service_account_key/admin" ||
			ev.Labels["created_by"] != "user:root@acme.example" || ev.Lifetime.IssuedAt == nil {
			t.Errorf("%s: %s: %v", expiry, got, ev)
		}
	}
	create.code, create.refused = 7, true
	if ev := kind(decode(t, create.String()), leastwisev1.Event_ISSUED); ev != nil {
		t.Errorf("a key was made although the call was refused: %v", ev)
	}
	remove := call{method: "google.iam.admin.v1.DeleteServiceAccountKey", service: "iam.googleapis.com", extra: `,"request":{"name":"` + name + `"},"response":{}`}
	if ev := kind(decode(t, remove.String()), leastwisev1.Event_REVOKED); ev == nil || ev.Credential != credential {
		t.Errorf("%v", ev)
	}
	own := remove
	own.key = "k1"
	if events := decode(t, own.String()); kind(events, leastwisev1.Event_USED) != nil || kind(events, leastwisev1.Event_REVOKED).Actor != "" {
		t.Errorf("a key's own end is no use: %v", events)
	}
	remove.bare = true
	remove.extra = `,"request":{"name":"` + name + `"}`
	if ev := kind(decode(t, remove.String()), leastwisev1.Event_REVOKED); ev != nil {
		t.Errorf("revoked although nobody says that it went through: %v", ev)
	}
	disable := call{method: "google.iam.admin.v1.DisableServiceAccountKey", service: "iam.googleapis.com", extra: `,"request":{"name":"` + name + `"}`}
	if ev := kind(decode(t, disable.String()), leastwisev1.Event_NOTED); ev == nil || ev.Credential != credential || ev.Labels["key_state"] != "disabled" {
		t.Errorf("%v", ev)
	}
}

func TestAccountNamedByNumberIsFoundInTheResource(t *testing.T) {
	c := call{method: "google.iam.admin.v1.CreateServiceAccountKey", extra: `,"response":{"name":"projects/p/serviceAccounts/1234/keys/k"}`}
	record := strings.Replace(c.String(), `"labels":{`, `"labels":{"email_id":"Agent@p.iam.gserviceaccount.com",`, 1)
	if ev := kind(decode(t, record), leastwisev1.Event_ISSUED); ev.Principal != "gcpaudit/default/principal/serviceAccount:agent@p.iam.gserviceaccount.com" {
		t.Errorf("%v", ev)
	}
}

func TestMintedTokensAreInferred(t *testing.T) {
	for method, want := range map[string]struct {
		prefix, kind string
		seconds      int64
	}{
		"GenerateAccessToken": {"access_token", "access_token", 600},
		"google.iam.credentials.v1.IAMCredentials.GenerateIdToken": {"id_token", "id_token", 3600},
		"SignJwt":  {"signed_jwt", "signed_jwt", 0},
		"SignBlob": {"signed_blob", "signed_blob", 0},
	} {
		c := call{method: method, service: "iamcredentials.googleapis.com", key: "k1",
			extra: `,"request":{"name":"projects/-/serviceAccounts/target@p.iam.gserviceaccount.com","scope":["https://www.googleapis.com/auth/cloud-platform","https://www.googleapis.com/auth/pubsub"],"lifetime":{"seconds":600}}`}
		events := decode(t, c.String())
		ev := kind(events, leastwisev1.Event_ISSUED)
		if ev == nil || kind(events, leastwisev1.Event_USED) == nil {
			t.Fatalf("%s: %v", method, events)
		}
		var lasts int64
		if end := ev.Lifetime.ExpiresAt; end != nil {
			lasts = end.Seconds - ev.OccurredAt.Seconds
		}
		if ev.Credential != "gcpaudit/default/"+want.prefix+"/"+ev.RecordId || ev.Parent != "gcpaudit/default/service_account_key/k1" ||
			ev.Principal != "gcpaudit/default/principal/serviceAccount:target@p.iam.gserviceaccount.com" || lasts != want.seconds ||
			ev.Labels["confidence"] != "inferred" || ev.Labels["ends_with_parent"] != "false" || ev.Labels["token_kind"] != want.kind ||
			ev.Labels["scopes"] != "cloud-platform pubsub" {
			t.Errorf("%s: lasts %d: %v", method, lasts, ev)
		}
		c.code, c.refused = 7, true
		if ev := kind(decode(t, c.String()), leastwisev1.Event_ISSUED); ev != nil {
			t.Errorf("%s: refused, yet issued: %v", method, ev)
		}
	}
}

func TestFederatedPrincipalsAndChainsAreTold(t *testing.T) {
	exchange := `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Fdata_access","timestamp":"2026-10-02T09:00:00Z","insertId":"1","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalSubject":"b6112abb-5791"},"metadata":{"mapped_principal":"principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/azure/subject/a1234"},"methodName":"google.identity.sts.v1.SecurityTokenService.ExchangeToken","resourceName":"projects/123/locations/global/workloadIdentityPools/azure/providers/entra"}}`
	ev := kind(decode(t, exchange), leastwisev1.Event_ISSUED)
	if ev == nil || ev.Principal != "gcpaudit/default/principal/principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/azure/subject/a1234" ||
		ev.Labels["web_identity_subject"] != "b6112abb-5791" || ev.Labels["web_identity_provider"] != "projects/123/locations/global/workloadIdentityPools/azure/providers/entra" {
		t.Errorf("%v", ev)
	}
	chain := call{}.String()
	for links, want := range map[string]map[string]string{
		`[{"principalSubject":"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/subject/arn:aws:iam::1:role/r"},{"firstPartyPrincipal":{"principalEmail":"Mid@p.iam.gserviceaccount.com"}}]`: {
			"delegation.1":          "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/subject/arn:aws:iam::1:role/r",
			"delegation.2":          "serviceAccount:mid@p.iam.gserviceaccount.com",
			"actor_subject":         "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/subject/arn:aws:iam::1:role/r",
			"web_identity_provider": "projects/1/locations/global/workloadIdentityPools/aws", "web_identity_subject": "arn:aws:iam::1:role/r"},
		`[{"principalSubject":"serviceAccount:p.svc.id.goog[ns/agent]"}]`: {
			"delegation.1": "serviceAccount:p.svc.id.goog[ns/agent]", "web_identity_provider": "p.svc.id.goog", "web_identity_subject": "ns/agent"},
		`[{}]`:      {"delegation.1": "serviceAccount:through@p.iam.gserviceaccount.com", "actor_subject": ""},
		`[null,3]`:  {"delegation.1": "serviceAccount:through@p.iam.gserviceaccount.com"},
		`"nothing"`: {"delegation.1": ""},
	} {
		record := strings.Replace(chain, `"principalEmail"`, `"serviceAccountDelegationInfo":`+links+`,"principalEmail"`, 1)
		record = strings.Replace(record, `"status"`, `"metadata":{"identityDelegationChain":["projects/-/serviceAccounts/through@p.iam.gserviceaccount.com"]},"status"`, 1)
		ev := decode(t, record)[0]
		for name, value := range want {
			if ev.Labels[name] != value {
				t.Errorf("%s: %s is %q, want %q: %v", links, name, ev.Labels[name], value, ev.Labels)
			}
		}
	}
}

func TestPrincipalIsWrittenAsPoliciesDo(t *testing.T) {
	for text, want := range map[string]string{
		"Agent@p.iam.gserviceaccount.com":            "serviceAccount:agent@p.iam.gserviceaccount.com",
		"1-compute@developer.gserviceaccount.com":    "serviceAccount:1-compute@developer.gserviceaccount.com",
		"Ann@Example.com":                            "user:ann@example.com",
		"user:Ann@Example.com":                       "user:ann@example.com",
		"serviceAccount:A@p.iam.gserviceaccount.com": "serviceAccount:a@p.iam.gserviceaccount.com",
		"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/P/subject/S": "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/P/subject/S",
		"principal://iam.googleapis.com/x/subject/Y@Z":                                       "principal://iam.googleapis.com/x/subject/Y@Z",
		"p.svc.id.goog[ns/sa]":          "serviceAccount:p.svc.id.goog[ns/sa]",
		"system:serviceaccount:ns:name": "system:serviceaccount:ns:name",
		"allUsers":                      "allUsers",
		"deleted:user:a@b.c?uid=1":      "deleted:user:a@b.c?uid=1",
		"b6112abb-5791":                 "b6112abb-5791",
		"ya29.secretsecret":             blanked,
	} {
		if got := member([]byte(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestKeyBelongsToItsAccountAlsoWhenItActsAsAnother(t *testing.T) {
	ev := decode(t, call{key: "k1", who: "other@acme-prod.iam.gserviceaccount.com"}.String())[0]
	if ev.Principal != "gcpaudit/default/principal/serviceAccount:"+account || ev.Labels["acts_as"] != "serviceAccount:other@acme-prod.iam.gserviceaccount.com" {
		t.Errorf("%v", ev)
	}
}

func TestAllPermissionsOfACallAreTold(t *testing.T) {
	record := strings.Replace(call{}.String(), `"authorizationInfo":[`, `"authorizationInfo":[{"permission":"a.b.optional"},{"permission":"a.b.c","granted":true},{"permission":"a.b.c","granted":true},{},`, 1)
	ev := decode(t, record)[0]
	if ev.Kind != leastwisev1.Event_USED || ev.Permission != "a.b.c" || ev.Labels["permission.2"] != "storage.objects.get" || ev.Labels["permission.3"] != "" {
		t.Errorf("%v", ev)
	}
	record = strings.Replace(call{code: 7}.String(), `"authorizationInfo":[`, `"authorizationInfo":[{"permission":"a.b.c"},{"permission":"a.b.d"},`, 1)
	ev = decode(t, record)[0]
	if ev.Kind != leastwisev1.Event_DENIED || ev.Permission != "a.b.c" || ev.Labels["permission.2"] != "a.b.d" || ev.Labels["permission.3"] != "" {
		t.Errorf("%v", ev)
	}
}

func TestSharedLabelsAreNotChangedByLaterRecords(t *testing.T) {
	d := NewDecoder(Options{})
	dec := func(record string) *leastwisev1.Event {
		events, err := d.Decode(nil, source.Record{Bytes: []byte(record)})
		if err != nil {
			t.Fatal(err)
		}
		return events[0]
	}
	first := dec(call{id: "1"}.String())
	before := len(first.Labels)
	dec(strings.Replace(call{id: "2"}.String(), `"principalEmail"`, `"serviceAccountDelegationInfo":[{"principalSubject":"user:a@b.c"}],"principalEmail"`, 1))
	if len(first.Labels) != before {
		t.Errorf("%v", first.Labels)
	}
}

func TestUsedDecoderSaysTheSameAsAFreshOne(t *testing.T) {
	entries, _ := history(9, 30)
	for _, record := range sampleRecords(t) {
		entries = append(entries, string(record))
	}
	used := NewDecoder(Options{})
	rand.New(rand.NewSource(1)).Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, entry := range entries {
		text := []byte(entry)
		events, err := used.Decode(nil, source.Record{Bytes: text, ObservedAt: seen, Position: "a:1"})
		if err != nil {
			t.Fatal(err)
		}
		clear(text)
		fresh := decode(t, entry)
		if !slices.EqualFunc(events, fresh, func(a, b *leastwisev1.Event) bool { return a.String() == b.String() }) {
			t.Fatalf("%v\nfresh %v", events, fresh)
		}
	}
}

func TestIDsAreFixedForEver(t *testing.T) {
	ev := decode(t, call{}.String())[0]
	if got := hex.EncodeToString(ev.Id); got != "" && ev.RecordId != "projects/acme-prod/logs/cloudaudit.googleapis.com%2Fdata_access/2026-10-02T09:00:01.234567Z/abc123" {
		t.Errorf("%s %s", got, ev.RecordId)
	}
	long := decode(t, call{id: strings.Repeat("x", 2000)}.String())[0]
	if !strings.HasPrefix(long.RecordId, "sha256:") {
		t.Errorf("%.80s", long.RecordId)
	}
	bare := `{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","methodName":"m"}, "timestamp":"2026-10-02T09:00:00Z"}`
	compact := bytes.ReplaceAll([]byte(bare), []byte(" "), nil)
	if a, b := decode(t, bare)[0], decode(t, string(compact))[0]; a.RecordId != b.RecordId || !strings.Contains(a.RecordId, "sha256:") {
		t.Errorf("%s, %s", a.RecordId, b.RecordId)
	}
}
