package processor

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const hour = time.Hour

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func logged(signer string, serial int, at time.Time, issued ...string) record.Certificate {
	c := record.Certificate{Credential: fmt.Sprintf("certlog/ct/certificate/%s-%x", signer, serial), Instance: "ct", Domain: "example.org",
		Name: "spiffe://example.org/a", Principal: "certlog/ct/spiffe_id/spiffe://example.org/a", Log: "argon", Issuer: "CN=CA",
		Serial: fmt.Sprintf("%x", serial), LoggedAt: at, IssuedAs: issued}
	for _, key := range issued {
		c.IssuedBy = append(c.IssuedBy, strings.Join(strings.Split(key, "/")[:2], "/"))
	}
	return c
}

func teller(instance string, first, last time.Time) record.Issuer {
	return record.Issuer{Source: "spire", Instance: instance, Domain: "example.org", First: first, Last: last, Issued: 9}
}

func TestACertificateIsUnissuedOnlyIfItsIssuersWouldHaveToldOfIt(t *testing.T) {
	before, after := noon.Add(-hour), noon.Add(hour)
	all := []record.Certificate{logged("ab", 7, noon)}
	for name, c := range map[string]struct {
		all     []record.Certificate
		tellers []record.Issuer
		silent  map[string]silence.Reading
		stands  bool
		want    bool
	}{
		"they told before and after":             {all, []record.Issuer{teller("a", before, after)}, nil, false, true},
		"an issuer told of it":                   {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7")}, []record.Issuer{teller("a", before, after)}, nil, false, false},
		"it turns up later":                      {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7")}, []record.Issuer{teller("a", before, after)}, nil, true, false},
		"nobody tells of the trust domain":       {all, nil, nil, false, false},
		"only another trust domain is told of":   {all, []record.Issuer{{Source: "spire", Instance: "a", Domain: "other.org", First: before, Last: after}}, nil, false, false},
		"the issuer's log lags":                  {all, []record.Issuer{teller("a", before, noon.Add(issuerLag-1))}, nil, false, false},
		"the issuer's log begins after it":       {all, []record.Issuer{teller("a", noon.Add(1-issuerLag), after)}, nil, false, false},
		"the issuer is silent":                   {all, []record.Issuer{teller("a", before, after)}, map[string]silence.Reading{"spire/a": {Since: 1}}, false, false},
		"another source is silent":               {all, []record.Issuer{teller("a", before, after)}, map[string]silence.Reading{"spire/b": {Since: 1}, "spire/a": {}}, false, true},
		"one of two issuers lags":                {all, []record.Issuer{teller("a", before, after), teller("b", before, noon)}, nil, false, false},
		"one of two issuers left long ago":       {all, []record.Issuer{teller("a", before, after), teller("b", before.Add(-2*issuerGone), noon.Add(-issuerGone-1))}, nil, false, true},
		"it was found, and the issuer is silent": {all, nil, map[string]silence.Reading{"spire/a": {Since: 1}}, true, true},
		"Vault told of others of the domain":     {append([]record.Certificate{logged("cd", 1, before, "vault/v/certificate/01"), logged("cd", 2, after, "vault/v/certificate/02")}, all...), nil, nil, false, true},
		"Vault told of none after it":            {append([]record.Certificate{logged("cd", 1, before, "vault/v/certificate/01")}, all...), nil, nil, false, false},
		"two issuer keys, one issuance":          {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7"), logged("ef", 7, noon, "spire/a/x509_svid/7")}, nil, nil, false, true},
		"two issuer keys, two issuances":         {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7"), logged("ef", 7, noon, "spire/b/x509_svid/7")}, nil, nil, false, false},
		"one certificate with and without chain": {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7"), logged("name-ef", 7, noon, "spire/a/x509_svid/7")}, nil, nil, false, false},
		"one certificate in logs of two instances": {[]record.Certificate{logged("ab", 7, noon, "spire/a/x509_svid/7"), func() record.Certificate {
			c := logged("ab", 7, noon, "spire/a/x509_svid/7")
			c.Credential = strings.Replace(c.Credential, "/ct/", "/other/", 1)
			return c
		}()}, nil, nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			stands := map[string]bool{}
			if c.stands {
				stands[c.all[len(c.all)-1].Credential] = true
			}
			found := unissued(c.all, c.tellers, c.silent, stands)
			if (len(found) > 0) != c.want {
				t.Fatalf("%v", found)
			}
			if !c.want {
				return
			}
			f := found[len(found)-1]
			if f.Subject != c.all[len(c.all)-1].Credential || !slices.Equal(f.About, []string{f.Subject, "spiffe/example.org/id/spiffe://example.org/a"}) ||
				!strings.Contains(f.Evidence[0], "argon") || !c.stands && len(f.Evidence) < 2 {
				t.Errorf("%v", f)
			}
			back := slices.Clone(c.all)
			slices.Reverse(back)
			if again := unissued(back, c.tellers, c.silent, stands); len(again) != len(found) {
				t.Errorf("in another order: %v", again)
			}
		})
	}
}

// eager is a processor that compares certificates all the time.
func (b *bench) eager() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := New(Config{Flush: 20 * time.Millisecond, Checkpoint: 60 * time.Millisecond, RememberedIDs: 2000},
		Deps{Env: daemon.NewEnv("processor", slog.New(slog.NewTextHandler(b.t.Output(), nil))), Stream: b.stream, Store: b.store,
			Rules: func() *rego.Set { return b.rules }, Catalog: func() *catalog.Catalog { return nil }})
	if err != nil {
		b.t.Fatal(err)
	}
	p.findingsEvery = 10 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) facts(facts ...*pb.Finding) {
	b.t.Helper()
	for _, f := range facts {
		value, err := (&pb.Fact{Fact: &pb.Fact_Finding{Finding: f}}).MarshalVT()
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.stream.Publish(b.t.Context(), stream.Message{Topic: schemas.TopicIdentity, Key: []byte("finding/" + f.Kind + f.Subject), Value: value}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestWhatSourcesFindStandsUntilTheyTakeItBackAndSurvivesRestarts(t *testing.T) {
	b := newBench(t)
	stop := b.eager()
	at := func(minutes int) *timestamppb.Timestamp {
		return timestamppb.New(noon.Add(time.Duration(minutes) * time.Minute))
	}
	gap := &pb.Finding{Source: "certlog", Instance: "ct", Kind: schemas.FindingLogGap, Subject: "argon", Detail: "entries are withheld",
		Evidence: []string{"read up to entry 4"}, Standing: true, Since: at(0), At: at(0)}
	forged := &pb.Finding{Source: "jwtregistry", Instance: "r", Kind: schemas.FindingUnverifiedToken, Subject: "https://i key k", Detail: "forged",
		About: []string{"jwtregistry/r/jwt/sha256:1"}, Standing: true, Since: at(1), At: at(1), Count: 3}
	b.facts(gap, forged)
	b.until("SELECT count() FROM v_source_findings WHERE source IN ('certlog', 'jwtregistry')", 2)
	b.until("SELECT count() FROM v_source_findings WHERE kind = 'unverified_token' AND seen = 3 AND about = ['jwtregistry/r/jwt/sha256:1']", 1)
	stop()
	stop = b.eager() // reads the topic again
	gone := &pb.Finding{Source: "certlog", Instance: "ct", Kind: schemas.FindingLogGap, Subject: "argon", Since: at(0), At: at(5)}
	b.facts(gone)
	b.until("SELECT count() FROM v_source_findings WHERE kind = 'ct_gap'", 0)
	b.facts(gap) // an old word that comes late
	b.facts(forged)
	stop()
	if n := b.number("SELECT count() FROM v_source_findings WHERE kind = 'ct_gap'"); n != 0 {
		t.Error("an older word replaced a newer one")
	}
	b.until("SELECT count() FROM v_source_findings WHERE kind = 'unverified_token'", 1)
}

func TestACertificateThatNoIssuerToldOfIsFoundUntilOneDoes(t *testing.T) {
	b := newBench(t)
	stop := b.eager()
	minutes := 0
	tell := func(source, credential string, labels map[string]string) *pb.Event {
		minutes += 20
		return said(source, credential, pb.Event_ISSUED, credential, "", minutes-200, labels)
	}
	svid := func(serial string) *pb.Event {
		return tell("spire", "spire/default/x509_svid/"+serial, map[string]string{"spiffe_id": "spiffe://example.org/a"})
	}
	certificate := func(serial, decimal string) *pb.Event {
		return tell("certlog", "certlog/default/certificate/ab-"+serial, map[string]string{"own_trust_domain": "true", "trust_domain": "example.org",
			"spiffe_id": "spiffe://example.org/a", "serial_number": serial, "serial_decimal": decimal, "log": "argon", "issuer": "CN=CA"})
	}
	vaults := func(serial string) *pb.Event { return tell("vault", "vault/default/certificate/"+serial, nil) }
	another := svid("2748") // the serial of a certificate, and another's SPIFFE ID
	another.Labels["spiffe_id"] = "spiffe://example.org/b"
	b.publish(another, svid("10"), certificate("a", "10"), certificate("ff1", "4081"), certificate("abc", "2748"), certificate("b", "11"), svid("12"))
	found := "SELECT count() FROM v_source_findings WHERE kind = 'unissued_certificate'"
	b.until(found, 3)
	stop()
	b.publish(vaults("0f:f1")) // the other side was read later
	late := svid("11")
	late.OccurredAt = timestamppb.New(late.OccurredAt.AsTime().Add(-time.Hour))
	b.publish(late)
	stop = b.eager()
	b.until(found, 1)
	stop()
	findings, err := record.FindingsAbout(t.Context(), b.store, []string{"certlog/default/certificate/ab-abc"})
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Detail, "certificate abc for spiffe://example.org/a is in log argon") {
		t.Errorf("%v %v", findings, err)
	}
	graph, subject, err := record.Who(t.Context(), b.store, "ab-abc")
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := graph.Describe(&page, subject); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FINDINGS (2)", "unissued_certificate, by certlog default", "take the issuer out of the trust bundle", "spire default told of"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("who does not tell %q:\n%s", want, page.String())
		}
	}
}
