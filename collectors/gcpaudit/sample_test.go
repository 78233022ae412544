package gcpaudit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// seen is when records are read in tests.
var seen = time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)

func decode(t testing.TB, record string) []*leastwisev1.Event {
	t.Helper()
	events, err := decodeOne(record)
	if err != nil {
		t.Fatalf("%v: %.300s", err, record)
	}
	return events
}

func decodeOne(record string) ([]*leastwisev1.Event, error) {
	return NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(record), Position: "a:1", ObservedAt: seen})
}

// kind of a record's events: the first one of a kind, nil if there is none.
func kind(events []*leastwisev1.Event, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	for _, ev := range events {
		if ev.Kind == kind {
			return ev
		}
	}
	return nil
}

const account = "agent@acme-prod.iam.gserviceaccount.com"

// call is a log entry that tests change.
type call struct {
	method, service, key, who, permission, log, id string
	at                                             string
	refused                                        bool // the permission was not granted
	bare                                           bool // no authorizationInfo
	code                                           int
	extra                                          string // further fields of the payload, with a comma before
	entry                                          string // further fields of the entry, with a comma before
}

func (c call) String() string {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	who := or(c.who, account)
	subject := "user:" + who
	if strings.HasSuffix(who, "gserviceaccount.com") {
		subject = "serviceAccount:" + who
	}
	auth := fmt.Sprintf(`{"principalEmail":%q,"principalSubject":%q`, who, subject)
	if c.key != "" {
		auth += fmt.Sprintf(`,"serviceAccountKeyName":"//iam.googleapis.com/projects/acme-prod/serviceAccounts/%s/keys/%s"`, account, c.key)
	}
	auth += "}"
	checks := fmt.Sprintf(`,"authorizationInfo":[{"resource":"projects/_/buckets/b","permission":%q%s,"resourceAttributes":{}}]`,
		or(c.permission, "storage.objects.get"), map[bool]string{true: "", false: `,"granted":true`}[c.refused])
	if c.bare {
		checks = ""
	}
	status := "{}"
	if c.code != 0 {
		status = fmt.Sprintf(`{"code":%d,"message":"CANARY-message"}`, c.code)
	}
	return fmt.Sprintf(`{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","serviceName":%q,"methodName":%q,`+
		`"resourceName":"projects/_/buckets/b","authenticationInfo":%s%s,"requestMetadata":{"callerIp":"203.0.113.9","callerSuppliedUserAgent":"CANARY-agent"},"status":%s%s},`+
		`"insertId":%q,"timestamp":%q,"severity":"INFO","resource":{"type":"gcs_bucket","labels":{"project_id":"acme-prod"}},"logName":"projects/acme-prod/logs/cloudaudit.googleapis.com%%2F%s"%s}`,
		or(c.service, "storage.googleapis.com"), or(c.method, "storage.objects.get"), auth, checks, status, c.extra,
		or(c.id, "abc123"), or(c.at, "2026-10-02T09:00:01.234567Z"), or(c.log, "data_access"), c.entry)
}

// truth is what a generated history says of one key.
type truth struct {
	uses, denied    int
	permissions     map[string]bool
	revoked, issued bool
}

// history generates a history of keys, and tells what it did.
func history(seed int64, keys int) (entries []string, want map[string]*truth) {
	rng := rand.New(rand.NewSource(seed))
	at := time.Date(2026, 10, 2, 9, 0, 0, 0, time.UTC)
	add := func(c call) {
		at = at.Add(time.Duration(1+rng.Intn(60_000_000)) * time.Microsecond)
		c.at, c.id = at.Format("2006-01-02T15:04:05.999999Z"), fmt.Sprintf("%012x", rng.Int63n(1<<48))
		entries = append(entries, c.String())
	}
	want = map[string]*truth{}
	for n := range keys {
		key := fmt.Sprintf("%040x", rng.Int63())
		w := &truth{permissions: map[string]bool{}}
		want[key] = w
		name := fmt.Sprintf("projects/acme-prod/serviceAccounts/%s/keys/%s", account, key)
		if n%3 != 2 {
			add(call{method: "google.iam.admin.v1.CreateServiceAccountKey", service: "iam.googleapis.com", who: "root@acme.example", log: "activity",
				permission: "iam.serviceAccountKeys.create", extra: fmt.Sprintf(`,"response":{"@type":"type.googleapis.com/google.iam.admin.v1.ServiceAccountKey","name":%q,"private_key_type":2,"valid_before_time":{"seconds":253402300799}}`, name)})
			w.issued = true
		}
		for range 1 + rng.Intn(9) {
			switch roll := rng.Intn(10); {
			case roll < 2:
				permission := []string{"storage.buckets.setIamPolicy", "secretmanager.versions.access"}[rng.Intn(2)]
				add(call{method: "storage.setIamPermissions", key: key, refused: true, code: 7, permission: permission})
				w.denied++
				w.permissions[permission] = true
			case roll == 2:
				op := fmt.Sprintf(`,"operation":{"id":"op-%08x","producer":"compute.googleapis.com","`, rng.Int31())
				c := call{method: "v1.compute.instances.insert", service: "compute.googleapis.com", key: key, permission: "compute.instances.create", log: "activity"}
				c.entry = op + `first":true}`
				add(c)
				c.entry = op + `last":true}`
				add(c)
				w.uses++
			default:
				add(call{key: key, code: []int{0, 0, 0, 5}[rng.Intn(4)]})
				w.uses++
			}
		}
		if n%4 == 1 {
			add(call{method: "google.iam.admin.v1.DeleteServiceAccountKey", service: "iam.googleapis.com", who: "root@acme.example", log: "activity",
				permission: "iam.serviceAccountKeys.delete", extra: fmt.Sprintf(`,"request":{"name":%q},"response":{}`, name)})
			w.revoked = true
		}
	}
	return entries, want
}

// sampleRecords are public sample log entries.
func sampleRecords(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/security-analytics.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

// secretLog holds each kind of record, with secrets in all the places where services put them.
func secretLog(t testing.TB) []byte {
	t.Helper()
	name := "projects/acme-prod/serviceAccounts/" + account + "/keys/0123456789abcdef"
	records := []string{
		call{id: "1", extra: `,"request":{"secret":"CANARY-1"},"response":{"payload":{"data":"CANARY-2"}},"metadata":{"x":"CANARY-3"}`}.String(),
		call{id: "2", key: "0123456789abcdef"}.String(),
		call{id: "3", key: "0123456789abcdef", refused: true, code: 7}.String(),
		call{id: "4", method: "google.iam.admin.v1.CreateServiceAccountKey", service: "iam.googleapis.com", log: "activity", who: "root@acme.example",
			extra: `,"response":{"name":"` + name + `","private_key_data":"CANARY-4","privateKeyData":"CANARY-5","valid_before_time":"2027-10-02T09:00:00Z"}`}.String(),
		call{id: "5", method: "GenerateAccessToken", service: "iamcredentials.googleapis.com", key: "0123456789abcdef", permission: "iam.serviceAccounts.getAccessToken",
			extra: `,"request":{"name":"projects/-/serviceAccounts/target@acme-prod.iam.gserviceaccount.com","scope":["https://www.googleapis.com/auth/cloud-platform"],"lifetime":"600s"},"response":{"accessToken":"ya29.CANARY-6"}`}.String(),
		call{id: "6", method: "SignJwt", service: "iamcredentials.googleapis.com", permission: "iam.serviceAccounts.signJwt",
			extra: `,"request":{"name":"projects/-/serviceAccounts/target@acme-prod.iam.gserviceaccount.com","payload":"CANARY-7"},"response":{"signedJwt":"eyJhbGciOiJSUzI1NiJ9.CANARY-8.x"}`}.String(),
		call{id: "7", method: "google.identity.sts.v1.SecurityTokenService.ExchangeToken", service: "sts.googleapis.com", bare: true,
			extra: `,"request":{"subjectToken":"eyJhbGciOiJSUzI1NiJ9.CANARY-9.x"},"metadata":{"mapped_principal":"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/s"}`}.String(),
		call{id: "8", method: "SetIamPolicy", service: "cloudresourcemanager.googleapis.com", log: "activity",
			extra: `,"serviceData":{"policyDelta":{"bindingDeltas":[{"action":"ADD","role":"roles/editor","member":"user:a@acme.example","condition":{"expression":"CANARY-10"}}]}}`}.String(),
		call{id: "9", method: "google.iam.admin.v1.DeleteServiceAccountKey", service: "iam.googleapis.com", log: "activity",
			extra: `,"request":{"name":"` + name + `"},"response":{}`}.String(),
		call{id: "10", method: "google.iam.admin.v1.DisableServiceAccountKey", service: "iam.googleapis.com", log: "activity",
			extra: `,"request":{"name":"` + name + `"},"response":{}`}.String(),
		`{"logName":"projects/p/logs/requests","insertId":"11","timestamp":"2026-10-02T09:00:00Z","jsonPayload":{"token":"CANARY-11"},"httpRequest":{"requestUrl":"https://x/?sig=CANARY-12"}}`,
		call{id: "12", entry: `,"labels":{"token":"CANARY-13"}`, extra: `,"num_response_items":"3"`}.String(),
	}
	return []byte(strings.Join(records, "\n") + "\n")
}

func canaries() (all []string) {
	for n := 1; n <= 13; n++ {
		all = append(all, fmt.Sprintf("CANARY-%d", n))
	}
	return append(all, "CANARY-message", "CANARY-agent")
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func noTake(source.Record, *source.Malformed) {}
