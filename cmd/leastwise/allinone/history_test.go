package allinone

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/schemas/migrations"
)

const (
	roleARN = "arn:aws:iam::123456789012:role/reports"
	agentID = "spiffe://example.org/spire/agent/x"
)

func TestHistoryTellsTheTargetsWhatTheirIssuersDoNot(t *testing.T) {
	db := storetest.New(t)
	if err := db.Migrate(t.Context(), migrations.FS); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	start := now.Add(-40 * 24 * time.Hour)
	ev := func(source, key, principal string, kind pb.Event_Kind, at, ends time.Time, labels map[string]string) *pb.Event {
		e := &pb.Event{Kind: kind, Source: source, Instance: "default", Credential: key, Principal: principal, RecordId: key + at.String(),
			Action: "x", OccurredAt: timestamppb.New(at), ObservedAt: timestamppb.New(at), Labels: labels, Outcome: pb.Outcome_OUTCOME_SUCCESS}
		if kind == pb.Event_ISSUED {
			e.Lifetime = &pb.Lifetime{IssuedAt: e.OccurredAt, ExpiresAt: timestamppb.New(ends)}
		}
		return e
	}
	role := "cloudtrail/default/principal/" + roleARN
	session := func(id, name string, at, ends time.Time) *pb.Event {
		return ev("cloudtrail", "cloudtrail/default/session/"+id, role, pb.Event_ISSUED, at, ends, map[string]string{"session_issuer": roleARN, "session_name": name})
	}
	svid := func(id, entry string, at, ends time.Time) *pb.Event {
		return ev("spire", "spire/default/x509_svid/"+id, "spiffe/example.org/id/spiffe://example.org/w", pb.Event_ISSUED, at, ends,
			map[string]string{"entry_id": entry, "spire_agent": agentID, "spiffe_id": "spiffe://example.org/w"})
	}
	used := ev("cloudtrail", "cloudtrail/default/session/ASIALIVE000000000001", role, pb.Event_USED, now.Add(-time.Minute), now, map[string]string{"session_issuer": roleARN})
	used.Permission, used.Resource = "s3:PutObject", "arn:aws:s3:::reports/daily"
	gone := ev("cloudtrail", "cloudtrail/default/session/ASIAGONE000000000001", role, pb.Event_REVOKED, now.Add(-time.Minute), now, map[string]string{"how": "revoked"})
	c := core.New(core.Options{Grants: scope.NewGrants(), Observation: 30 * 24 * time.Hour})
	var rows record.Events
	for i, e := range []*pb.Event{
		session("ASIALIVE000000000001", "nightly", now.Add(-time.Hour), now.Add(time.Hour)), used,
		session("ASIAOVER000000000001", "nightly", now.Add(-3*time.Hour), now.Add(-time.Hour)),
		session("ASIALATE000000000001", "nightly", now.Add(-time.Minute), now.Add(time.Hour)),
		session("ASIAGONE000000000001", "nightly", now.Add(-time.Hour), now.Add(time.Hour)), gone,
		svid("1", "entry-1", start, start.Add(time.Hour)), svid("2", "entry-1", now.Add(-time.Minute), now.Add(time.Hour)),
		svid("3", "entry-2", now.Add(-time.Minute), now.Add(2*time.Hour)),
	} {
		id := schemas.EventID(e.Source, "default", e.RecordId, uint32(i))
		e.Id = id[:]
		c.Apply(e, int64(i), true)
		rows.Append(e, int64(i))
	}
	if err := rows.Insert(t.Context(), db, 0, now); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(t.Context(), now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	if err := record.Credentials(t.Context(), db, 0, c.Dirty(), now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	h := &History{Store: db, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}

	sessions, err := h.AWS().Sessions(t.Context(), roleARN, now.Add(-30*time.Minute))
	if err != nil || len(sessions) != 1 || !strings.HasSuffix(sessions[0].Key, "/ASIALIVE000000000001") || sessions[0].Name != "nightly" ||
		!sessions[0].ExpiresAt.Equal(now.Add(time.Hour)) {
		t.Errorf("sessions %+v, %v: want the one that lives and was issued before", sessions, err)
	}
	p, err := h.AWS().Used(t.Context(), roleARN)
	if err != nil || p.Incomplete == "" {
		t.Errorf("a role of which no policy is known: %+v, %v; want a proposal that is not applied by itself", p, err)
	}
	if p, err := h.AWS().Used(t.Context(), "arn:aws:iam::123456789012:role/nobody"); err != nil || p.Incomplete == "" || len(p.Rules) > 0 {
		t.Errorf("a role that no event names: %+v, %v", p, err)
	}

	// SPIRE's log never said that it is read: what was seen may not be all.
	if _, known, err := h.SPIREIssued(t.Context(), spire.IssuedBy{Entry: "entry-1"}); err != nil || known {
		t.Errorf("known %v, %v without a sign of life of the source", known, err)
	}
	var facts record.Facts
	facts.Add(&pb.Fact{Fact: &pb.Fact_Heartbeat{Heartbeat: &pb.Heartbeat{Source: "spire", Instance: "default", At: timestamppb.New(now)}}})
	if err := facts.Flush(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		by    spire.IssuedBy
		want  time.Time
		known bool
	}{
		{spire.IssuedBy{Entry: "entry-1"}, now.Add(time.Hour), true},
		{spire.IssuedBy{Entry: "entry-1", Type: "x509_svid"}, now.Add(time.Hour), true},
		{spire.IssuedBy{Entry: "entry-1", Type: "jwt_svid"}, time.Time{}, false},
		{spire.IssuedBy{Agent: agentID}, now.Add(2 * time.Hour), true},
		{spire.IssuedBy{Entry: "nobody's"}, time.Time{}, false},
	} {
		latest, known, err := h.SPIREIssued(t.Context(), x.by)
		if err != nil || known != x.known || known && !latest.Equal(x.want) {
			t.Errorf("%+v: %s, known %v, %v; want %s, %v", x.by, latest, known, err, x.want, x.known)
		}
	}

	// ClickHouse away: unknown, never nothing.
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if _, known, err := h.SPIREIssued(away, spire.IssuedBy{Entry: "entry-1"}); err != nil || known {
		t.Errorf("ClickHouse away: known %v, %v", known, err)
	}
	if s, err := h.AWS().Sessions(away, roleARN, now); err == nil {
		t.Errorf("ClickHouse away: %v as if these were all", s)
	}
}
