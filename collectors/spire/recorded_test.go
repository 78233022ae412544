package spire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// truth of a recording, read from the certificates and from what was asked for, never from the log.
type truth struct {
	X509 []struct {
		ID        string    `json:"spiffe_id"`
		Entry     string    `json:"entry"`
		Serial    string    `json:"serial"`
		NotBefore time.Time `json:"not_before"`
		NotAfter  time.Time `json:"not_after"`
	} `json:"x509"`
	JWT []struct {
		ID       string `json:"spiffe_id"`
		Audience string `json:"audience"`
	} `json:"jwt"`
	Banned string `json:"banned"`
}

func recording(t testing.TB, form string) ([]byte, truth) {
	t.Helper()
	log, err := os.ReadFile("testdata/recorded/server." + form + ".log")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/recorded/truth." + form + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var told truth
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	return log, told
}

func decodeLog(t testing.TB, opts Options, log []byte) []*leastwisev1.Event {
	t.Helper()
	d, lines := NewDecoder(opts), Records(bytes.NewReader(log), 0)
	var all []*leastwisev1.Event
	for {
		line, err := lines.Next()
		if line.Length > 0 {
			var bad error
			if all, bad = d.Decode(all, source.Record{Bytes: line.Bytes, Position: "server.log:1"}); bad != nil {
				t.Fatalf("%v: %s", bad, line.Bytes)
			}
		}
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordedSVIDsAreThoseTheWorkloadGot(t *testing.T) {
	for _, form := range []string{"json", "text"} {
		log, told := recording(t, form)
		events := decodeLog(t, Options{}, log)
		issued := map[string]*leastwisev1.Event{}
		jwt := map[string][]*leastwisev1.Event{}
		for _, ev := range events {
			if ev.Kind != leastwisev1.Event_ISSUED {
				if ev.Credential != "" {
					t.Errorf("%s: a credential that was not issued: %v", form, ev)
				}
				continue
			}
			if strings.HasPrefix(ev.Credential, "spire/default/x509_svid/") {
				if issued[ev.Credential] != nil {
					t.Errorf("%s: issued twice: %v", form, ev)
				}
				issued[ev.Credential] = ev
			} else {
				jwt[ev.Credential] = append(jwt[ev.Credential], ev)
			}
		}
		if len(issued) != 5 { // those of the truth, the agent's alias, and that of another machine's workload
			t.Errorf("%s: %d X.509-SVIDs, want 5", form, len(issued))
		}
		for _, svid := range told.X509 {
			ev := issued["spire/default/x509_svid/"+svid.Serial]
			if ev == nil {
				t.Errorf("%s: serial %s is missing", form, svid.Serial)
				continue
			}
			if got := ev.Lifetime.ExpiresAt.AsTime(); !got.Equal(svid.NotAfter) {
				t.Errorf("%s: %s expires %v, want %v", form, svid.Serial, got, svid.NotAfter)
			}
			if age := ev.Lifetime.IssuedAt.AsTime().Sub(svid.NotBefore); age < 0 || age > 15*time.Second {
				t.Errorf("%s: %s issued %v after its notBefore", form, svid.Serial, age)
			}
			if ev.Principal != "spire/default/spiffe_id/"+svid.ID || ev.Labels["entry_id"] != svid.Entry || ev.Labels["spiffe_id"] != svid.ID {
				t.Errorf("%s: %s is of %s, %v", form, svid.Serial, ev.Principal, ev.Labels)
			}
		}
		if len(jwt) != len(told.JWT) {
			t.Errorf("%s: %d JWT-SVIDs, want %d", form, len(jwt), len(told.JWT))
		}
		audiences := map[string]bool{}
		for key, both := range jwt {
			if len(both) != 2 { // the debug line and the audit line
				t.Errorf("%s: %s has %d events", form, key, len(both))
			}
			for _, ev := range both {
				if life := ev.Lifetime.ExpiresAt.AsTime().Sub(ev.Lifetime.IssuedAt.AsTime()); life < 119*time.Second || life > 121*time.Second {
					t.Errorf("%s: %s lives %v", form, key, life)
				}
				audiences[ev.Labels["audience"]] = true
			}
		}
		for _, svid := range told.JWT {
			if !audiences[svid.Audience] {
				t.Errorf("%s: no JWT-SVID for %s", form, svid.Audience)
			}
		}
	}
}

func TestRecordedRefusalOfABannedAgentIsADenial(t *testing.T) {
	for _, form := range []string{"json", "text"} {
		log, told := recording(t, form)
		n := 0
		for _, ev := range decodeLog(t, Options{}, log) {
			if ev.Kind != leastwisev1.Event_DENIED {
				continue
			}
			n++
			if ev.Principal != "spire/default/spiffe_id/spiffe://example.org"+told.Banned || ev.Error != denied ||
				ev.Permission != "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries" {
				t.Errorf("%s: %v", form, ev)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d denials, want 1", form, n)
		}
	}
}

func TestTheAuditLineOfAnSVIDIsNoCredential(t *testing.T) {
	log, _ := recording(t, "json")
	noted := 0
	for _, ev := range decodeLog(t, Options{}, log) {
		if ev.Action == "BatchNewX509SVID" && ev.Kind == leastwisev1.Event_NOTED {
			noted++
			if ev.Credential != "" || ev.Principal == "" || ev.Labels["entry_id"] == "" || ev.Lifetime.GetExpiresAt() == nil || ev.Labels["spire_agent"] == "" {
				t.Errorf("%v", ev)
			}
		}
	}
	if noted != 5 {
		t.Errorf("%d audit lines of SVIDs, want 5", noted)
	}
}

func TestEntriesAreTold(t *testing.T) {
	log, told := recording(t, "text")
	seen := map[string]*leastwisev1.Event{}
	for _, ev := range decodeLog(t, Options{}, log) {
		if ev.Kind == leastwisev1.Event_USED {
			seen[ev.Action+" "+ev.Resource] = ev
		}
	}
	made := seen["BatchCreateEntry spiffe://example.org/ingest"]
	if made == nil || made.Labels["selectors"] != "unix:uid:0" || made.Labels["x509_svid_ttl"] != "1200" || made.Labels["jwt_svid_ttl"] != "120" ||
		made.Labels["parent_id"] != "spiffe://example.org/node" || made.Labels["caller_uid"] != "0" || made.Principal != "" {
		t.Errorf("entry created: %v", made)
	}
	for _, action := range []string{"BatchCreateEntry spiffe://example.org/diag", "BatchUpdateEntry spiffe://example.org/ingest",
		"BatchDeleteEntry ", "BanAgent spiffe://example.org" + told.Banned} {
		found := false
		for name := range seen {
			found = found || strings.HasPrefix(name, action)
		}
		if !found {
			t.Errorf("no event %q", action)
		}
	}
}
