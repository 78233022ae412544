package api_test

import (
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var viewer = []string{signin.Viewer}

func key(n int) string { return fmt.Sprintf("vault/default/token/t%03d", n) }

type credentials = contract.Page[contract.Credential]

func TestPagesOfEveryOrderGiveEachCredentialOnce(t *testing.T) {
	b := newBench(t)
	for n := range 23 {
		r := row{key: key(n), issued: -time.Hour, attempts: uint64(n % 5), weight: float64(n % 3)}
		if n%4 != 0 {
			r.expires = time.Duration(n%7+1) * time.Hour
		}
		b.write(r)
		if n%2 == 0 {
			b.violate(key(n), int64(n), float64(n%6))
		}
	}
	b.see()
	v := b.as("ann", viewer)
	for _, by := range []string{"deviation", "seconds_left", "scope_weight", "attempts", "last_used_at"} {
		var seen []string
		next := ""
		for {
			page := get[credentials](v, "/v1/credentials?limit=4&sort="+by+"&cursor="+next)
			for _, c := range page.Items {
				seen = append(seen, c.Key)
			}
			if page.Next == nil {
				break
			}
			next = *page.Next
		}
		whole := get[credentials](v, "/v1/credentials?sort="+by)
		var want []string
		for _, c := range whole.Items {
			want = append(want, c.Key)
		}
		if len(want) != 23 || !slices.Equal(seen, want) {
			t.Errorf("by %s: pages give %v, the whole %v", by, seen, want)
		}
	}
	first := get[credentials](v, "/v1/credentials?sort=deviation&limit=1").Items[0]
	if first.Deviation != 4 || first.Severity == nil || *first.Severity != "high" || first.Violations[0].Title != "It lives for 90 days; the policy allows 1 hour at most." {
		t.Errorf("the worst is %+v", first)
	}
	status, head, body := v.do(http.MethodGet, "/v1/credentials?cursor=nonsense", nil, nil)
	if status != http.StatusBadRequest || head.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a cursor that is none: %d %s %s", status, head.Get("Content-Type"), body)
	}
	if status, _, _ := v.do(http.MethodGet, "/v1/credentials?limit=501", nil, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("501 at once: %d", status)
	}
}

func TestUnknownIsNullAndNeverZero(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), issued: -time.Hour, agent: "quiet"}, row{key: key(2), issued: -2 * time.Hour, expires: time.Hour, weight: 10, agent: "busy", uses: 4})
	b.see()
	_, _, body := b.as("ann", viewer).do(http.MethodGet, "/v1/credentials?q=t001", nil, nil)
	for _, want := range []string{`"scope_weight":null`, `"scope_permissions":null`, `"unused_ratio":null`, `"utilization":null`, `"seconds_left":null`, `"never_expires":true`, `"owner":null`, `"violations":[]`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
	known := get[credentials](b.as("ann", viewer), "/v1/credentials?q=T002").Items[0]
	if known.Utilization == nil || *known.Utilization != 1 || known.SecondsLeft == nil || *known.SecondsLeft != 3600 || *known.LifetimeSeconds != 3*3600 {
		t.Errorf("got %+v", known.Measures)
	}
	// From the silence of a source nothing is concluded.
	b.exec("INSERT INTO source_health (source, instance, at, records, events, dead_letters, unknown, trouble) VALUES", "vault", "default", b.now.Add(-time.Hour), uint64(5), uint64(4), uint64(1), uint64(0), "")
	b.see()
	if c := get[credentials](b.as("bob", viewer), "/v1/credentials?q=T002").Items[0]; c.Utilization != nil {
		t.Errorf("of a silent source utilization is known: %v", *c.Utilization)
	}
}

func TestTheNewestRowAndDecisionWin(t *testing.T) {
	b := newBench(t)
	v := b.as("ann", viewer)
	b.write(row{key: key(1), owner: "old", offset: 1, expires: time.Hour})
	b.violate(key(1), 1, 2)
	b.see()
	if c := get[credentials](v, "/v1/credentials").Items[0]; *c.Owner != "old" || len(c.Violations) != 1 {
		t.Fatalf("got %+v", c)
	}
	b.write(row{key: key(1), owner: "new", offset: 2, expires: time.Hour}, row{key: key(1), owner: "stale", offset: 1, expires: time.Hour})
	b.record(schemas.TopicDecisions, key(1), 2, &pb.Decision{Credential: key(1), DecidedAt: timestamppb.New(b.now), InputRevision: "2"})
	b.see()
	if c := get[credentials](v, "/v1/credentials").Items[0]; *c.Owner != "new" || len(c.Violations) != 0 || c.Severity != nil {
		t.Errorf("got owner %s, violations %v", *c.Owner, c.Violations)
	}
	b.write(row{key: key(1), owner: "new", offset: 3, revoked: true, expires: time.Hour})
	b.see()
	if n := len(get[credentials](v, "/v1/credentials?state=active").Items); n != 0 {
		t.Errorf("a revoked one is active")
	}
}

func TestFiltersAndOwnersDefault(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", agent: "ingest", expires: time.Hour}, row{key: key(2), owner: "sre", expires: time.Hour},
		row{key: "spire/default/x509_svid/s", expires: time.Hour}, row{key: key(4), owner: "sre", expires: -time.Hour})
	b.violate(key(1), 1, 1)
	b.violate(key(2), 2, 1)
	b.see()
	admin, owner := b.as("ann", viewer), b.as("olga", []string{signin.Owner}, "payments")
	for query, want := range map[string]int{"": 4, "owner=sre": 2, "owner=none": 1, "source=spire": 1, "policy=long-lived": 2, "state=expired": 1, "agent=ingest": 1,
		"q=INGEST+payments": 1, "q=ingest+sre": 0, "owner=payments'+OR+1=1": 0} {
		if got := len(get[credentials](admin, "/v1/credentials?"+query).Items); got != want {
			t.Errorf("%q: %d, want %d", query, got, want)
		}
	}
	if got := get[credentials](owner, "/v1/credentials").Items; len(got) != 1 || *got[0].Owner != "payments" {
		t.Errorf("an owner sees %v first", got)
	}
	if got := get[credentials](owner, "/v1/credentials?owner=*").Items; len(got) != 4 {
		t.Errorf("an owner who asks for all sees %d", len(got))
	}
	duties := get[contract.Duties](owner, "/v1/duties")
	if len(duties.Items) != 1 || duties.Others != 1 || duties.Items[0].Credential != key(1) {
		t.Errorf("duties %+v", duties)
	}
	me := get[contract.Me](owner, "/v1/me")
	if me.Name != "olga" || !slices.Equal(me.Owners, []string{"payments"}) || me.CSRF != owner.csrf || me.SignedInBy != "link" {
		t.Errorf("me %+v", me)
	}
}

func TestDutiesSayWhenWhatAndTheExactCommand(t *testing.T) {
	b := newBench(t)
	hostile := "vault/default/token/$(reboot)'; rm -rf /"
	b.write(row{key: key(1), owner: "sre", expires: 90 * 24 * time.Hour}, row{key: key(2), owner: "sre", expires: 90 * 24 * time.Hour}, row{key: hostile, owner: "sre", expires: time.Hour})
	late := b.violate(key(1), 1, 1)
	soon := b.violate(key(2), 2, 1)
	b.violate(hostile, 3, 9)
	soon.Subject = &pb.Subject{ChildrenTotal: 3}
	for i, d := range []*pb.Decision{late, soon} {
		b.record(schemas.TopicEnforcement, d.Credential, int64(i), &pb.LadderState{Credential: d.Credential, Step: 2, State: pb.LadderState_NOTIFIED, At: timestamppb.New(b.now),
			Decision: d, RevokeAt: timestamppb.New(b.now.Add(time.Duration(9-8*i) * time.Hour)), Told: []string{"chat"}})
	}
	b.see()
	duties := get[contract.Duties](b.as("ann", viewer), "/v1/duties").Items
	if len(duties) != 3 || duties[0].Credential != key(2) || duties[1].Credential != key(1) {
		t.Fatalf("order %+v", duties)
	}
	d := duties[0]
	if d.By == nil || !d.By.Equal(b.now.Add(time.Hour)) || d.WhatHappens != "It is revoked then, and 3 credentials made with it end too." ||
		d.Why != "It lives for 90 days; the policy allows 1 hour at most." || d.Action.Kind != "rotate" || *d.Action.Command != "vault token revoke -accessor t002" {
		t.Errorf("got %+v, command %s", d, *d.Action.Command)
	}
	if got := *duties[2].Action.Command; got != `vault token revoke -accessor '$(reboot)'\''; rm -rf /'` {
		t.Errorf("a hostile name becomes %s", got)
	}
	enforcement := get[contract.Enforcement](b.as("ann", viewer), "/v1/enforcement")
	if len(enforcement.Coming) != 2 || enforcement.Coming[0].Credential != key(2) || enforcement.Coming[0].Collateral != 3 || enforcement.Budget == nil || enforcement.Budget.Limit != 20 {
		t.Errorf("got %+v", enforcement)
	}
}

func TestTablesAreSafeToOpenInASpreadsheet(t *testing.T) {
	b := newBench(t)
	var rows []row
	for i, agent := range []string{"=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "plain", "a,\"b\"\nc"} {
		rows = append(rows, row{key: key(i), agent: agent, expires: -time.Hour})
	}
	for n := 100; n < 700; n++ { // more than a page
		rows = append(rows, row{key: key(n), agent: "plain", expires: time.Hour})
	}
	b.write(rows...)
	b.see()
	status, head, body := b.as("ann", viewer).do(http.MethodGet, "/v1/credentials?sort=deviation", nil, map[string]string{"Accept": "text/csv"})
	if status != http.StatusOK || !strings.HasPrefix(head.Get("Content-Type"), "text/csv") || !strings.Contains(head.Get("Content-Disposition"), "credentials.csv") {
		t.Fatalf("%d %v", status, head)
	}
	table, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil || len(table) != 608 {
		t.Fatalf("%d lines, %v", len(table), err)
	}
	at := slices.Index(table[0], "agent")
	got := map[string]bool{}
	for _, line := range table[1:] {
		got[line[at]] = true
	}
	for _, want := range []string{"'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(1)", "'\tx", "plain", "a,\"b\"\nc"} {
		if !got[want] {
			t.Errorf("%q is not in %v", want, got)
		}
	}
	if left := table[1][slices.Index(table[0], "seconds_left")]; left != "-3600" && left != "3600" {
		t.Errorf("a number became %q", left)
	}
}

func TestTheFeedHoldsEveryColumnWhereItsHeaderSays(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "sre", issued: -time.Hour, expires: time.Hour, weight: 12.5, attempts: 3}, row{key: "vault/default/token/ä", issued: -time.Hour}, row{key: key(3), expires: -time.Hour})
	b.violate("vault/default/token/ä", 1, 7)
	b.see()
	status, head, raw := b.as("ann", viewer).do(http.MethodGet, "/v1/fleet?state=active", nil, nil)
	if status != http.StatusOK || head.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %v %s", status, head, raw)
	}
	length := binary.LittleEndian.Uint32(raw)
	var header struct {
		Count   int
		Columns []struct {
			Name, Type     string
			Offset, Length int
		}
		Dictionaries map[string][]string
	}
	if err := json.Unmarshal(raw[4:4+length], &header); err != nil || (4+length)%8 != 0 || header.Count != 2 {
		t.Fatalf("%v, body at %d, %+v", err, 4+length, header)
	}
	body := raw[4+length:]
	at := func(name string) []byte {
		for _, c := range header.Columns {
			if c.Name == name {
				if c.Offset%8 != 0 {
					t.Errorf("%s begins at %d", name, c.Offset)
				}
				return body[c.Offset:]
			}
		}
		t.Fatalf("no column %s", name)
		return nil
	}
	f64 := func(name string, i int) float64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(at(name)[8*i:]))
	}
	f32 := func(name string, i int) float32 {
		return math.Float32frombits(binary.LittleEndian.Uint32(at(name)[4*i:]))
	}
	u32 := func(name string, i int) uint32 { return binary.LittleEndian.Uint32(at(name)[4*i:]) }
	if !math.IsInf(f64("expires_at", 0), 1) || f64("expires_at", 1) != float64(b.now.Add(time.Hour).UnixMilli()) || !math.IsNaN(float64(f32("scope_weight", 0))) ||
		f32("scope_weight", 1) != 12.5 || f32("deviation", 0) != 7 || u32("attempts", 1) != 3 || at("severity")[0] != 4 || at("severity")[1] != 0 {
		t.Error("a figure is wrong")
	}
	if u32("owner", 0) != math.MaxUint32 || header.Dictionaries["owner"][u32("owner", 1)] != "sre" || header.Dictionaries["policy"][u32("worst_policy", 0)] != "long-lived" {
		t.Error("a name is wrong")
	}
	if u32("policies_at", 0) != 0 || u32("policies_at", 1) != 1 || u32("policies_at", 2) != 1 || header.Dictionaries["policy"][u32("policies", 0)] != "long-lived" {
		t.Error("the policies that it stands past are wrong")
	}
	keys := at("keys")
	if got := string(keys[u32("key_at", 0):u32("key_at", 1)]); got != "vault/default/token/ä" {
		t.Errorf("the first key is %q", got)
	}
	if got := string(keys[u32("key_at", 1):u32("key_at", 2)]); got != key(1) {
		t.Errorf("the second key is %q", got)
	}
}

func TestWhatIfMovesAThresholdOverTodaysMeasures(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), issued: -time.Minute, expires: 29 * time.Minute}, row{key: key(2), issued: -time.Hour, expires: 3 * time.Hour}, row{key: key(3), issued: -time.Hour})
	b.see()
	v := b.as("ann", viewer)
	got := get[contract.WhatIf](v, "/v1/policies/long-lived/whatif?metric=lifetime&threshold=5h")
	if got.Now != 2 || got.Then != 1 || len(got.WouldBeFree) != 1 || got.WouldBeFree[0].Key != key(2) || len(got.WouldFall) != 0 {
		t.Errorf("longer: %+v", got)
	}
	got = get[contract.WhatIf](v, "/v1/policies/long-lived/whatif?metric=lifetime&threshold=10m")
	if got.Then != 3 || len(got.WouldFall) != 1 || got.WouldFall[0].Key != key(1) {
		t.Errorf("shorter: %+v", got)
	}
	for path, want := range map[string]int{"/v1/policies/nonesuch/whatif?metric=lifetime&threshold=1h": 404, "/v1/policies/long-lived/whatif?metric=lifetime&threshold=soon": 422,
		"/v1/policies/long-lived/whatif?metric=novelty&threshold=1h": 422, "/v1/policies/long-lived/whatif": 422} {
		if status, _, body := v.do(http.MethodGet, path, nil, nil); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), expires: time.Hour})
	b.see()
	v := b.as("ann", viewer)
	_, head, _ := v.do(http.MethodGet, "/v1/credentials", nil, nil)
	tag := map[string]string{"If-None-Match": head.Get("ETag")}
	if status, _, body := v.do(http.MethodGet, "/v1/credentials", nil, tag); status != http.StatusNotModified || len(body) != 0 {
		t.Errorf("the same: %d, %d bytes", status, len(body))
	}
	if status, _, _ := b.as("bob", viewer).do(http.MethodGet, "/v1/credentials", nil, tag); status != http.StatusOK {
		t.Errorf("somebody else's: %d", status)
	}
	b.write(row{key: key(2), expires: time.Hour})
	b.see()
	if status, _, _ := v.do(http.MethodGet, "/v1/credentials", nil, tag); status != http.StatusOK {
		t.Errorf("after a change: %d", status)
	}
}

func TestOneCredentialIsToldWithItsHistory(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), expires: time.Hour, labels: map[string]string{"role": "x"}, policies: []string{"diag"}, uses: 2, weight: 3,
		blob: &pb.CredentialState{Key: key(1), Used: []*pb.PermissionUse{{Permission: "read secret/data/", Leaves: []string{"a"}, Count: 2, LastAt: b.now.UnixNano()}}}})
	b.exec("INSERT INTO grants (id, resource, capabilities, as_of, deleted, incomplete, body) VALUES", "vault/default/policy/diag", []string{"secret/data/*", "sys/mounts"}, [][]string{{"read", "update"}, {"read"}}, b.now, false, "", "")
	for i, kind := range []string{"ISSUED", "USED", "USED", "DENIED"} {
		at := b.now.Add(time.Duration(i-10) * time.Minute)
		id := schemas.EventID("vault", "default", fmt.Sprint(i), 0)
		for range 2 { // a rebalance may have written it twice
			b.exec(`INSERT INTO events (id, kind, credential, occurred_at, observed_at, source, instance, permission, outcome, written_at) VALUES`,
				string(id[:]), kind, key(1), at, at, "vault", "default", "read secret/data/a", "SUCCESS", b.now)
		}
	}
	b.see()
	v := b.as("ann", viewer)
	d := get[contract.CredentialDetail](v, "/v1/credential?key="+url.QueryEscape(key(1)))
	if d.Labels["role"] != "x" || !slices.Equal(d.Policies, []string{"diag"}) || len(d.UsesByHour) == 0 {
		t.Errorf("detail %+v", d)
	}
	uses, denied := uint64(0), uint64(0)
	for _, h := range d.UsesByHour {
		uses, denied = uses+h.Uses, denied+h.Denied
	}
	if uses != 2 || denied != 1 {
		t.Errorf("%d uses, %d denied", uses, denied)
	}
	var kinds []string
	for next := ""; ; {
		page := get[contract.Page[contract.Event]](v, "/v1/credential/events?limit=1&key="+url.QueryEscape(key(1))+"&cursor="+next)
		for _, e := range page.Items {
			kinds = append(kinds, e.Kind)
		}
		if page.Next == nil {
			break
		}
		next = *page.Next
	}
	if !slices.Equal(kinds, []string{"denied", "used", "used", "issued"}) {
		t.Errorf("events %v", kinds)
	}
	scope := get[contract.Scope](v, "/v1/credential/scope?key="+url.QueryEscape(key(1)))
	used := map[string]bool{}
	for _, p := range scope.Permissions {
		used[p.Permission] = p.Used != nil && *p.Used
	}
	if len(used) != 3 || !used["read secret/data/*"] || used["update secret/data/*"] || used["read sys/mounts"] || len(scope.Denied) != 1 || scope.Denied[0].Times != 1 {
		t.Errorf("scope %+v", scope)
	}
	lanes := get[contract.List[contract.KeyUse]](v, fmt.Sprintf("/v1/fleet/use?from=%d&to=%d&bucket=3600000&key=%s&key=x", b.now.Add(-time.Hour).UnixMilli(), b.now.Add(time.Hour).UnixMilli(), url.QueryEscape(key(1))))
	total := int64(0)
	for _, bucket := range lanes.Items[0].Buckets {
		total += bucket[1]
	}
	if len(lanes.Items) != 1 || total != 2 {
		t.Errorf("lanes %+v", lanes)
	}
	if status, _, _ := v.do(http.MethodGet, "/v1/credential?key=vault/x/token/none", nil, nil); status != http.StatusNotFound {
		t.Errorf("a key that is not there: %d", status)
	}
}

func TestAnIdentityAsOfADay(t *testing.T) {
	b := newBench(t)
	say := func(from, to, kind, confidence string, ago time.Duration, retracted bool) {
		b.exec("INSERT INTO link_statements (from_node, to_node, kind, confidence, at, retracted, evidence) VALUES", from, to, kind, confidence, b.now.Add(-ago), retracted, "a record")
	}
	const day = 24 * time.Hour
	say("a/x/e/1", "a/x/r/2", "SAME_AS", "PROVEN", 10*day, false)
	say("a/x/e/1", "catalog/default/owner/ops", "OWNED_BY", "ASSERTED", 10*day, false)
	say("a/x/e/1", "a/x/r/2", "SAME_AS", "PROVEN", 3*day, true)
	say("a/x/r/2", "b/x/e/3", "SAME_AS", "INFERRED", 10*day, false)
	b.exec("INSERT INTO identities (node, component, agents, owners, systems, status, changed_at) VALUES", "a/x/e/1", "a/x/e/1", []string{}, []string{"catalog/default/owner/ops"}, []string{}, "owned", b.now)
	b.exec("INSERT INTO identities (node, component, agents, owners, systems, status, changed_at) VALUES", "a/x/r/2", "a/x/r/2", []string{}, []string{}, []string{}, "unowned", b.now)
	b.write(row{key: key(1), principal: "a/x/e/1", expires: time.Hour})
	b.see()
	v := b.as("ann", viewer)
	now := get[contract.Identity](v, "/v1/identity?name=a/x/e/1")
	if !slices.Equal(now.Names, []string{"a/x/e/1"}) || !slices.Equal(now.Owners, []string{"ops"}) || now.HeldTotal != 1 || now.Held[0].Key != key(1) {
		t.Errorf("now %+v", now)
	}
	then := get[contract.Identity](v, "/v1/identity?name=a/x/r/2&as_of="+b.now.Add(-5*day).Format(time.DateOnly))
	if !slices.Equal(then.Names, []string{"a/x/e/1", "a/x/r/2"}) || !slices.Equal(then.Owners, []string{"ops"}) || then.Status != "owned" {
		t.Errorf("five days ago %+v", then)
	}
	later := get[contract.Identity](v, "/v1/identity?name=a/x/r/2&as_of="+b.now.Add(-day).Format(time.RFC3339))
	if !slices.Equal(later.Names, []string{"a/x/r/2"}) || len(later.Owners) != 0 || later.Status != "unowned" {
		t.Errorf("after the link was taken back %+v", later)
	}
	list := get[contract.Page[contract.IdentitySummary]](v, "/v1/identities?limit=1")
	if len(list.Items) != 1 || list.Items[0].Credentials != 1 || list.Next == nil {
		t.Errorf("list %+v", list)
	}
	list = get[contract.Page[contract.IdentitySummary]](v, "/v1/identities?status=unowned&q=A/X")
	if len(list.Items) != 1 || list.Items[0].Name != "a/x/r/2" {
		t.Errorf("unowned %+v", list)
	}
	if status, _, _ := v.do(http.MethodGet, "/v1/identity?name=nobody", nil, nil); status != http.StatusNotFound {
		t.Errorf("nobody: %d", status)
	}
}

func TestTheAuditLogTellsOfActsOnLaddersInWords(t *testing.T) {
	b := newBench(t)
	var want []string
	for i, c := range []struct {
		says string
		*pb.Control
	}{
		{"approved the revocation of ladder L: why", &pb.Control{Setting: pb.Control_APPROVE}},
		{"approved the narrower scope of ladder L: why", &pb.Control{Setting: pb.Control_APPROVE, Act: "narrow"}},
		{"asked back what ladder L took: why", &pb.Control{Setting: pb.Control_RESTORE}},
		{"asked for the scope that ladder L replaced: why", &pb.Control{Setting: pb.Control_ROLLBACK}},
		{"noted what the narrower scope of ladder L denied: why", &pb.Control{Setting: pb.Control_DENIED}},
		{"let revocations go on that the budget stopped: why", &pb.Control{Setting: pb.Control_RESUME}},
	} {
		c.Value, c.SetBy, c.Reason = "L", "ann", "why"
		b.record(schemas.TopicControl, fmt.Sprint(i), int64(i), c.Control)
		want = append(want, c.says)
	}
	var got []string
	for _, e := range get[contract.Audit](b.as("ann", viewer), "/v1/audit").Items {
		got = append(got, e.What)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestTheAuditLogIsToldInWordsAndAChangeInItShows(t *testing.T) {
	b := newBench(t)
	b.record(schemas.TopicControl, "mode", 0, &pb.Control{Setting: pb.Control_MODE, Value: "enforce", SetBy: "ann", Reason: "ready"})
	for i := range 5 {
		b.violate(key(i), int64(i), 1)
	}
	v := b.as("ann", viewer)
	var topics []string
	for next := ""; ; {
		page := get[contract.Audit](v, "/v1/audit?limit=2&cursor="+next)
		for _, e := range page.Items {
			topics = append(topics, e.Topic)
			if e.Topic == schemas.TopicControl && (e.Who == nil || *e.Who != "ann" || e.What != "set mode to enforce: ready") {
				t.Errorf("got %+v", e)
			}
		}
		if page.Next == nil {
			break
		}
		next = *page.Next
	}
	if len(topics) != 6 {
		t.Errorf("entries %v", topics)
	}
	if err := b.read.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, one := range get[contract.Audit](v, "/v1/audit").Verified { // these rows carry no hashes
		if one.Unbroken || one.BrokenAt == nil || one.CheckedAt == nil {
			t.Errorf("got %+v", one)
		}
	}
}

func TestSourcesAndDeadLetters(t *testing.T) {
	b := newBench(t)
	for source, beat := range map[string]time.Duration{"vault": 0, "spire": -time.Hour} {
		b.exec("INSERT INTO source_health (source, instance, at, records, events, dead_letters, unknown, trouble) VALUES", source, "default", b.now.Add(beat), uint64(5), uint64(4), uint64(1), uint64(0), "")
	}
	b.exec("INSERT INTO source_health (source, instance, at, records, events, dead_letters, unknown, trouble) VALUES", "aws", "default", b.now, uint64(0), uint64(0), uint64(0), uint64(0), "access denied")
	for i := range 3 {
		id := schemas.EventID("vault", "default", fmt.Sprint(i), 0)
		b.exec("INSERT INTO dead_letters (id, source, instance, position, reason, detail, sha256, length, excerpt, observed_at) VALUES",
			string(id[:]), "vault", "default", "/var/log/au dit.log:7", "malformed", "no JSON", string(make([]byte, 32)), uint64(9), "{", b.now.Add(time.Duration(i)*time.Second))
	}
	v := b.as("ann", viewer)
	states := map[string]string{}
	for _, s := range get[contract.List[contract.Source]](v, "/v1/sources").Items {
		states[s.Source] = s.State
	}
	if states["vault"] != "well" || states["spire"] != "silent" || states["aws"] != "trouble" {
		t.Errorf("states %v", states)
	}
	page := get[contract.Page[contract.DeadLetter]](v, "/v1/dead-letters?limit=2")
	if len(page.Items) != 2 || page.Next == nil || page.Items[0].Replay != "leastwise deadletter replay "+page.Items[0].ID {
		t.Fatalf("got %+v", page)
	}
	rest := get[contract.Page[contract.DeadLetter]](v, "/v1/dead-letters?limit=2&cursor="+*page.Next)
	if len(rest.Items) != 1 || rest.Items[0].ID == page.Items[1].ID || rest.Next != nil {
		t.Errorf("rest %+v", rest)
	}
	if n := len(get[contract.Page[contract.DeadLetter]](v, "/v1/dead-letters?reason=truncated").Items); n != 0 {
		t.Errorf("another reason: %d", n)
	}
}

func TestTheFeedIsSentAgainOnlyIfItTellsSomethingElse(t *testing.T) {
	b := newBench(t)
	b.now = b.now.Truncate(5 * time.Minute).Add(time.Minute)
	b.write(row{key: "vault/prod/token/a", issued: -time.Hour, expires: 3 * time.Minute}, row{key: "vault/prod/token/b", issued: -time.Hour})
	b.see()
	v := b.as("eva", []string{signin.Viewer})
	ask := func(tag string) (int, string, int) {
		t.Helper()
		status, head, body := v.do(http.MethodGet, "/v1/fleet?state=active", nil, map[string]string{"If-None-Match": tag})
		return status, head.Get("ETag"), len(body)
	}
	status, tag, n := ask("")
	if status != http.StatusOK || tag == "" || n == 0 {
		t.Fatalf("%d, tag %q, %d bytes", status, tag, n)
	}
	b.now = b.now.Add(time.Minute)
	b.exec("INSERT INTO source_health (source, instance, at, trouble) VALUES", "vault", "prod", b.now, "")
	b.see()
	if status, same, n := ask(tag); status != http.StatusNotModified || same != tag || n != 0 {
		t.Errorf("a heartbeat came, and time passed: %d, tag %q after %q, %d bytes", status, same, tag, n)
	}
	b.now = b.now.Add(2*time.Minute + time.Second)
	status, later, _ := ask(tag)
	if status != http.StatusOK || later == tag {
		t.Errorf("one has expired: %d, tag %q after %q", status, later, tag)
	}
	b.violate("vault/prod/token/b", 1, 4)
	b.see()
	if status, worse, _ := ask(later); status != http.StatusOK || worse == later {
		t.Errorf("one is past a policy: %d, tag %q after %q", status, worse, later)
	}
	if status, _, _ := v.do(http.MethodGet, "/v1/fleet?state=nonsense", nil, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("a state that there is not: %d", status)
	}
}
