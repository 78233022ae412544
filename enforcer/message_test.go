package enforcer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestTheNotificationSaysWhatWhyByWhenAndWhatToDo(t *testing.T) {
	now := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	d := violating()
	d.Subject.Children = []string{"vault/default/token/child", "vault/default/lease/db/creds/x/1"}
	d.Subject.ChildrenTotal = 9
	d.Subject.Labels = map[string]string{"role_name": "ingest-role"}
	d.Violations[0].Evidence = "issued by record r1, renewed 3 times"
	s := &pb.LadderState{Credential: cred, LadderId: "l1", Decision: d}
	m := message(notify.Violation, now, s, d, now.Add(26*time.Hour))
	for _, want := range []string{
		"Owner: Data team", "Credential: " + cred + " (token)", "Agent: ingest", "Role: ingest-role",
		"Policy long-lived: credential_age is 2h3m, threshold greater than 1h", "Because: issued by record r1, renewed 3 times",
		"What to do: Rotate it.",
		"revoked at 2026-03-05T12:00:00Z (in 26h0m)", "With it end 9 credentials", "at least 1 leases", "vault/default/token/child",
		"leastwise exception request --credential '" + cred + "' --policy 'long-lived' --reason 'WHY' --until YYYY-MM-DD",
	} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("lacks %q:\n%s", want, m.Text)
		}
	}
	if m.RevokeAt == nil || m.Severity != "high" || m.Owner != "Data team" {
		t.Errorf("%+v", m)
	}
	if text := message(notify.Violation, now, s, d, time.Time{}).Text; !strings.Contains(text, "No revocation is planned") {
		t.Errorf("without a time:\n%s", text)
	}
	s.Proof, s.Reissue = "invalid accessor", &pb.Reissue{PolicyName: "leastwise-ingest-1", GrantedBefore: 12, GrantedAfter: 1}
	if text := message(notify.Outcome, now, s, d, time.Time{}).Text; !strings.Contains(text, "Proof: invalid accessor") ||
		!strings.Contains(text, "1 permission (before: 12)") || !strings.Contains(text, "leastwise rollback l1") {
		t.Errorf("outcome:\n%s", text)
	}
	s.Waiting = "told: nobody is known who could be told"
	if text := message(notify.Escalation, now, s, d, time.Time{}).Text; !strings.Contains(text, "Why you are told: told: nobody") {
		t.Errorf("escalation:\n%s", text)
	}
}

func TestHostileTextOfLogsStaysText(t *testing.T) {
	const evil = "x\x1b[2J\n<!here> @everyone <@U1> [click](http://evil) `rm`\u202e$(reboot)'; reboot #\r\nOwner: me"
	d := violating()
	d.Credential = evil
	d.Subject.Agent, d.Subject.Principal, d.Subject.Owner.Name = evil, evil, evil
	d.Subject.Labels = map[string]string{"role_name": evil}
	d.Subject.Children = []string{evil}
	v := d.Violations[0]
	v.PolicyId, v.Value, v.Threshold, v.Hint, v.Metric, v.Condition, v.Severity, v.Evidence = evil, evil, evil, evil, evil, evil, evil, evil
	s := &pb.LadderState{Credential: evil, LadderId: "l1", Decision: d, Waiting: evil, Proof: evil, Reissue: &pb.Reissue{PolicyName: evil, Narrowed: evil}}
	for _, kind := range []notify.Kind{notify.Violation, notify.Reminder, notify.Escalation, notify.Outcome} {
		m := message(kind, time.Now(), s, d, time.Now().Add(time.Hour))
		text := m.Title + "\n" + m.Text
		for _, bad := range []string{"\x1b", "\r", "<!", "<@", "@everyone", "`", "](", "\u202e", "\nOwner: me"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: holds %q:\n%s", kind, bad, text)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			// Pasted into a shell, the command must stay one command.
			if strings.Contains(line, "exception request") && (strings.Contains(line, "$(") || strings.Contains(line, ";") || strings.Count(line, "'") != 6) {
				t.Errorf("command: %s", line)
			}
		}
		if strings.Contains(m.Title, "\n") {
			t.Errorf("title of two lines: %q", m.Title)
		}
	}
}

func TestAFailingChannelRestsSoThatOthersAreNotHeldUp(t *testing.T) {
	box := &inbox{fail: errors.New("down")}
	l := &line{Channel: box, name: "c"}
	now := time.Now()
	m := notify.Message{}
	if err := l.send(context.Background(), now, time.Second, m); err == nil || errors.Is(err, errPaused) {
		t.Fatal(err)
	}
	if err := l.send(context.Background(), now, time.Second, m); !errors.Is(err, errPaused) {
		t.Errorf("tried again at once: %v", err)
	}
	box.fail = nil
	if err := l.send(context.Background(), now.Add(2*time.Second), time.Second, m); err != nil {
		t.Error(err)
	}
	if err := l.send(context.Background(), now.Add(2*time.Second), time.Second, m); err != nil {
		t.Errorf("rests after a success: %v", err)
	}
}

func TestTwoPartitionsDoNotTakeTheLastPlaceBoth(t *testing.T) {
	var b ledger
	now := time.Now()
	here := scope{"fake/a", "data"}
	reserve := func(at time.Time, id string) bool {
		return b.reserve(at, at.Add(-budgetWindow), id, here, room{allowed: 1})
	}
	if !reserve(now, "a") || reserve(now, "b") || !reserve(now, "a") {
		t.Error("one place, one ladder")
	}
	used := func(except string, part scope) int { return b.used(now, now.Add(-budgetWindow), except, part) }
	if used("a", scope{}) != 0 || used("b", scope{}) != 1 {
		t.Error("a ladder's own place is counted against it")
	}
	if used("b", scope{target: "fake/a"}) != 1 || used("b", scope{target: "fake/b"}) != 0 || used("b", scope{owner: "ops"}) != 0 {
		t.Error("a part counts what is not its own")
	}
	if b.used(now, now.Add(time.Second), "b", scope{}) != 0 {
		t.Error("what was before somebody resumed still counts")
	}
	if !reserve(now.Add(time.Hour), "b") {
		t.Error("the place is not free an hour later")
	}
	if b.reserve(now.Add(time.Hour), now, "c", here, room{allowed: 5}, room{scope{owner: "data"}, 1}) {
		t.Error("one part has no room")
	}
}

func TestBadConfigurationIsRefusedWithTheKey(t *testing.T) {
	for want, c := range map[string]Config{
		"mode":        {Mode: "block"},
		"budget":      {Budget: "20"},
		"retry_min":   {RetryMin: time.Hour, RetryMax: time.Minute},
		"hold_every":  {HoldEvery: -1},
		"everything":  {Protect: []Protection{{}}},
		"pattern":     {Protect: []Protection{{Credential: "[a"}}},
		"max_attempt": {MaxAttempts: -1},
		"vault/x":     {Budgets: Budgets{Target: map[string]string{"vault/x": "5"}}},
		"owner":       {Budgets: Budgets{Owner: "5/h 5%"}},
		"freeze[0]":   {Freeze: []Freeze{{From: "2026-12-20T00:00:00Z", Until: "2026-12-20T00:00:00Z"}}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
