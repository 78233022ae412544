package api_test

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// happened writes an event of a credential.
func (b *bench) happened(key, kind, permission string, ago time.Duration, expires *time.Time) {
	b.t.Helper()
	at := b.now.Add(-ago)
	b.exec("INSERT INTO events (id, kind, credential, occurred_at, observed_at, permission, expires_at, written_at) VALUES",
		(key + kind + permission + ago.String() + "0123456789abcdef")[len(key):len(key)+16], kind, key, at, at, permission, expires, at)
}

const day = 24 * time.Hour

func TestWhatIfTellsWhoWouldHaveStoodPastItOnEachDay(t *testing.T) {
	b := newBench(t)
	b.rules.metrics = []rules.Metric{{Name: "credential_age", Source: "any", Condition: "greater_than", Text: "240h", Unit: "seconds", Value: (10 * day).Seconds()}}
	b.write(row{key: key(1), issued: -4 * day, expires: day}, row{key: key(2), issued: -12 * day, expires: day},
		row{key: key(3), issued: -30 * day, expires: -2*day - time.Minute}, row{key: key(4), issued: -50 * day, expires: -20 * day})
	b.see()
	got := get[contract.WhatIf](b.as("ann", viewer), "/v1/policies/long-lived/whatif?metric=credential_age&threshold=72h&days=5")
	if got.Now != 1 || got.Then != 2 || len(got.Days) != 5 || got.NoDays != nil {
		t.Fatalf("got %+v", got)
	}
	if len(got.WouldFall) != 1 || got.WouldFall[0].Key != key(1) || got.WouldFall[0].DaysAlive < 4 || got.WouldFall[0].DaysPast < 1 || got.WouldFall[0].DaysPast > 2 {
		t.Errorf("who would fall: %+v", got.WouldFall)
	}
	first, last := got.Days[0], got.Days[4]
	if !last.At.Equal(b.now) || last.Alive != 2 || last.InForce != 1 || last.Then != 2 {
		t.Errorf("now: %+v", last)
	}
	if first.Alive < 2 || first.InForce < 1 || first.Then != 2 { // the one that ended since was there, and the one that ended long ago was not
		t.Errorf("the first day: %+v", first)
	}
	if got.EverNow != 2 || got.EverThen != 3 {
		t.Errorf("ever: %d in force, %d then", got.EverNow, got.EverThen)
	}
}

func TestWhatThePastDoesNotTellIsUnknownInWhatIf(t *testing.T) {
	b := newBench(t)
	b.rules.metrics = []rules.Metric{{Name: "lifetime", Source: "any", Condition: "greater_than", Text: "1h", Unit: "seconds", Value: 3600}}
	end := b.now.Add(day)
	b.write(row{key: key(1), issued: -20 * day, expires: day}, row{key: key(2), issued: -20 * day, expires: day})
	b.happened(key(1), "RENEWED", "", 30*time.Minute, &end) // what its end was before is told by nothing
	b.see()
	got := get[contract.WhatIf](b.as("ann", viewer), "/v1/policies/long-lived/whatif?metric=lifetime&threshold=2h&days=4")
	if first := got.Days[0]; first.Unknown != 1 || first.Then != 1 || first.Alive != 2 {
		t.Errorf("the first day: %+v", first)
	}
	if last := got.Days[3]; last.Unknown != 0 || last.Then != 2 {
		t.Errorf("now: %+v", last)
	}
}

func TestNoveltyAndRotationAreKnownInWhatIf(t *testing.T) {
	b := newBench(t)
	old, fresh := b.now.Add(-20*day).UnixNano(), b.now.Add(-time.Hour).UnixNano()
	news := &pb.CredentialState{Key: key(1), FirstUsedAt: old, RotatedAt: b.now.Add(-2 * day).UnixNano(), Used: []*pb.PermissionUse{
		{Permission: "read secret/a/", FirstAt: old}, {Permission: "read secret/b/", FirstAt: fresh}, {Permission: "read secret/c/", FirstAt: fresh}}}
	b.write(row{key: key(1), issued: -20 * day, expires: day, blob: news}, row{key: key(2), issued: -20 * day, expires: day})
	b.see()
	v := b.as("ann", viewer)
	b.rules.metrics = []rules.Metric{{Name: "novelty", Source: "any", Condition: "greater_than", Text: "5", Unit: "count", Value: 5}}
	// The bench reads thresholds as durations: 1s is 1.
	got := get[contract.WhatIf](v, "/v1/policies/long-lived/whatif?metric=novelty&threshold=1s&days=3")
	if got.Then != 1 || got.Unknown != 0 || len(got.WouldFall) != 1 || got.WouldFall[0].Key != key(1) || got.Days[0].Then != 0 {
		t.Errorf("novelty: %+v", got)
	}
	b.rules.metrics = []rules.Metric{{Name: "rotation_age", Source: "any", Condition: "greater_than", Text: "720h", Unit: "seconds", Value: (30 * day).Seconds()}}
	b.now = b.now.Add(10 * time.Minute) // what was kept for the other question is over
	got = get[contract.WhatIf](v, "/v1/policies/long-lived/whatif?metric=rotation_age&threshold=120h&days=5")
	if got.Then != 1 || len(got.WouldFall) != 1 || got.WouldFall[0].Key != key(2) || got.Days[0].Unknown != 1 {
		t.Errorf("rotation: %+v", got)
	}
}

func TestTheWhatIfOfNowNeedsNoPast(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), expires: 3 * time.Hour})
	b.see()
	b.db.Close()
	got := get[contract.WhatIf](b.as("ann", viewer), "/v1/policies/long-lived/whatif?metric=lifetime&threshold=2h")
	if got.Now != 1 || got.Then != 1 || got.NoDays == nil || len(got.Days) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestACredentialTellsTheThresholdsThatHoldForIt(t *testing.T) {
	b := newBench(t)
	b.rules.metrics = []rules.Metric{{Name: "lifetime", Source: "vault", Condition: "greater_than", Text: "1h", Unit: "seconds", Value: 3600, Sources: []string{"vault"}},
		{Name: "permission_scope_complexity", Source: "any", Condition: "greater_than", Text: "5", Unit: "count", Value: 5},
		{Name: "idle_time", Source: "iam", Condition: "greater_than", Text: "1h", Unit: "seconds", Value: 3600, Sources: []string{"cloudtrail"}}}
	b.write(row{key: key(1), issued: -50 * time.Hour, expires: time.Hour, attempts: 1})
	b.happened(key(1), "DENIED", "update a", 49*time.Hour, nil)
	b.see()
	got := get[contract.Limits](b.as("ann", viewer), "/v1/credential/limits?key="+key(1))
	if len(got.Limits) != 2 {
		t.Fatalf("limits %+v", got.Limits)
	}
	if l := got.Limits[0]; l.Metric != "lifetime" || l.Match != "all" || l.Past == nil || !*l.Past || l.Now == nil || *l.Now != 51*3600 || l.Value != 3600 {
		t.Errorf("lifetime: %+v", l)
	}
	if l := got.Limits[1]; l.Past != nil || l.Now != nil {
		t.Errorf("an unknown scope: %+v", l)
	}
	by := map[string][]contract.Point{}
	for _, m := range got.Measured {
		by[m.Metric] = m.Points
	}
	attempts := by["elevation_attempts"]
	if len(attempts) != 14 || attempts[0].Value != nil || attempts[12].Value == nil || *attempts[12].Value != 1 || *attempts[13].Value != 1 {
		t.Errorf("attempts: %+v", attempts)
	}
	if age := by["credential_age"]; age[13].Value == nil || *age[13].Value != 50*3600 || age[0].Value != nil {
		t.Errorf("age: %+v", age)
	}
}

func TestARevocationThatNeedsApprovalIsApprovedBySomebodyElse(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: 90 * day}, row{key: key(2), owner: "payments", expires: 90 * day})
	for n, needs := range []bool{true, false} {
		d := b.violate(key(n+1), int64(n), 1)
		d.Ladder.RequiresApproval = needs
		b.record(schemas.TopicEnforcement, d.Credential, int64(n), &pb.LadderState{Credential: d.Credential, LadderId: "l-" + d.Credential, Step: 3, State: pb.LadderState_HELD,
			At: timestamppb.New(b.now), Decision: d, Waiting: "approval: waiting"})
	}
	b.see()
	id := "l-" + key(1)
	asked := func(ladder string) map[string]any { return map[string]any{"ladder": ladder, "reason": "looked at it"} }
	try := func(v *visitor, body map[string]any) int {
		_, status, _ := post[contract.LadderState](v, "/v1/enforcement/approve", body)
		return status
	}
	approver := b.as("ada", []string{signin.Approver})
	for what, c := range map[string]struct {
		v    *visitor
		body map[string]any
		want int
	}{
		"a viewer":                      {b.as("vic", viewer), asked(id), http.StatusForbidden},
		"an owner":                      {b.as("olga", []string{signin.Owner}, "payments"), asked(id), http.StatusForbidden},
		"its owner, though an approver": {b.as("olga", []string{signin.Owner, signin.Approver}, "payments"), asked(id), http.StatusForbidden},
		"without a reason":              {approver, map[string]any{"ladder": id, "reason": ""}, http.StatusUnprocessableEntity},
		"no such ladder":                {approver, asked("nonesuch"), http.StatusNotFound},
		"one that needs none":           {approver, asked("l-" + key(2)), http.StatusUnprocessableEntity},
	} {
		if got := try(c.v, c.body); got != c.want {
			t.Errorf("%s: %d, expected %d", what, got, c.want)
		}
	}
	for _, r := range get[contract.Enforcement](approver, "/v1/enforcement").Running {
		if l := r.Ladder; l.NeedsApproval != (r.Credential == key(1)) || l.MayApprove != l.NeedsApproval || l.ApprovedBy != nil || l.ID == "" {
			t.Errorf("%s: %+v", r.Credential, l)
		}
	}
	if c := get[contract.CredentialDetail](b.as("vic", viewer), "/v1/credential?key="+key(1)); c.Ladder.MayApprove || c.Ladder.WhyNot == nil {
		t.Errorf("to a viewer: %+v", c.Ladder)
	}
	b.db.Close() // it works while ClickHouse is away
	approved, status, body := post[contract.LadderState](approver, "/v1/enforcement/approve", asked(id))
	if status != http.StatusOK || approved.ApprovedBy == nil || *approved.ApprovedBy != "ada" || approved.MayApprove {
		t.Fatalf("%d %s", status, body)
	}
	if got := try(b.as("sid", []string{signin.Security}), asked(id)); got != http.StatusUnprocessableEntity {
		t.Errorf("a second time: %d", got)
	}
	found := false
	for _, m := range b.log.all {
		c := &pb.Control{}
		if m.Topic == schemas.TopicControl && c.UnmarshalVT(m.Value) == nil && c.Setting == pb.Control_APPROVE {
			found = c.Value == id && c.SetBy == "ada" && c.Reason == "looked at it"
		}
	}
	if !found {
		t.Error("the record does not say who approved which ladder, and why")
	}
}
