package processor

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// told is a call as an agent's own log tells of it.
func told(credential, record, outcome string, at time.Time) *pb.Event {
	id := schemas.EventID("agentusage", "default", record, 0)
	return &pb.Event{Id: id[:], Kind: pb.Event_NOTED, Credential: credential, Source: "agentusage", Instance: "default",
		OccurredAt: timestamppb.New(at), ObservedAt: timestamppb.New(at), RecordId: record, Action: "read",
		Labels: map[string]string{"reported_use": "true", "reported_outcome": outcome, "form": "json", "agent_id": "agent-7"}}
}

// beat says that a source is read, as its collector does every half minute.
func (b *bench) beat(source string, at time.Time) {
	b.t.Helper()
	fact := &pb.Fact{Fact: &pb.Fact_Heartbeat{Heartbeat: &pb.Heartbeat{Source: source, Instance: "default", At: timestamppb.New(at),
		LastRecordAt: timestamppb.New(at)}}}
	value, err := fact.MarshalVT()
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.stream.Publish(b.t.Context(), stream.Message{Topic: schemas.TopicIdentity, Key: []byte(source + at.String()), Value: value})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestWhatAgentsSayStandsInTheTableAndSurvivesARestart(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	for _, source := range []string{"vault", "jwtregistry", "agentusage"} {
		b.beat(source, now.Add(-40*24*time.Hour))
		b.beat(source, now)
	}
	const token, forged, fine = "vault/default/token/t", "jwtregistry/default/jwt/forged", "vault/default/token/fine"
	ago := now.Add(-2 * time.Hour)
	issued := func(credential string) *pb.Event {
		ev := used(credential, 0, ago)
		ev.Kind, ev.Lifetime = pb.Event_ISSUED, &pb.Lifetime{IssuedAt: timestamppb.New(ago), ExpiresAt: timestamppb.New(now.Add(time.Hour))}
		return ev
	}
	stop := b.start()
	b.publish(issued(token), issued(fine), told(forged, "f-1", "success", ago), told(forged, "f-2", "denied", ago), told(forged, "f-2", "denied", ago))
	for n := range 16 { // so that each partition knows how the registry names its tokens
		b.publish(issued(fmt.Sprintf("jwtregistry/default/jwt/j-%d", n)))
	}
	for n := range 40 {
		b.publish(used(token, n+1, ago.Add(time.Minute)))
		if n < 2 {
			b.publish(told(token, fmt.Sprintf("t-%d", n), "success", ago.Add(time.Minute)))
		}
	}
	b.publish(used(fine, 1, ago), told(fine, "g-1", "success", ago))
	const findings = "SELECT count() FROM v_usage_findings WHERE credential = '%s' AND finding = '%s' AND reason = '%s' AND found"
	all := func() {
		b.until(fmt.Sprintf(findings, token, "usage_contradiction", "fewer_reported_than_logged"), 1)
		b.until(fmt.Sprintf(findings, forged, "used_but_unissued", "no_issuance"), 1)
		b.until("SELECT reported_uses FROM v_credentials WHERE credential = '"+forged+"'", 1)
		b.until("SELECT reported_denied FROM v_credentials WHERE credential = '"+forged+"'", 1)
		b.until("SELECT count() FROM v_credentials WHERE used_but_unissued AND usage_contradiction = false AND reported_last_at IS NOT NULL", 1)
		b.until("SELECT count() FROM v_credentials WHERE credential = '"+fine+"' AND usage_contradiction = false AND issued_but_unused = false AND empty(usage_reasons)", 1)
		b.until("SELECT sum(uses) FROM v_credentials", 41)
	}
	all()
	stop()
	stop = b.start()
	b.publish(told(forged, "f-1", "success", ago)) // delivered again
	b.publish(told(token, "t-9", "success", ago.Add(time.Minute)))
	b.until("SELECT reported_uses FROM v_credentials WHERE credential = '"+token+"'", 3)
	all()
	stop()
}
