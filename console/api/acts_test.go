package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// answering stands for the rooms that answer slow questions.
type answering struct {
	asked atomic.Int64
	plan  *contract.Plan
}

func (a *answering) Compromise(_ context.Context, key, after string, at time.Time) (*contract.Compromise, error) {
	a.asked.Add(1)
	if after == "rightsize" {
		return nil, fmt.Errorf("follow permissions: %w", context.DeadlineExceeded)
	}
	start := contract.Place{Key: key, Kind: "credential", Name: key}
	return &contract.Compromise{At: at, Leaks: []contract.Leak{{Credential: key, AfterWhat: after, Before: contract.Reached{Start: start, Paths: []contract.Way{}}}}}, nil
}

func (a *answering) Rightsize(_ context.Context, key string, days, replay int, _ time.Time) (*contract.Rightsize, error) {
	a.asked.Add(1)
	if key == "agent/nobody" {
		return nil, fmt.Errorf("%w: nobody", rules.ErrNotFound)
	}
	return &contract.Rightsize{Name: key, ReplayDays: days*1000 + replay, Credentials: []string{}, Gaps: []string{}, Uses: []contract.PermissionUse{}, Refusals: []contract.PermissionUse{}}, nil
}

func (a *answering) Plan(context.Context) (*contract.Plan, error) { return a.plan, nil }

func said(ladder, act string) map[string]any {
	return map[string]any{"ladder": ladder, "act": act, "reason": "looked at it"}
}

// ladder writes one of a credential.
func (b *bench) ladder(n int, state pb.LadderState_State, change func(*pb.LadderState)) string {
	d := b.violate(key(n), int64(n), 1)
	l := &pb.LadderState{Credential: d.Credential, LadderId: fmt.Sprintf("l-%d", n), Step: 3, State: state, At: timestamppb.New(b.now), Decision: d}
	if change != nil {
		change(l)
	}
	b.record(schemas.TopicEnforcement, d.Credential, int64(n), l)
	return l.LadderId
}

func TestTwoApprovalsAreTwoPeoples(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: 90 * day})
	id := b.ladder(1, pb.LadderState_HELD, func(l *pb.LadderState) {
		l.Decision.Ladder.Approvals = &pb.Approvals{Revoke: 2, Finish: 1}
		l.Waiting = "approval: waiting for two people to approve ladder l-1"
	})
	b.see()
	ann, bob := b.as("Ann", []string{signin.Approver}), b.as("bob", []string{signin.Security})
	if l := get[contract.Enforcement](ann, "/v1/enforcement").Running[0].Ladder; !l.Awaited || len(l.Approvals) != 2 || l.Approvals[0].Needed != 2 || l.Approvals[0].Missing != 2 ||
		!l.MayApprove || !strings.Contains(*l.Waiting, "two people have to approve") {
		t.Fatalf("before: %+v", l)
	}
	first, status, body := post[contract.LadderState](ann, "/v1/enforcement/approve", map[string]any{"ladder": id, "reason": "ok"})
	if status != http.StatusOK || first.ApprovedBy != nil || first.MayApprove || first.Approvals[0].Missing != 1 || first.Approvals[0].By[0].Name != "Ann" {
		t.Fatalf("the first: %d %s", status, body)
	}
	for what, v := range map[string]*visitor{"again": ann, "in another spelling": b.as(" ann ", []string{signin.Approver})} {
		if _, status, body := post[contract.LadderState](v, "/v1/enforcement/approve", said(id, "revoke")); status != http.StatusForbidden || !strings.Contains(body, "one more person") {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	both, status, body := post[contract.LadderState](bob, "/v1/enforcement/approve", said(id, "revoke"))
	if status != http.StatusOK || both.ApprovedBy == nil || *both.ApprovedBy != "Ann, bob" || both.Approvals[0].Missing != 0 {
		t.Errorf("the second: %d %s", status, body)
	}
	if _, status, _ := post[contract.LadderState](b.as("cid", []string{signin.Security}), "/v1/enforcement/approve", said(id, "revoke")); status != http.StatusUnprocessableEntity {
		t.Errorf("a third: %d", status)
	}
	if finish, status, body := post[contract.LadderState](ann, "/v1/enforcement/approve", said(id, "finish")); status != http.StatusOK || finish.Approvals[1].Act != "finish" || finish.Approvals[1].Missing != 0 {
		t.Errorf("another act: %d %s", status, body)
	}
	for act, want := range map[string]int{"narrow": http.StatusUnprocessableEntity, "restore": http.StatusUnprocessableEntity, "destroy": http.StatusUnprocessableEntity} {
		if _, status, _ := post[contract.LadderState](bob, "/v1/enforcement/approve", said(id, act)); status != want {
			t.Errorf("%s: %d", act, status)
		}
	}
}

func TestWhatWasTakenIsAskedBackWithAReasonAndApprovedByOthers(t *testing.T) {
	b := newBench(t)
	for n := range 3 {
		b.write(row{key: key(n + 1), owner: "payments", expires: 90 * day})
	}
	until := timestamppb.New(b.now.Add(time.Hour))
	id := b.ladder(1, pb.LadderState_REVOKED, func(l *pb.LadderState) {
		l.Decision.Ladder.Approvals = &pb.Approvals{Restore: 1}
		l.Proof, l.WorksUntil, l.RevokedAt = "gone", until, timestamppb.New(b.now)
	})
	untaken := b.ladder(2, pb.LadderState_NOTIFIED, nil)
	narrowed := b.ladder(3, pb.LadderState_REISSUED, func(l *pb.LadderState) {
		l.Reissue = &pb.Reissue{PolicyName: "rightsized-x", GrantedBefore: 30, GrantedAfter: 2}
	})
	b.see()
	sid, ann := b.as("sid", []string{signin.Security}), b.as("ann", []string{signin.Approver})
	done := get[contract.Enforcement](sid, "/v1/enforcement").Done
	for _, d := range done {
		if d.Credential == key(1) && (d.Ladder.ExposedUntil == nil || !d.Ladder.ExposedUntil.Equal(until.AsTime()) || !d.Ladder.MayRestore) {
			t.Errorf("done: %+v", d.Ladder)
		}
		if d.Credential == key(3) && (!d.Ladder.MayRollBack || d.Ladder.Reissue.GrantedAfter != 2) {
			t.Errorf("narrowed: %+v", d.Ladder)
		}
	}
	const path = "/v1/enforcement/restore"
	for what, c := range map[string]struct {
		v              *visitor
		ladder, reason string
		want           int
	}{
		"a viewer":          {b.as("vic", viewer), id, "x", http.StatusForbidden},
		"an owner":          {b.as("olga", []string{signin.Owner}, "payments"), id, "x", http.StatusForbidden},
		"without a reason":  {sid, id, "", http.StatusUnprocessableEntity},
		"with a blank one":  {sid, id, "  ", http.StatusUnprocessableEntity},
		"nothing was taken": {sid, untaken, "x", http.StatusUnprocessableEntity},
		"no such ladder":    {sid, "nonesuch", "x", http.StatusNotFound},
	} {
		if _, status, body := post[contract.LadderState](c.v, path, map[string]any{"ladder": c.ladder, "reason": c.reason}); status != c.want {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if _, status, _ := post[contract.LadderState](ann, "/v1/enforcement/approve", said(id, "restore")); status != http.StatusUnprocessableEntity {
		t.Errorf("approved before it is asked for: %d", status)
	}
	hostile := `<img src=x onerror=alert(1)> ` + "\u202e"
	wish, status, body := post[contract.LadderState](sid, path, map[string]any{"ladder": id, "reason": hostile})
	if status != http.StatusOK || wish.Restoration == nil || wish.Restoration.AskedBy != "sid" || wish.Restoration.Reason != hostile || wish.MayRestore {
		t.Fatalf("%d %s", status, body)
	}
	if back := get[contract.Enforcement](ann, "/v1/enforcement").GivenBack; len(back) != 1 || back[0].Credential != key(1) {
		t.Errorf("the list of what was asked back: %+v", back)
	}
	if _, status, body := post[contract.LadderState](sid, "/v1/enforcement/approve", said(id, "restore")); status != http.StatusForbidden {
		t.Errorf("who asked approves: %d %s", status, body)
	}
	if _, status, body := post[contract.LadderState](b.as("otto", []string{signin.Owner, signin.Approver}, "payments"), "/v1/enforcement/approve", said(id, "restore")); status != http.StatusForbidden {
		t.Errorf("its owner approves: %d %s", status, body)
	}
	if l, status, body := post[contract.LadderState](ann, "/v1/enforcement/approve", said(id, "restore")); status != http.StatusOK || l.Approvals[0].Missing != 0 {
		t.Errorf("another approves: %d %s", status, body)
	}
	if _, status, _ := post[contract.LadderState](sid, path, map[string]any{"ladder": id, "reason": "again"}); status != http.StatusUnprocessableEntity {
		t.Errorf("asked twice: %d", status)
	}
	back := map[string]any{"ladder": narrowed, "reason": "it refuses what it needs"}
	if _, status, _ := post[contract.LadderState](b.as("vic", viewer), "/v1/enforcement/rollback", back); status != http.StatusForbidden {
		t.Errorf("a viewer rolls back: %d", status)
	}
	if l, status, body := post[contract.LadderState](ann, "/v1/enforcement/rollback", back); status != http.StatusOK || !l.Reissue.Undoing || l.MayRollBack {
		t.Errorf("roll back: %d %s", status, body)
	}
	if _, status, _ := post[contract.Status](ann, "/v1/enforcement/resume", map[string]any{"reason": "x"}); status != http.StatusForbidden {
		t.Errorf("an approver resumes: %d", status)
	}
	if _, status, body := post[contract.Status](sid, "/v1/enforcement/resume", map[string]any{"reason": "the policy is mended"}); status != http.StatusOK {
		t.Errorf("resume: %d %s", status, body)
	}
}

func TestSlowQuestionsAreTheOwnersAndAskedOnce(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: day, principal: "vault/default/entity/e"}, row{key: key(2), owner: "sre", expires: day})
	b.see()
	olga, vic := b.as("olga", []string{signin.Owner}, "payments"), b.as("vic", viewer)
	one := "/v1/compromise?after=revoke&key=" + url.QueryEscape(key(1))
	if got := get[contract.Compromise](olga, one).Leaks; len(got) != 1 || got[0].AfterWhat != "revoke" {
		t.Errorf("got %+v", got)
	}
	get[contract.Compromise](vic, one)
	if n := b.answers.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if got := get[contract.Rightsize](vic, "/v1/rightsize?days=7&replay=9&key=vault/default/entity/e"); got.ReplayDays != 7009 {
		t.Errorf("got %+v", got)
	}
	if status, _, body := vic.do(http.MethodGet, "/v1/compromise?after=rightsize&key="+key(1), nil, nil); status != http.StatusServiceUnavailable || !strings.Contains(string(body), "took too long") {
		t.Errorf("one that takes too long: %d %s", status, body)
	}
	hostile := url.QueryEscape("<img src=x>' OR 1=1 --")
	for path, want := range map[string]int{"/v1/compromise?key=" + key(2): 403, "/v1/rightsize?key=" + key(2): 403, "/v1/rightsize?key=vault/default/entity/e": 403, "/v1/compromise?key=none": 403} {
		if status, _, body := olga.do(http.MethodGet, path, nil, nil); status != want {
			t.Errorf("an owner asks %s: %d %s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/v1/compromise?key=" + hostile: 404, "/v1/compromise?after=burn&key=" + key(1): 422, "/v1/rightsize?days=0&key=" + key(1): 422, "/v1/compromise": 422,
		"/v1/rightsize?replay=401&key=" + key(1): 422} {
		if status, head, body := vic.do(http.MethodGet, path, nil, nil); status != want || head.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestThePlanShowsOwnersTheirsInWords(t *testing.T) {
	b := newBench(t)
	b.write(row{key: key(1), owner: "payments", expires: day}, row{key: key(2), owner: "sre", expires: day})
	mine := b.ladder(1, pb.LadderState_NOTIFIED, nil)
	other := b.ladder(2, pb.LadderState_NOTIFIED, nil)
	b.see()
	b.answers.plan = &contract.Plan{Mode: "enforce", Ladders: []contract.PlannedStep{
		{Credential: key(1), Ladder: mine, Act: "revoke", Refused: []contract.PlannedRefusal{{Guard: "kill_switch", Reason: "switched on by guard"}}},
		{Credential: key(2), Ladder: other, Refused: []contract.PlannedRefusal{}}}}
	all := get[contract.Plan](b.as("vic", viewer), "/v1/plan")
	if len(all.Ladders) != 2 || all.Ladders[0].Standing == nil || all.Ladders[0].Refused[0].Text != "everything is stopped by the kill switch (guard switched it on)" {
		t.Errorf("got %+v", all)
	}
	if got := get[contract.Plan](b.as("olga", []string{signin.Owner}, "payments"), "/v1/plan"); len(got.Ladders) != 1 || got.Ladders[0].Credential != key(1) || got.Others != 1 {
		t.Errorf("an owner is shown %+v", got)
	}
	if b.answers.plan.Ladders[0].Refused[0].Text != "" {
		t.Error("the kept answer was changed")
	}
}

func TestATableOfNothingHasItsColumns(t *testing.T) {
	b := newBench(t)
	b.see()
	v := b.as("ann", viewer)
	for path, want := range map[string]string{"/v1/credentials": "seconds_left,", "/v1/exceptions": "id,credential,", "/v1/dead-letters": "id,source,", "/v1/duties": "credential,agent,"} {
		if status, _, body := v.do(http.MethodGet, path, nil, map[string]string{"Accept": "text/csv"}); status != http.StatusOK || !strings.HasPrefix(string(body), want) || strings.Count(string(body), "\n") != 1 {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
}
