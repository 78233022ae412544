package gate

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestRunningServersGraphAndExceptionsCount(t *testing.T) {
	client := kafkatest.New(t)
	if err := client.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicIdentity, Partitions: 2}, {Name: schemas.TopicExceptions, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	publish := func(topic, key string, m interface{ MarshalVT() ([]byte, error) }) {
		t.Helper()
		value, err := m.MarshalVT()
		if err == nil {
			err = client.Publish(t.Context(), stream.Message{Topic: topic, Key: []byte(key), Value: value})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link := func(kind pb.Link_Kind, from, to string) {
		l := &pb.Link{Kind: kind, From: from, To: to, Confidence: pb.Link_ASSERTED, At: timestamppb.New(now), Evidence: "said"}
		l.Id = identity.ID(l)
		publish(schemas.TopicIdentity, l.Id, &pb.Fact{Fact: &pb.Fact_Link{Link: l}})
	}
	link(pb.Link_SAME_AS, identity.AgentNode("backup"), "kubernetes/default/serviceaccount/system:serviceaccount:payments:ingest")
	link(pb.Link_OWNED_BY, identity.AgentNode("backup"), identity.OwnerNode("sre"))
	found := func(subject, about string, standing bool) {
		f := &pb.Finding{Source: "certlog", Kind: schemas.FindingUnissuedCertificate, Subject: subject, Detail: "nobody issued " + subject,
			About: []string{"certlog/ct/certificate/x", about}, Standing: standing, Since: timestamppb.New(now), At: timestamppb.New(now)}
		publish(schemas.TopicIdentity, "finding/"+subject, &pb.Fact{Fact: &pb.Fact_Finding{Finding: f}})
	}
	found("this", sharedKey, true)
	found("another's", "spiffe/example.org/id/spiffe://example.org/other", true)
	found("that", sharedKey, true)
	found("that", sharedKey, false)
	publish(schemas.TopicExceptions, "ex-7", &pb.Exception{Id: "ex-7", Identity: sharedKey, PolicyId: PolicyID, Reason: "r", RequestedBy: "ann",
		RequestedAt: timestamppb.New(now), ApprovedBy: "bob", ApprovedAt: timestamppb.New(now), Until: timestamppb.New(now.Add(time.Hour))})
	if err := client.Publish(t.Context(), stream.Message{Topic: schemas.TopicIdentity, Key: []byte("x"), Value: []byte("no fact")}); err != nil {
		t.Fatal(err)
	}

	live := NewLive(client)
	g := New(Options{Catalog: gateOf(t, withoutMover(), Config{}, "").catalog, Graph: Graph{Read: live.Graph}, Exceptions: live.Exceptions, Noticed: live.Noticed,
		Now: func() time.Time { return now }})
	report, err := check(t, g, deployment("payments", "ingest"))
	if err != nil || report.Allowed || report.Workloads[0].Problems[0].Code != "unreadable" {
		t.Errorf("a graph not read yet is taken for an empty one: %v %+v", err, report.Workloads[0].Problems)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- live.Run(ctx) }()
	patience, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	live.Wait(patience)
	report, err = check(t, g, deployment("payments", "ingest")+"---\n"+deployment("payments", "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	if p := report.Workloads[0].Problems; len(p) != 1 || !strings.Contains(p[0].Text, "owner sre (identity graph: said; said)") {
		t.Errorf("%+v", p)
	}
	if !report.Workloads[1].Allowed {
		t.Errorf("the stored exception does not count: %+v", report.Workloads[1].Problems)
	}
	warned := strings.Join(report.Workloads[1].Warnings, "\n")
	if !strings.Contains(warned, "unissued_certificate stands since") || !strings.Contains(warned, "nobody issued this") ||
		strings.Contains(warned, "that") || strings.Contains(warned, "another's") {
		t.Errorf("what sources found: %s", warned)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
