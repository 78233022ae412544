package spire

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// find waits for an event of the collector.
func find(s *realSPIRE, broker *sourcetest.Broker, what string, ok func(ev *leastwisev1.Event) bool) (found *leastwisev1.Event) {
	s.t.Helper()
	s.until(what, func() bool {
		for _, ev := range broker.Events() {
			if ok(ev) {
				found = ev
				return true
			}
		}
		return false
	})
	return found
}

func TestRealSPIREServer(t *testing.T) {
	for _, form := range []string{"json", "text"} {
		t.Run(form, func(t *testing.T) { realScenario(t, form) })
	}
}

func realScenario(t *testing.T, form string) {
	s := startSPIRE(t, form)
	broker := &sourcetest.Broker{}
	run(t, broker, t.TempDir(), Config{File: s.log, BatchWait: 10 * time.Millisecond, Heartbeat: 100 * time.Millisecond,
		Inventory: &InventoryConfig{Address: "unix://" + s.path("api.sock"), Interval: 500 * time.Millisecond}})
	ids := map[string]string{"ingest": s.entry("ingest", "-x509SVIDTTL", "1200", "-jwtSVIDTTL", "120"), "boss": s.entry("boss", "-admin")}
	var svids map[string]certificate
	s.until("both SVIDs are there", func() bool { svids = s.workload(); return len(svids) == 2 })

	for id, got := range svids {
		ev := find(s, broker, "the SVID of "+id+" was told", func(ev *leastwisev1.Event) bool {
			return ev.Kind == leastwisev1.Event_ISSUED && ev.Credential == "spire/default/x509_svid/"+got.serial
		})
		if ev.Principal != "spire/default/spiffe_id/"+id || !ev.Lifetime.ExpiresAt.AsTime().Equal(got.notAfter) ||
			ev.Labels["entry_id"] != ids[lastPart(id)] || ev.Labels["spire_agent"] != s.agentID {
			t.Errorf("%s, until %v: %v", id, got.notAfter, ev)
		}
		if age := ev.Lifetime.IssuedAt.AsTime().Sub(got.notBefore); age < 0 || age > 15*time.Second {
			t.Errorf("issued %v after notBefore", age)
		}
	}
	find(s, broker, "the administrator's SVID is described by its entry", func(ev *leastwisev1.Event) bool {
		return ev.Kind == leastwisev1.Event_OBSERVED && ev.Labels["admin"] == "true" &&
			ev.Credential == "spire/default/x509_svid/"+svids["spiffe://example.org/boss"].serial
	})
	agent := find(s, broker, "the agent's own SVID is known by the inventory", func(ev *leastwisev1.Event) bool {
		return ev.Action == "ListAgents" && ev.Kind == leastwisev1.Event_OBSERVED && ev.Credential != ""
	})
	if agent.Principal != "spire/default/spiffe_id/"+s.agentID || agent.Lifetime.ExpiresAt == nil {
		t.Errorf("agent %v", agent)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+s.path("agent.sock")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tokens, err := client.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		ev := find(s, broker, "the JWT-SVID of "+token.ID.String()+" was told", func(ev *leastwisev1.Event) bool {
			return ev.Kind == leastwisev1.Event_ISSUED && strings.HasPrefix(ev.Credential, "spire/default/jwt_svid/") &&
				ev.Principal == "spire/default/spiffe_id/"+token.ID.String() && ev.Lifetime.ExpiresAt != nil
		})
		if late := ev.Lifetime.ExpiresAt.AsTime().Sub(token.Expiry); late < -2*time.Second || late > 2*time.Second {
			t.Errorf("the JWT-SVID of %s expires %v too late", token.ID, late)
		}
	}

	s.admin("entry", "delete", "-entryID", ids["boss"])
	s.until("the link of the deleted entry is retracted", func() bool {
		return links(broker)["ISSUED_TO spire/default/entry/"+ids["boss"]+" spire/default/spiffe_id/spiffe://example.org/boss"].GetRetracted()
	})
	s.admin("agent", "ban", "-spiffeID", s.agentID)
	denial := find(s, broker, "the banned agent is refused", func(ev *leastwisev1.Event) bool { return ev.Kind == leastwisev1.Event_DENIED })
	if denial.Principal != "spire/default/spiffe_id/"+s.agentID || !strings.HasPrefix(denial.Permission, "/spire.api.server.entry.v1.Entry/") {
		t.Errorf("denial %v", denial)
	}
	find(s, broker, "the reason is told", func(ev *leastwisev1.Event) bool { return ev.Error == "agent banned" })
	<-s.agentEnded

	if n := len(broker.DeadLetters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	for _, ev := range broker.Events() {
		if ev.Kind == leastwisev1.Event_UNKNOWN {
			t.Errorf("not known: %v", ev)
		}
		for _, token := range tokens {
			if strings.Contains(ev.String(), token.Marshal()) {
				t.Errorf("a token in %v", ev)
			}
		}
	}
	s.until("nothing keeps the inventory from its work", func() bool {
		return broker.Facts()["heartbeat/spire/default"].GetHeartbeat().GetTrouble() == ""
	})
}

func TestRealSPIREServerOverTLS(t *testing.T) {
	s := startSPIRE(t, "json")
	id := s.entry("collector")
	s.until("the collector's SVID is there", func() bool { return len(s.workload()) == 1 })
	broker := &sourcetest.Broker{}
	run(t, broker, t.TempDir(), Config{File: s.log, BatchWait: 10 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
		Inventory: &InventoryConfig{Address: "127.0.0.1:" + s.port, TrustDomain: "example.org",
			WorkloadAPI: "unix://" + s.path("agent.sock"), Interval: 300 * time.Millisecond}})
	trouble := func() string { return broker.Facts()["heartbeat/spire/default"].GetHeartbeat().GetTrouble() }
	s.until("what is missing is named", func() bool { return strings.Contains(trouble(), "needs an entry with admin: true") })
	denial := find(s, broker, "the refusal is a denial under the collector's own name", func(ev *leastwisev1.Event) bool {
		return ev.Kind == leastwisev1.Event_DENIED && ev.Permission == "/spire.api.server.entry.v1.Entry/ListEntries"
	})
	if denial.Principal != "spire/default/spiffe_id/spiffe://example.org/collector" {
		t.Errorf("denial %v", denial)
	}
	s.admin("entry", "update", "-entryID", id, "-parentID", "spiffe://example.org/node", "-spiffeID", "spiffe://example.org/collector",
		"-selector", "unix:uid:"+strconv.Itoa(os.Getuid()), "-admin")
	find(s, broker, "an administrator may read the entries", func(ev *leastwisev1.Event) bool {
		return ev.Kind == leastwisev1.Event_OBSERVED && ev.Labels["entry_id"] == id && ev.Labels["admin"] == "true"
	})
	s.until("nothing is missing any more", func() bool { return trouble() == "" })
}
