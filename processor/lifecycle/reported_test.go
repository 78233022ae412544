package lifecycle

import (
	"strings"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestReportsAreCountedApartFromUses(t *testing.T) {
	stale, future := reported(30, "success", "a"), reported(40, "success", "a")
	stale.Flag, future.Flag = pb.Event_STALE, pb.Event_FUTURE
	renewal := reported(50, "success", "a")
	renewal.Permission = "update auth/token/renew-self"
	sampled := reported(25, "unknown", "b")
	sampled.Labels["sampled"] = "true"
	c := New(key)
	for _, ev := range []*pb.Event{reported(10, "success", "a"), reported(20, "denied", "a"), reported(22, "failure", "a"), sampled, stale, future, renewal} {
		c.Apply(ev, true)
		c.Apply(ev, false)
	}
	r := c.Reported()
	if r.Uses != 3 || r.Denied != 1 || r.Failed != 1 || !r.Sampled || strings.Join(r.Sources, " ") != "agentusage/a agentusage/b" {
		t.Errorf("%+v", r)
	}
	if r.FirstAt != nanosAt(10) || r.LastAt != nanosAt(30) || r.LastSuccessAt != nanosAt(30) {
		t.Errorf("from %s to %s, success %s", Time(r.FirstAt), Time(r.LastAt), Time(r.LastSuccessAt))
	}
	if used, denied, failed := r.Windows(nanosAt(60)); used.Hour != 2 || denied.Hour != 1 || failed.Month != 1 {
		t.Errorf("windows %v %v %v", used, denied, failed)
	}
	if c.Uses != 0 || c.Denied != 0 || c.LastUsedAt != 0 || len(c.Used()) != 0 {
		t.Error("what an agent says counts as the issuer's word")
	}
}

func TestACredentialThatNoAgentNamesKeepsNothingForThem(t *testing.T) {
	c := New(key)
	c.Apply(event(pb.Event_USED, 1), true)
	c.Apply(event(pb.Event_NOTED, 2), true)
	if c.Reported() != nil || c.Proto().Reported != nil || c.Heard(1, 1) {
		t.Errorf("%+v", c.Reported())
	}
}

func TestWhatWasReadOnceStaysRead(t *testing.T) {
	c := New(key)
	c.Apply(reported(1, "success", "a"), true)
	for _, h := range []struct {
		agents, issuer int64
		news           bool
	}{{0, 0, false}, {50, 0, true}, {70, 90, true}, {0, 0, false}, {40, 95, true}, {40, 90, false}} {
		if c.Heard(h.agents, h.issuer) != h.news {
			t.Errorf("%+v: news %v", h, !h.news)
		}
	}
	if r := c.Reported(); r.HeardSince != 40 || r.IssuerHeardSince != 90 {
		t.Errorf("%+v", r)
	}
}

func TestAUseByInferenceMakesTheCredentialsUseUncertainForEver(t *testing.T) {
	guess := event(pb.Event_USED, 5)
	guess.Labels = map[string]string{"confidence": "inferred"}
	c := New(key)
	for i, ev := range []*pb.Event{event(pb.Event_USED, 1), guess, event(pb.Event_USED, 9)} {
		c.Apply(ev, true)
		if c.Inferred() != (i > 0) {
			t.Errorf("after event %d: %v", i, c.Inferred())
		}
	}
	blob, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Load(key, blob); err != nil || !back.Inferred() {
		t.Errorf("a restart makes it certain: %v", err)
	}
}
