package certlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const someLog = "c29tZSBsb2cncyBpZA=="

var ours = Options{TrustDomains: []string{"example.org"}, Domains: []string{"example.com"}}

func decodeOne(t testing.TB, opts Options, text []byte) ([]*leastwisev1.Event, error) {
	t.Helper()
	return NewDecoder(opts).Decode(nil, source.Record{Bytes: bytes.Clone(text), Position: "log:1", ObservedAt: testBegin.Add(time.Hour)})
}

func event(t testing.TB, opts Options, text []byte) *leastwisev1.Event {
	t.Helper()
	events, err := decodeOne(t, opts, text)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, error %v; want one", len(events), err)
	}
	return events[0]
}

func TestPrecertificateAndCertificateAreOneCredential(t *testing.T) {
	ca := newAuthority(t, "Issuing CA")
	template := leafTemplate(0xabcdef, "spiffe://example.org/agent/billing")
	template.ExtraExtensions = nil
	pre := event(t, ours, ca.precertificate(template, testBegin).text(t, someLog, 7))
	cert := event(t, ours, ca.certificate(template, testBegin.Add(time.Minute)).text(t, "other log", 3))
	hash := ca.keyHash()
	want := "certlog/default/certificate/" + hex.EncodeToString(hash[:]) + "-abcdef"
	if pre.Credential != want || cert.Credential != want {
		t.Errorf("credentials %s and %s\nwant %s", pre.Credential, cert.Credential, want)
	}
	if bytes.Equal(pre.Id, cert.Id) || pre.RecordId != someLog+":7" || cert.RecordId != "other log:3" {
		t.Errorf("record ids %s, %s", pre.RecordId, cert.RecordId)
	}
	for _, ev := range []*leastwisev1.Event{pre, cert} {
		if ev.Kind != leastwisev1.Event_ISSUED || ev.Principal != "certlog/default/spiffe_id/spiffe://example.org/agent/billing" ||
			!ev.Lifetime.IssuedAt.AsTime().Equal(testBegin) || !ev.Lifetime.ExpiresAt.AsTime().Equal(testBegin.Add(time.Hour)) ||
			ev.Labels["spiffe_id"] != "spiffe://example.org/agent/billing" || ev.Labels["own_trust_domain"] != "true" ||
			ev.Labels["issuer"] != "CN=Issuing CA,O=Test" || ev.Labels["serial_decimal"] != "11259375" || ev.Labels["issuer_key"] != "" {
			t.Errorf("event %v", ev)
		}
	}
	if pre.Action != "precert_entry" || cert.Action != "x509_entry" || pre.Labels["log"] != someLog || !pre.OccurredAt.AsTime().Equal(testBegin) {
		t.Errorf("events %v\n%v", pre, cert)
	}
}

func TestOnlyAProvenIssuerNamesTheCredential(t *testing.T) {
	ca, other := newAuthority(t, "Issuing CA"), newAuthority(t, "Issuing CA")
	e := ca.certificate(leafTemplate(5, "spiffe://example.org/a"), testBegin)
	forged := other.certificate(leafTemplate(5, "spiffe://example.org/a"), testBegin)
	stranger := &logged{leaf: e.leaf, extra: forged.extra}
	none := &logged{leaf: e.leaf}
	rotten := &logged{leaf: e.leaf, extra: []byte{1, 2, 3, 4, 5}}
	good := event(t, ours, e.text(t, someLog, 1))
	a, b, c := event(t, ours, stranger.text(t, someLog, 1)), event(t, ours, none.text(t, someLog, 1)), event(t, ours, rotten.text(t, someLog, 1))
	if good.Credential == a.Credential || a.Credential != b.Credential || b.Credential != c.Credential ||
		!strings.HasPrefix(a.Credential, "certlog/default/certificate/name-") || a.Labels["issuer_key"] != "unproven" {
		t.Errorf("credentials %s, %s, %s, %s", good.Credential, a.Credential, b.Credential, c.Credential)
	}
	hash := other.keyHash()
	if strings.Contains(a.Credential, hex.EncodeToString(hash[:])) {
		t.Error("a chain that nobody signed names the issuer")
	}
}

func TestX509SVIDRules(t *testing.T) {
	ca := newAuthority(t, "CA")
	change := func(names []string, f func(c *x509.Certificate)) *x509.Certificate {
		template := leafTemplate(1, names...)
		if f != nil {
			f(template)
		}
		return template
	}
	for name, c := range map[string]struct {
		template *x509.Certificate
		id, why  string
	}{
		"one id":              {change([]string{"spiffe://example.org/a/b"}, nil), "spiffe://example.org/a/b", ""},
		"with a DNS name":     {change([]string{"spiffe://example.org/a", "x.example.com"}, nil), "spiffe://example.org/a", ""},
		"two ids":             {change([]string{"spiffe://example.org/a", "spiffe://example.org/b"}, nil), "", notOneURI},
		"another URI beside":  {change([]string{"spiffe://example.org/a", "https://example.org/b"}, nil), "", notOneURI},
		"the root path":       {change([]string{"spiffe://example.org"}, nil), "", notPath},
		"a trailing slash":    {change([]string{"spiffe://example.org/"}, nil), "", notID},
		"a port":              {change([]string{"spiffe://example.org:443/a"}, nil), "", notID},
		"a query":             {change([]string{"spiffe://example.org/a?b"}, nil), "", notID},
		"a user":              {change([]string{"spiffe://u@example.org/a"}, nil), "", notID},
		"dots in the path":    {change([]string{"spiffe://example.org/a/../b"}, nil), "", notID},
		"capitals in host":    {change([]string{"spiffe://Example.org/a"}, nil), "", notID},
		"a CA":                {change([]string{"spiffe://example.org/a"}, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), "", notLeaf},
		"may sign":            {change([]string{"spiffe://example.org/a"}, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), "", notUsage},
		"not CA, said so":     {change([]string{"spiffe://example.org/a"}, func(c *x509.Certificate) { c.BasicConstraintsValid = true }), "spiffe://example.org/a", ""},
		"of a SPIRE server's": {change([]string{"spiffe://example.org"}, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), "", notLeaf},
	} {
		for kind, e := range map[string]*logged{"certificate": ca.certificate(c.template, testBegin), "precertificate": ca.precertificate(c.template, testBegin)} {
			ev := event(t, ours, e.text(t, someLog, 1))
			if ev.Labels["spiffe_id"] != c.id || ev.Labels["not_svid"] != c.why || ev.Labels["own_trust_domain"] != "true" ||
				(ev.Principal != "") != (c.id != "") || c.id != "" && ev.Principal != "certlog/default/spiffe_id/"+c.id {
				t.Errorf("%s, %s: %v", name, kind, ev)
			}
		}
	}
}

func TestOnlyCertificatesOfInterestGiveEvents(t *testing.T) {
	ca := newAuthority(t, "CA")
	for _, c := range []struct {
		opts      Options
		names     []string
		principal string // empty: no event
		label     string
	}{
		{ours, []string{"spiffe://example.org/a"}, "spiffe_id/spiffe://example.org/a", "own_trust_domain"},
		{ours, []string{"spiffe://example.net/a"}, "", ""},
		{ours, []string{"spiffe://sub.example.org/a"}, "", ""},
		{ours, []string{"api.example.com"}, "dns/api.example.com", "own_domain"},
		{ours, []string{"EXAMPLE.com"}, "dns/example.com", "own_domain"},
		{ours, []string{"*.example.com"}, "dns/*.example.com", "own_domain"},
		{ours, []string{"a.example.net", "z.example.com", "b.example.com"}, "dns/b.example.com", "own_domain"},
		{ours, []string{"notexample.com"}, "", ""},
		{ours, []string{"example.com.evil.net"}, "", ""},
		{ours, []string{"www.example.net"}, "", ""},
		{Options{}, []string{"spiffe://example.net/a"}, "spiffe_id/spiffe://example.net/a", ""},
		{Options{}, []string{"www.example.net"}, "", ""},
		{Options{All: true}, []string{"www.example.net"}, "dns/www.example.net", ""},
		{Options{Domains: []string{"*.Example.COM."}}, []string{"api.example.com"}, "dns/api.example.com", "own_domain"},
	} {
		text := ca.precertificate(leafTemplate(1, c.names...), testBegin).text(t, someLog, 1)
		events, err := decodeOne(t, c.opts, text)
		if err != nil || (len(events) == 1) != (c.principal != "") {
			t.Errorf("%v: %d events, %v", c.names, len(events), err)
			continue
		}
		if c.principal == "" {
			continue
		}
		ev := events[0]
		if ev.Principal != "certlog/default/"+c.principal || c.label != "" && ev.Labels[c.label] != "true" ||
			c.label == "" && (ev.Labels["own_domain"] != "" || ev.Labels["own_trust_domain"] != "") {
			t.Errorf("%v: %v", c.names, ev)
		}
	}
}

func TestCertificateWithoutAnEndNeverExpires(t *testing.T) {
	template := leafTemplate(1, "spiffe://example.org/a")
	template.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	ev := event(t, ours, newAuthority(t, "CA").precertificate(template, testBegin).text(t, someLog, 1))
	if !ev.Lifetime.NeverExpires || ev.Lifetime.ExpiresAt != nil {
		t.Errorf("lifetime %v", ev.Lifetime)
	}
}

func TestNamesBeyondCountAreBounded(t *testing.T) {
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("host-%d.example.com", i))
	}
	template := leafTemplate(1, many...)
	template.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 150)
	ev := event(t, ours, newAuthority(t, strings.Repeat("ü", 300)).precertificate(template, testBegin).text(t, someLog, 1))
	if len(ev.Labels["dns_names"]) > 256 || ev.Labels["dns_count"] != "500" || len(ev.Labels["issuer"]) > 256 || strings.HasSuffix(ev.Labels["dns_names"], ",") {
		t.Errorf("labels %v", ev.Labels)
	}
}

func TestGetEntriesAnswerIsScanned(t *testing.T) {
	ca := newAuthority(t, "CA")
	var answer struct {
		Entries []json.RawMessage `json:"entries"`
	}
	for i := range 3 {
		e := ca.certificate(leafTemplate(int64(i+1), "spiffe://example.org/a"), testBegin)
		text, err := json.Marshal(map[string]any{"leaf_input": e.input(t), "extra_data": e.extra})
		if err != nil {
			t.Fatal(err)
		}
		answer.Entries = append(answer.Entries, text)
	}
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if !Recognise(text) {
		t.Error("the answer is not recognised")
	}
	records, d, ids := Records(bytes.NewReader(text), 0), NewDecoder(ours), map[string]bool{}
	for {
		line, err := records.Next()
		if err != nil {
			break
		}
		if !Recognise(line.Bytes) {
			t.Errorf("not recognised: %s", line.Bytes)
		}
		events, err := d.Decode(nil, source.Record{Bytes: line.Bytes})
		if err != nil || len(events) != 1 || !strings.HasPrefix(events[0].RecordId, "leaf:") {
			t.Fatalf("%v, %v", events, err)
		}
		ids[events[0].RecordId] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d records, want 3", len(ids))
	}
}

func TestAlarmIsNotedWithItsEvidence(t *testing.T) {
	a := &Alarm{Kind: AlarmRewrittenHistory, Detail: "why", Position: 9,
		Head: Head{Size: 12, Root: []byte("root"), Timestamp: 1790000000001, Signature: []byte("sig")}, Trusted: Head{Size: 10, Root: []byte("old"), Timestamp: 1790000000000}}
	text := a.record(someLog, testBegin)
	ev := event(t, Options{Names: map[string]string{someLog: "dynamic"}}, text)
	if ev.Kind != leastwisev1.Event_NOTED || ev.Labels["alarm"] != "rewritten_history" || ev.Labels["log"] != "dynamic" || ev.Credential != "" ||
		ev.Labels["tree_size"] != "12" || ev.Labels["root_hash"] != b64([]byte("root")) || ev.Labels["signature"] != b64([]byte("sig")) ||
		ev.Labels["trusted_tree_size"] != "10" || ev.Labels["position"] != "9" || ev.Error != "rewritten_history" || !ev.OccurredAt.AsTime().Equal(testBegin) {
		t.Errorf("event %v", ev)
	}
	later := event(t, Options{}, a.record(someLog, testBegin.Add(time.Hour)))
	if !bytes.Equal(later.Id, ev.Id) {
		t.Error("the same alarm noticed again must have the same id")
	}
	if !Recognise(text) {
		t.Error("not recognised")
	}
}
