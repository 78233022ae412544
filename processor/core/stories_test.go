package core

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const usagePolicies = `policy_id: "unused"
description: "Issued and never used."
metrics:
  - {name: issued_but_unused, source: any, threshold: "true", condition: equals}
action:
  - {severity: low, channel: owners, remediation_hint: "Fetch it when it is needed."}
---
policy_id: "unissued"
description: "Used and never issued."
metrics:
  - {name: used_but_unissued, source: any, threshold: "true", condition: equals}
action:
  - {severity: high, channel: security_team, remediation_hint: "Treat it as forged."}
---
policy_id: "contradiction"
description: "Two stories."
metrics:
  - {name: usage_contradiction, source: any, threshold: "true", condition: equals}
action:
  - {severity: high, channel: security_team, remediation_hint: "Find the other holder."}
`

const (
	vaultToken = "vault/default/token/a"
	jwt        = "jwtregistry/default/jwt/j-1"
	awsSession = "cloudtrail/default/session/ASIAEXAMPLE"
	gcpToken   = "gcpaudit/default/access_token/r-1"
)

// story is what the logs tell, in the order in which it happened.
type story struct {
	credential string
	events     []*pb.Event
}

func (s *story) add(kind pb.Event_Kind, after time.Duration, change func(*pb.Event)) *story {
	id := schemas.EventID("test", s.credential, fmt.Sprint(len(s.events)), 0)
	key, _ := schemas.ParseKey(s.credential)
	ev := &pb.Event{Id: id[:], Kind: kind, Credential: s.credential, Source: key.System, Instance: key.Instance,
		OccurredAt: at(after), ObservedAt: at(after), Permission: "read secret/data/a"}
	if change != nil {
		change(ev)
	}
	s.events = append(s.events, ev)
	return s
}

func (s *story) issued(after time.Duration) *story {
	return s.add(pb.Event_ISSUED, after, func(ev *pb.Event) {
		ev.Lifetime = &pb.Lifetime{IssuedAt: at(after), ExpiresAt: at(after + 90*24*time.Hour)}
	})
}

// used: n calls that the issuer logs, a second apart.
func (s *story) used(n int, after time.Duration) *story {
	for i := range n {
		s.add(pb.Event_USED, after+time.Duration(i)*time.Second, nil)
	}
	return s
}

// reported: n calls that an agent logs.
func (s *story) reported(n int, after time.Duration, outcome string, change ...func(*pb.Event)) *story {
	for i := range n {
		s.add(pb.Event_NOTED, after+time.Duration(i)*time.Second, func(ev *pb.Event) {
			ev.Source = "agentusage"
			ev.Labels = map[string]string{"reported_use": "true", "reported_outcome": outcome, "form": "json", "agent_id": "a-7"}
			for _, fn := range change {
				fn(ev)
			}
		})
	}
	return s
}

// neighbours are credentials of which their issuers tell, so that the form of their ids is known.
func neighbours(names ...string) (events []*pb.Event) {
	for _, name := range names {
		events = append(events, about(name).issued(0).used(1, 0).events...)
	}
	return events
}

const otherToken, otherJWT = "vault/default/token/other", "jwtregistry/default/jwt/other"

func about(credential string) *story { return &story{credential: credential} }

// read: all sources were read for a hundred days and are not silent.
func read(change ...func(map[string]silence.Reading)) map[string]silence.Reading {
	from := start.Add(-100 * 24 * time.Hour).UnixNano()
	readings := map[string]silence.Reading{}
	for _, source := range []string{"vault", "cloudtrail", "gcpaudit", "jwtregistry", "agentusage"} {
		readings[source+"/default"] = silence.Reading{From: from}
	}
	for _, fn := range change {
		fn(readings)
	}
	return readings
}

func silent(source string, since time.Duration) func(map[string]silence.Reading) {
	return func(readings map[string]silence.Reading) {
		r := readings[source]
		r.Since, r.Why = start.Add(since).UnixNano(), "its collector is gone"
		readings[source] = r
	}
}

func from(source string, since time.Duration) func(map[string]silence.Reading) {
	return func(readings map[string]silence.Reading) {
		readings[source] = silence.Reading{From: start.Add(since).UnixNano()}
	}
}

func (w *world) tell(events []*pb.Event) {
	for _, ev := range events {
		w.offset++
		w.core.Apply(ev, w.offset, true)
	}
}

// said is the judgement in words, and the policies that are violated.
func (w *world) said(credential string, decisions []*pb.Decision) string {
	var out []string
	w.core.Entry(credential).Usage().Each(func(verdict usage.Verdict, why usage.Reason) {
		if why.Unknown() {
			out = append(out, "?"+string(verdict)+":"+why.String())
			return
		}
		out = append(out, string(verdict)+":"+why.String())
	})
	for _, d := range decisions {
		if d.Credential != credential {
			continue
		}
		for _, v := range d.Violations {
			out = append(out, "policy "+v.PolicyId)
			if v.Evidence == "" {
				w.t.Errorf("%s has no evidence", v.PolicyId)
			}
		}
	}
	return strings.Join(out, " ")
}

var stories = map[string]struct {
	story    *story
	readings map[string]silence.Reading
	want     string
}{
	"both tell the same":     {about(vaultToken).issued(0).used(9, time.Minute).reported(9, time.Minute, "success"), read(), ""},
	"used, and no agent":     {about(vaultToken).issued(0).used(9, time.Minute), read(), ""},
	"used, issued nowhere":   {about(vaultToken).used(3, time.Minute), read(), "used_but_unissued:no_issuance policy unissued"},
	"issued, never used":     {about(vaultToken).issued(0), read(), "issued_but_unused:never_used policy unused"},
	"issued, Vault silent":   {about(vaultToken).issued(0), read(silent("vault/default", time.Hour)), "?issued_but_unused:issuer_silent"},
	"issued, nothing known":  {about(vaultToken).issued(0), nil, "issued_but_unused:never_used policy unused"},
	"issued, nobody tells":   {about(jwt).issued(0), read(), "?issued_but_unused:no_source_tells_of_use"},
	"issued, data events":    {about(awsSession).issued(0), read(), "?issued_but_unused:log_leaves_out_calls"},
	"issued by inference":    {about(gcpToken).add(pb.Event_ISSUED, 0, inferred), read(), "?issued_but_unused:id_in_no_log"},
	"only agents name it":    {about(jwt).reported(1, 0, "success"), read(), "used_but_unissued:no_issuance policy unissued"},
	"only tried by an agent": {about(jwt).reported(1, 0, "denied"), read(), "used_but_unissued:no_issuance policy unissued"},
	"only agents, Vault too": {about(vaultToken).reported(1, 0, "success"), read(),
		"used_but_unissued:no_issuance usage_contradiction:reported_but_not_in_issuers_log policy contradiction policy unissued"},
	"only agents, registry silent":   {about(jwt).reported(1, 0, "success"), read(silent("jwtregistry/default", -time.Hour)), "?used_but_unissued:issuer_silent"},
	"only agents, registry is new":   {about(jwt).reported(1, 0, "success"), read(from("jwtregistry/default", -time.Hour)), "?used_but_unissued:history_too_short"},
	"only agents, registry not read": {about(jwt).reported(1, 0, "success"), nil, "?used_but_unissued:issuer_silent"},
	"only agents, just now":          {about(jwt).reported(1, 8*time.Hour-time.Minute, "success"), read(), "?used_but_unissued:too_recent"},
	"only agents, AWS":               {about(awsSession).reported(1, 0, "success"), read(), "?used_but_unissued:issuance_not_logged ?usage_contradiction:log_leaves_out_calls"},
	"its own life is no use":         {about(vaultToken).issued(0).used(1, time.Minute).reported(50, time.Minute, "success", ownLife), read(), ""},
	"reported, not logged":           {about(vaultToken).issued(0).reported(2, time.Minute, "success"), read(), "usage_contradiction:reported_but_not_in_issuers_log policy contradiction"},
	"reported, Vault silent":         {about(vaultToken).issued(0).reported(2, time.Minute, "success"), read(silent("vault/default", 0)), "?usage_contradiction:issuer_silent"},
	"reported a moment ago":          {about(vaultToken).issued(0).reported(2, 8*time.Hour-time.Minute, "success"), read(), "?usage_contradiction:too_recent"},
	"more reported than logged":      {about(vaultToken).issued(0).used(3, time.Minute).reported(50, time.Minute, "success"), read(), "usage_contradiction:more_reported_than_logged policy contradiction"},
	"as many, told twice":            {about(vaultToken).issued(0).used(25, time.Minute).reported(25, time.Minute, "success").reported(25, time.Minute, "success", asSpan), read(), ""},
	"the rest is on its way":         {about(vaultToken).issued(0).used(3, time.Minute).reported(3, time.Minute, "success").reported(50, 8*time.Hour-2*time.Minute, "success"), read(), "?usage_contradiction:too_recent"},
	"fewer reported than logged":     {about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Minute, "success"), read(), "usage_contradiction:fewer_reported_than_logged policy contradiction"},
	"fewer, agents silent":           {about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Minute, "success"), read(silent("agentusage/default", time.Hour)), "?usage_contradiction:agents_silent"},
	"fewer, a sample":                {about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Minute, "success", sampled), read(), ""},
	"fewer, agents were not heard":   {about(vaultToken).issued(0).used(50, time.Minute).reported(3, time.Hour, "success"), nil, "?usage_contradiction:agents_silent"},
	"allowed and refused":            {about(vaultToken).issued(0).add(pb.Event_DENIED, time.Minute, nil).reported(1, time.Minute, "success"), read(), "usage_contradiction:reported_outcome_differs policy contradiction"},
	"before its issue":               {about(jwt).issued(time.Hour).reported(1, 0, "success"), nil, "usage_contradiction:reported_before_issue policy contradiction"},
	"after its end":                  {about(jwt).issued(0).add(pb.Event_REVOKED, time.Hour, nil).reported(1, 2*time.Hour, "success"), nil, "usage_contradiction:reported_after_end"},
	"refused after its end":          {about(jwt).issued(0).add(pb.Event_REVOKED, time.Hour, nil).reported(1, time.Minute, "success").reported(1, 2*time.Hour, "denied"), nil, ""},
	"used long ago, never since":     {about(vaultToken).issued(-60*24*time.Hour).used(1, -50*24*time.Hour), read(), ""},
	"reported in the future":         {about(vaultToken).issued(0).used(1, time.Minute).reported(50, time.Hour, "success", flagged(pb.Event_FUTURE)), read(), ""},
	"most of it stale":               {about(vaultToken).issued(0).used(1, time.Minute).reported(1, time.Minute, "success").reported(50, 2*time.Minute, "success", flagged(pb.Event_STALE)), read(), ""},
	"reported no longer":             {about(vaultToken).issued(-80*24*time.Hour).reported(9, -70*24*time.Hour, "success").used(9, 0), read(), "usage_contradiction:in_issuers_log_but_not_reported policy contradiction"},
}

func inferred(ev *pb.Event) {
	ev.Lifetime = &pb.Lifetime{IssuedAt: ev.OccurredAt, ExpiresAt: timestamppb.New(ev.OccurredAt.AsTime().Add(90 * 24 * time.Hour))}
	ev.Labels = map[string]string{"confidence": "inferred"}
}

func ownLife(ev *pb.Event) { ev.Permission = "update auth/token/renew-self" }
func asSpan(ev *pb.Event)  { ev.Labels["form"] = "otlp_span" }
func sampled(ev *pb.Event) { ev.Labels["sampled"] = "true" }
func flagged(f pb.Event_Flag) func(*pb.Event) {
	return func(ev *pb.Event) { ev.Flag = f }
}
