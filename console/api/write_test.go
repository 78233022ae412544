package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/console/api"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func wish(credential string, until time.Time) map[string]any {
	return map[string]any{"credential": credential, "policy": "long-lived", "reason": "migration", "until": until}
}

func TestAnExceptionIsAskedForByItsOwnerAndApprovedByAnother(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: 90 * 24 * time.Hour})
	b.violate(key(1), 1, 1)
	b.see()
	owner, other := b.as("olga", []string{signin.Owner, signin.Approver}, "payments"), b.as("carl", []string{signin.Approver})
	stranger := b.as("sven", []string{signin.Owner}, "sre")
	until := b.now.Add(24 * time.Hour)
	if _, status, body := post[contract.Exception](stranger, "/v1/exceptions", wish(key(1), until)); status != http.StatusForbidden {
		t.Errorf("for somebody else's: %d %s", status, body)
	}
	if _, status, body := post[contract.Exception](b.as("vic", viewer), "/v1/exceptions", wish(key(1), until)); status != http.StatusForbidden {
		t.Errorf("by a viewer: %d %s", status, body)
	}
	if _, status, body := post[contract.Exception](owner, "/v1/exceptions", wish(key(1), b.now)); status != http.StatusUnprocessableEntity {
		t.Errorf("without a future: %d %s", status, body)
	}
	asked, status, body := post[contract.Exception](owner, "/v1/exceptions", wish(key(1), until))
	if status != http.StatusOK || asked.RequestedBy != "olga" || asked.State != "waiting" || asked.MayApprove || asked.WhyNot == nil {
		t.Fatalf("%d %s", status, body)
	}
	if n := len(get[contract.Enforcement](other, "/v1/enforcement").Approvals); n != 1 {
		t.Errorf("%d approvals wait", n)
	}
	if _, status, _ := post[contract.Exception](owner, "/v1/exceptions/"+asked.ID+"/approve", nil); status != http.StatusForbidden {
		t.Errorf("one's own is approved: %d", status)
	}
	if _, status, _ := post[contract.Exception](b.as("vic", viewer), "/v1/exceptions/"+asked.ID+"/approve", nil); status != http.StatusForbidden {
		t.Errorf("a viewer approves: %d", status)
	}
	if n := len(get[contract.Duties](owner, "/v1/duties").Items); n != 1 {
		t.Errorf("%d duties while it waits", n)
	}
	approved, status, body := post[contract.Exception](other, "/v1/exceptions/"+asked.ID+"/approve", nil)
	if status != http.StatusOK || approved.State != "in force" || *approved.ApprovedBy != "carl" {
		t.Fatalf("%d %s", status, body)
	}
	if n := len(get[contract.Duties](owner, "/v1/duties").Items); n != 0 {
		t.Errorf("%d duties while it is in force", n)
	}
	if c := get[credentials](other, "/v1/credentials").Items[0]; c.Exception == nil || c.Exception.ID != asked.ID || len(c.Violations) != 1 {
		t.Errorf("the credential tells %+v", c.Exception)
	}
	if _, status, _ := post[contract.Exception](stranger, "/v1/exceptions/"+asked.ID+"/revoke", nil); status != http.StatusForbidden {
		t.Errorf("a stranger ends it: %d", status)
	}
	if ended, status, _ := post[contract.Exception](owner, "/v1/exceptions/"+asked.ID+"/revoke", nil); status != http.StatusOK || ended.State != "revoked" {
		t.Errorf("its owner ends it: %d %+v", status, ended)
	}
	if _, status, _ := post[contract.Exception](other, "/v1/exceptions/ex-none/approve", nil); status != http.StatusNotFound {
		t.Errorf("one that is not there: %d", status)
	}
	for state, want := range map[string]int{"": 1, "revoked": 1, "waiting": 0} {
		if got := len(get[contract.Page[contract.Exception]](other, "/v1/exceptions?state="+state).Items); got != want {
			t.Errorf("%q: %d exceptions", state, got)
		}
	}
}

func TestSettingsAndExceptionsWorkWhileClickHouseIsAway(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: time.Hour})
	b.violate(key(1), 1, 1)
	b.see()
	b.db.Close() // nothing is read any more
	if b.fleet.Read(t.Context()) == nil {
		t.Fatal("a closed store is read")
	}
	security, admin := b.as("sid", []string{signin.Security}), b.as("ada", []string{signin.Admin})
	if _, status, body := post[contract.Status](b.as("vic", viewer), "/v1/enforcement/kill", map[string]any{"on": true, "reason": "x"}); status != http.StatusForbidden {
		t.Errorf("a viewer: %d %s", status, body)
	}
	if _, status, _ := post[contract.Status](security, "/v1/enforcement/kill", map[string]any{"on": true, "reason": ""}); status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", status)
	}
	killed, status, body := post[contract.Status](security, "/v1/enforcement/kill", map[string]any{"on": true, "reason": "an incident"})
	if status != http.StatusOK || !killed.Killed || *killed.KilledBy != "sid" || *killed.KilledWhy != "an incident" || killed.KilledAt == nil {
		t.Errorf("%d %s", status, body)
	}
	if _, status, _ := post[contract.Status](security, "/v1/enforcement/mode", map[string]any{"mode": "enforce", "reason": "x"}); status != http.StatusForbidden {
		t.Errorf("security sets the mode: %d", status)
	}
	if moved, status, body := post[contract.Status](admin, "/v1/enforcement/mode", map[string]any{"mode": "notify", "reason": "x"}); status != http.StatusOK || moved.Mode != "notify" {
		t.Errorf("%d %s", status, body)
	}
	asked, status, body := post[contract.Exception](b.as("olga", []string{signin.Owner}, "payments"), "/v1/exceptions", wish(key(1), b.now.Add(time.Hour)))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if _, status, body := post[contract.Exception](admin, "/v1/exceptions/"+asked.ID+"/approve", nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	e := get[contract.Enforcement](admin, "/v1/enforcement")
	if !e.Killed || e.Mode != "notify" || e.Budget != nil {
		t.Errorf("got %+v", e)
	}
	if got := get[credentials](admin, "/v1/credentials").Items; len(got) != 1 || got[0].Exception == nil {
		t.Errorf("what was last known: %+v", got)
	}
	status, _, raw := admin.do(http.MethodGet, "/v1/audit", nil, nil)
	if status != http.StatusServiceUnavailable || strings.Contains(string(raw), "clickhouse:") {
		t.Errorf("what needs ClickHouse: %d %s", status, raw)
	}
	// Everything that was written names who wrote it.
	for _, m := range b.log.all {
		c := &pb.Control{}
		if m.Topic == schemas.TopicControl && (c.UnmarshalVT(m.Value) != nil || c.SetBy != "sid" && c.SetBy != "ada") {
			t.Errorf("%s was set by %q", m.Key, c.SetBy)
		}
	}
}

func TestAWriteThatAnotherSiteMakesIsRefused(t *testing.T) {
	b := newBench(t)
	admin := b.as("ada", []string{signin.Admin})
	body := map[string]any{"on": true, "reason": "x"}
	for what, head := range map[string]map[string]string{"no token": {"X-CSRF-Token": ""}, "another's token": {"X-CSRF-Token": b.as("bob", viewer).csrf},
		"another origin": {"Origin": "http://evil.example"}, "no origin at all": {"Origin": "null"}, "another site": {"Sec-Fetch-Site": "cross-site"}} {
		if status, _, raw := admin.do(http.MethodPost, "/v1/enforcement/kill", body, head); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, status, raw)
		}
	}
	if status, _, _ := admin.do(http.MethodPost, "/v1/enforcement/kill", body, map[string]string{"Origin": b.server.URL, "Sec-Fetch-Site": "same-origin"}); status != http.StatusOK {
		t.Errorf("our own page: %d", status)
	}
}

func TestASessionThatEndedReadsNothing(t *testing.T) {
	b := newBench(t)
	admin, first, second := b.as("ada", []string{signin.Admin}), b.as("bob", viewer), b.as("bob", viewer)
	if status, head, _ := first.do(http.MethodPost, "/v1/sign-out", nil, nil); status != http.StatusNoContent || !strings.Contains(head.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("sign out: %d %v", status, head)
	}
	if status, _, _ := first.do(http.MethodGet, "/v1/me", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
	if status, _, _ := second.do(http.MethodPost, "/v1/sessions/end", map[string]string{"name": "ada"}, nil); status != http.StatusForbidden {
		t.Errorf("a viewer ends an admin's: %d", status)
	}
	if status, _, body := admin.do(http.MethodPost, "/v1/sessions/end", map[string]string{"name": "bob"}, nil); status != http.StatusOK || !strings.Contains(string(body), `"ended":1`) {
		t.Errorf("an admin: %d %s", status, body)
	}
	if status, _, _ := second.do(http.MethodGet, "/v1/me", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("after all were ended: %d", status)
	}
	nobody := b.as("ned", nil)
	if status, _, _ := nobody.do(http.MethodGet, "/v1/credentials", nil, nil); status != http.StatusForbidden {
		t.Errorf("without a role: %d", status)
	}
}

func TestChangesArriveLiveAndEndWithTheSession(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), expires: time.Hour})
	b.see()
	admin := b.as("ada", []string{signin.Admin})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "leastwise", Value: admin.cookie})
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	event := func() (name, data string) {
		t.Helper()
		for lines.Scan() {
			switch text := lines.Text(); {
			case strings.HasPrefix(text, "event: "):
				name = strings.TrimPrefix(text, "event: ")
			case strings.HasPrefix(text, "data: "):
				data = strings.TrimPrefix(text, "data: ")
			case text == "" && name != "":
				return name, data
			}
		}
		return "", ""
	}
	if name, data := event(); name != "status" || !strings.Contains(data, `"old":false`) {
		t.Fatalf("first comes %q %s", name, data)
	}
	b.write(row{key: key(2), expires: time.Hour})
	b.see()
	name, data := event()
	var changed contract.Changed
	if err := json.Unmarshal([]byte(data), &changed); err != nil || name != "changed" || changed.What != "fleet" || len(changed.Keys) != 1 || changed.Keys[0] != key(2) {
		t.Errorf("got %s %s", name, data)
	}
	if _, status, body := post[contract.Status](admin, "/v1/enforcement/kill", map[string]any{"on": true, "reason": "x"}); status != http.StatusOK {
		t.Fatal(body)
	}
	if name, data := event(); name != "status" || !strings.Contains(data, `"killed":true`) {
		t.Errorf("got %s %s", name, data)
	}
	b.sessions.EndAll("ada")
	for name != "" {
		name, _ = event()
	}
	if lines.Err() != nil {
		t.Errorf("the stream broke: %v", lines.Err())
	}
}

func TestTheDescriptionIsCurrent(t *testing.T) {
	want, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("openapi.json is old: run `go generate ./...` in console")
	}
	var described struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(want, &described); err != nil || described.OpenAPI != "3.1.0" || len(described.Paths) < 20 {
		t.Errorf("%v: OpenAPI %s with %d paths", err, described.OpenAPI, len(described.Paths))
	}
}
