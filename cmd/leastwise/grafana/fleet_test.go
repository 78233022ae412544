package grafana

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The fleet beside the one of the audit log: a few credentials in which everything that a panel shows has happened.
const (
	deploy  = "vault/default/token/deploy"  // made archive
	archive = "vault/default/token/archive" // long-lived, probing, in use, revoked once before; the credential that panels are asked about
	helper  = "vault/default/token/helper"  // made by archive
	spare   = "vault/default/token/spare"   // never used
	ending  = "vault/default/token/ending"  // ends within the week
	bare    = "vault/default/token/bare"    // only seen in use: nothing else is known of it
	gone    = "vault/default/token/gone"    // was revoked, with proof
	key     = "cloudtrail/111122223333/access_key/AKIAEXAMPLE"
	session = "cloudtrail/111122223333/session_key/ASIAEXAMPLE"
)

// hostile are names as somebody would choose them who wants more than to be shown.
var hostile = []string{
	`vault/default/token/x' OR 1=1 -- `,
	`vault/default/token/\' OR 1=1 -- `,
	`vault/default/token/\`,
	`vault/default/token/"; DROP TABLE events; --`,
	`vault/default/token/${owner:raw} $__timeFilter(a) $__conditionalAll(1=1, $owner) {x:String} %27 %s ?`,
	"vault/default/token/<img src=x onerror=alert(1)>\u202e[a](javascript:alert(1))\n\t=1+1",
}

const catalogText = `owners:
  - {id: payments, name: "Payments platform team"}
  - {id: sre, name: "Site reliability"}
systems: [{id: registry, name: "Service registry"}]
agents:
  - {id: archiver, name: "Archive agent", owner: payments, system: registry, match: [{vault_entity: e-archive}, {spiffe_id: "spiffe://example.org/archive"}], expected_use: {per_hour: 120}}
  - {id: deployer, name: "Deployer", owner: sre, system: registry, match: [{vault_entity: e-deploy}]}
  - {id: twin-a, owner: sre, system: registry, match: [{vault_entity: e-twin}]}
  - {id: twin-b, owner: payments, system: registry, match: [{vault_entity: e-twin}]}
`

// story collects what collectors would publish.
type story struct {
	now    time.Time
	events []*pb.Event
	n      int
}

func (s *story) ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(s.now.Add(-d)) }

const day = 24 * time.Hour

func (s *story) say(kind pb.Event_Kind, credential string, ago time.Duration, change func(*pb.Event)) {
	s.n++
	k, _ := schemas.ParseKey(credential)
	record := fmt.Sprintf("r%d", s.n)
	id := schemas.EventID(k.System, k.Instance, record, 0)
	ev := &pb.Event{Id: id[:], Kind: kind, Credential: credential, Source: k.System, Instance: k.Instance, OccurredAt: s.ago(ago),
		ObservedAt: s.ago(ago - 2*time.Second), RecordId: record, Position: "audit.log:" + fmt.Sprint(s.n), RemoteAddress: "192.0.2.7"}
	if change != nil {
		change(ev)
	}
	s.events = append(s.events, ev)
}

func (s *story) issued(credential, principal, parent string, ago, life time.Duration, policies ...string) {
	s.say(pb.Event_ISSUED, credential, ago, func(ev *pb.Event) {
		ev.Principal, ev.Parent, ev.Orphan, ev.Policies, ev.Action = principal, parent, parent == "", policies, "create"
		ev.Lifetime = &pb.Lifetime{IssuedAt: s.ago(ago), NeverExpires: life == 0}
		if life > 0 {
			ev.Lifetime.ExpiresAt = s.ago(ago - life)
		}
	})
	if parent != "" {
		s.say(pb.Event_LINKED, parent, ago, func(ev *pb.Event) { ev.Child = credential })
	}
}

func (s *story) call(kind pb.Event_Kind, credential, permission string, ago time.Duration) {
	s.say(kind, credential, ago, func(ev *pb.Event) {
		ev.Permission, ev.Resource, ev.Action, ev.Outcome = permission, "secret/data/archive", "call", pb.Outcome_OUTCOME_SUCCESS
		if kind == pb.Event_DENIED {
			ev.Outcome, ev.Error = pb.Outcome_OUTCOME_FAILURE, "permission denied"
		}
	})
}

func tell(now time.Time) *story {
	s := &story{now: now}
	s.issued(deploy, "vault/default/entity/e-deploy", "", 21*day, 60*day, "deploy")
	s.issued(archive, "vault/default/entity/e-archive", deploy, 20*day, 60*day, "archive-rw")
	s.issued(helper, "vault/default/entity/e-archive", archive, 2*day, 10*day, "archive-rw")
	s.issued(spare, "vault/default/entity/e-archive", "", 9*day, 40*day, "archive-rw")
	s.issued(ending, "vault/default/entity/e-deploy", "", 5*day, 8*day, "deploy")
	s.issued(gone, "vault/default/entity/e-archive", "", 6*day, 30*day, "archive-rw")
	s.issued(key, "cloudtrail/111122223333/user/backup", "", 200*day, 0)
	s.issued(session, "cloudtrail/111122223333/role_session/backup", key, 3*time.Hour, 12*time.Hour)
	s.issued("vault/default/token/twin", "vault/default/entity/e-twin", "", 3*time.Hour, 12*time.Hour, "deploy")
	for _, name := range hostile {
		s.issued(name, "vault/default/entity/"+name, "", 4*day, 30*day, "archive-rw", name)
		s.call(pb.Event_USED, name, "read secret/data/"+name, time.Hour)
		s.call(pb.Event_DENIED, name, "update secret/data/"+name, time.Hour)
	}
	for h := range 60 {
		s.call(pb.Event_USED, archive, "read secret/data/archive/a", time.Duration(h)*2*time.Hour+3*time.Minute)
		s.call(pb.Event_USED, deploy, "update auth/token/create", time.Duration(h)*3*time.Hour+4*time.Minute)
		s.call(pb.Event_USED, bare, "read secret/data/b", time.Duration(h)*time.Hour+5*time.Minute)
		s.call(pb.Event_USED, ending, "read secret/data/c", time.Duration(h)*time.Hour+6*time.Minute)
		s.call(pb.Event_USED, session, "s3:GetObject", time.Duration(h)*2*time.Minute+6*time.Minute)
	}
	for n := range 14 {
		s.call(pb.Event_DENIED, archive, fmt.Sprintf("update secret/data/other/%d", n), time.Duration(n)*5*time.Hour+7*time.Minute)
	}
	s.say(pb.Event_REVOKED, gone, day, func(ev *pb.Event) { ev.Actor, ev.Action = deploy, "revoke" })
	return s
}

func facts(s *story) map[string]*pb.Fact {
	out := map[string]*pb.Fact{}
	for name, rules := range map[string][]*pb.Rule{
		"archive-rw": {{Resource: "secret/data/archive/*", Capabilities: []string{"create", "delete", "read", "update"}},
			{Resource: "secret/metadata/*", Capabilities: []string{"list", "read"}}, {Resource: "sys/policies/acl/*", Capabilities: []string{"update"}}},
		"deploy": {{Resource: "auth/token/create", Capabilities: []string{"update"}}},
	} {
		id := "vault/default/policy/" + name
		out[id] = &pb.Fact{Fact: &pb.Fact_Grant{Grant: &pb.Grant{Id: id, Rules: rules, AsOf: s.ago(30 * day)}}}
	}
	beat := func(source, instance, trouble string, at, last time.Duration, letters, unknown uint64) {
		b := &pb.Heartbeat{Source: source, Instance: instance, At: s.ago(at), LastRecordAt: s.ago(last), Records: 100, Events: 90,
			DeadLetters: letters, Unknown: unknown, Trouble: trouble, Blind: trouble != ""}
		out["heartbeat/"+source+"/"+instance] = &pb.Fact{Fact: &pb.Fact_Heartbeat{Heartbeat: b}}
	}
	beat("cloudtrail", "111122223333", "", 5*time.Second, time.Minute, 0, 3)
	beat("spire", "default", "", 3*time.Hour, 4*time.Hour, 0, 0)
	beat("gcpaudit", "default", "permission denied on subscription audit", 5*time.Second, day, 2, 0)
	link := func(kind pb.Link_Kind, from, to string, ago time.Duration, retracted bool, evidence string) {
		l := &pb.Link{Id: schemas.LinkID(kind.String(), from, to), Kind: kind, From: from, To: to, Confidence: pb.Link_PROVEN,
			Evidence: evidence, At: s.ago(ago), Retracted: retracted}
		out[l.Id+fmt.Sprint(ago)] = &pb.Fact{Fact: &pb.Fact_Link{Link: l}}
	}
	link(pb.Link_SAME_AS, "vault/default/entity/e-archive", "spire/example.org/spiffe_id/spiffe://example.org/archive-old", 19*day, false, "login 17 of the archive agent's old host")
	link(pb.Link_SAME_AS, "vault/default/entity/e-archive", "spire/example.org/spiffe_id/spiffe://example.org/archive-old", 10*day, true, "the entry was deleted")
	f := &pb.Finding{Source: "certlog", Instance: "argon", Kind: schemas.FindingLogShrunkTree, Subject: "log argon", Standing: true,
		Detail: "the log shows fewer certificates than it did: ask its operator", Evidence: []string{"tree of 12 entries, later of 9"},
		About: []string{archive, "vault/default/entity/e-archive"}, Since: s.ago(day), At: s.ago(time.Hour)}
	out[schemas.FindingKey(f)] = &pb.Fact{Fact: &pb.Fact_Finding{Finding: f}}
	return out
}

func exceptions(s *story) []*pb.Exception {
	return []*pb.Exception{
		{Id: "ex-1", Credential: deploy, PolicyId: "long-lived-single-credential", Reason: "the deployer moves to short tokens in May", Ticket: "OPS-12",
			Until: s.ago(-4 * day), RequestedBy: "ann", RequestedAt: s.ago(9 * day), ApprovedBy: "bob", ApprovedAt: s.ago(8 * day)},
		{Id: "ex-2", Credential: archive, PolicyId: "probing", Reason: "'; -- <b>", Ticket: "OPS-13", Until: s.ago(-20 * day),
			RequestedBy: "cid", RequestedAt: s.ago(day)},
		{Id: "ex-3", Identity: "vault/default/entity/e-archive", PolicyId: "*", Reason: "migration", Ticket: "OPS-9", Until: s.ago(2 * day),
			RequestedBy: "cid", RequestedAt: s.ago(12 * day), ApprovedBy: "bob", ApprovedAt: s.ago(12 * day)},
		{Id: "ex-4", Credential: spare, PolicyId: "unused-write", Reason: "asked twice", Ticket: "OPS-7", Until: s.ago(-30 * day), RequestedBy: "ann",
			RequestedAt: s.ago(6 * day), ApprovedBy: "bob", ApprovedAt: s.ago(6 * day), RevokedBy: "eve", RevokedAt: s.ago(3 * day)},
	}
}

// ladders are journal entries of an enforcer in mode enforce, which this site's own, in mode observe, does not write.
func ladders(s *story) (out []*pb.LadderState) {
	step := uint64(1000)
	add := func(credential string, state pb.LadderState_State, ago time.Duration, change func(*pb.LadderState)) {
		step++
		l := &pb.LadderState{Credential: credential, LadderId: "ladder-" + credential, Step: step, State: state, At: s.ago(ago), Writer: "enforcer-1"}
		if change != nil {
			change(l)
		}
		out = append(out, l)
	}
	coming := func(l *pb.LadderState) {
		l.RevokeAt, l.NotifiedAt, l.Told, l.Reason = s.ago(-20*time.Hour), s.ago(4*time.Hour), []string{"payments_alerts"}, "violates long-lived-single-credential"
	}
	add(archive, pb.LadderState_VIOLATED, 5*time.Hour, nil)
	add(archive, pb.LadderState_NOTIFIED, 4*time.Hour, coming)
	add(archive, pb.LadderState_REMINDED, time.Hour, coming)
	add(spare, pb.LadderState_HELD, 3*time.Hour, func(l *pb.LadderState) {
		l.RevokeAt, l.Waiting = s.ago(2*time.Hour), "budget: 20 of 20 this hour"
	})
	add(ending, pb.LadderState_ESCALATED, 2*time.Hour, func(l *pb.LadderState) { l.Reason = "the owner could not be told" })
	add(helper, pb.LadderState_RETRYING, time.Hour, func(l *pb.LadderState) {
		l.RevokeAt = s.ago(time.Hour)
		l.Attempt = &pb.Attempt{Number: 3, At: s.ago(time.Minute), NextAt: s.ago(-time.Minute), Error: "503 Vault is sealed"}
	})
	add(deploy, pb.LadderState_EXEMPTED, 8*day, func(l *pb.LadderState) { l.ExceptionId = "ex-1" })
	add(gone, pb.LadderState_REVOKE_INTENDED, day+time.Minute, nil)
	proven := func(l *pb.LadderState) {
		l.Proof, l.SeenInLogAt = "lookup-accessor answered 403: invalid accessor", s.ago(day-time.Second)
		l.Reissue = &pb.Reissue{PolicyName: "leastwise-gone", GrantedBefore: 7, GrantedAfter: 2}
	}
	add(gone, pb.LadderState_REVOKED, day, proven)
	add(gone, pb.LadderState_REISSUED, day-time.Second, proven)
	add(gone, pb.LadderState_CLOSED, day-2*time.Second, proven)
	return out
}

// decisions of days past; those of today the processor makes.
func decisions(s *story) (out []*pb.Decision) {
	for n := range 12 {
		for i, c := range []string{archive, spare, deploy} {
			d := &pb.Decision{Credential: c, DecidedAt: s.ago(time.Duration(n)*12*time.Hour + time.Hour), PolicyRevision: "1", Ladder: &pb.Ladder{},
				Violations: []*pb.Violation{{PolicyId: "long-lived-single-credential", Metric: "credential_age", Value: "20d", Threshold: "24h",
					Severity: "high", Deviation: float64(10 - n/2 - i)}}}
			out = append(out, d)
		}
	}
	return out
}

// historyPartition is one that the site's own topics do not have.
const historyPartition = 1000

// fill tells the story, and waits until the tables hold all of it.
func (s *site) fill(ctx context.Context) error {
	st := tell(time.Now())
	var messages []stream.Message
	var failed error
	message := func(topic, key string, value []byte, err error) {
		failed = cmp.Or(failed, err)
		messages = append(messages, stream.Message{Topic: topic, Key: []byte(key), Value: value})
	}
	for k, f := range facts(st) {
		value, err := f.MarshalVT()
		message(schemas.TopicIdentity, k, value, err)
	}
	for _, ev := range st.events {
		value, err := ev.MarshalVT()
		message(schemas.TopicEvents, ev.Credential, value, err)
	}
	for _, e := range exceptions(st) {
		value, err := e.MarshalVT()
		message(schemas.TopicExceptions, e.Id, value, err)
	}
	if failed != nil {
		return failed
	}
	if err := s.bus.Publish(ctx, messages...); err != nil {
		return err
	}
	if err := s.writeHistory(ctx, st); err != nil {
		return err
	}
	for query, want := range map[string]uint64{
		fmt.Sprintf("SELECT uniqExact(id) FROM events WHERE id IN (SELECT id FROM events WHERE position LIKE 'audit.log:%%')"): uint64(len(st.events)),
		"SELECT count() FROM v_credentials":                                            45,
		"SELECT count() FROM exceptions FINAL":                                         4,
		"SELECT count() FROM v_dead_letters":                                           5,
		"SELECT count() FROM v_sources":                                                4,
		"SELECT count() FROM v_reach WHERE credential = '" + archive + "'":             1,
		"SELECT count() FROM v_source_findings":                                        1,
		"SELECT count() FROM v_identity_conflicts":                                     1,
		"SELECT count() FROM v_link_history WHERE retracted":                           1,
		"SELECT uniqExact(policy) FROM v_findings":                                     4,
		"SELECT count() FROM v_findings WHERE credential = '" + archive + "'":          2,
		"SELECT count() FROM v_credentials WHERE owner = 'payments'":                   3,
		"SELECT count() FROM v_scope_permissions WHERE credential = '" + archive + "'": 7,
	} {
		if err := s.until(ctx, want, query); err != nil {
			return err
		}
	}
	return nil
}
