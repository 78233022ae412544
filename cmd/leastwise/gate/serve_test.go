package gate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// certificate writes a self-signed one for 127.0.0.1 and gives it to trust.
func certificate(t *testing.T, dir string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gate"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(t, dir, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// hook is a running webhook and a client that trusts it.
type hook struct {
	*Server
	dir, url string
	roots    *x509.CertPool
	client   *http.Client
}

func startHook(t *testing.T, catalogText string, cfg Config, exceptions string) *hook {
	t.Helper()
	dir := t.TempDir()
	cert := certificate(t, dir, 1)
	path := filepath.Join(dir, "catalog.yaml")
	if catalogText != "" {
		writeFile(t, dir, "catalog.yaml", catalogText)
	}
	h := &hook{dir: dir, roots: x509.NewCertPool()}
	h.roots.AddCert(cert)
	opts := Options{Config: cfg, Catalog: LoadCatalog(path), Now: func() time.Time { return now }}
	var x *Exceptions
	if exceptions != "" {
		var err error
		if x, err = LoadExceptions(writeFile(t, dir, "exceptions.yaml", exceptions)); err != nil {
			t.Fatal(err)
		}
		opts.Exceptions = x.InForce
	}
	server, err := NewServer(New(opts), ServeOptions{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"),
		Exceptions: x, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	h.Server = server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	h.url = "https://" + listener.Addr().String()
	h.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	return h
}

func (h *hook) post(t *testing.T, contentType, body string) (int, string) {
	t.Helper()
	res, err := h.client.Post(h.url+"/validate", contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func reviewOf(kind, operation, subResource, object string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",`+
		`"kind":{"group":"","version":"v1","kind":%q},"resource":{"group":"","version":"v1","resource":"x"},"subResource":%q,`+
		`"name":"","namespace":"payments","operation":%q,"userInfo":{"username":"ann"},"object":%s,"dryRun":false}}`, kind, subResource, operation, object)
}

func podObject(account string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"app-","annotations":{"vault.hashicorp.com/agent-inject":"true",`+
		`"vault.hashicorp.com/agent-configmap":"cm"}},"spec":{"serviceAccountName":%q,"containers":[{"name":"a"}]}}`, account)
}

func (h *hook) ask(t *testing.T, body string) *admissionResponse {
	t.Helper()
	code, text := h.post(t, "application/json", body)
	var out admissionReview
	if err := json.Unmarshal([]byte(text), &out); code != http.StatusOK || err != nil || out.Response == nil {
		t.Fatalf("%d %v %s", code, err, text)
	}
	if out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" || out.Response.UID != "705ab4f5-6393-11e8-b7cc-42010a800002" {
		t.Errorf("%s", text)
	}
	return out.Response
}

func TestAdmissionReviewsAreAnsweredAsRecorded(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, exceptionFor(sharedKey, "2026-12-01", "bob"))
	var got strings.Builder
	for _, c := range []struct{ name, body string }{
		{"allowed", reviewOf("Pod", "CREATE", "", podObject("ingest"))},
		{"refused", reviewOf("Pod", "CREATE", "", podObject("stranger"))},
		{"two owners", reviewOf("Pod", "UPDATE", "", podObject("shared"))},
		{"excepted", reviewOf("Pod", "CREATE", "", podObject("nobody"))},
		{"deleted", reviewOf("Pod", "DELETE", "", "null")},
		{"scaled", reviewOf("Scale", "UPDATE", "scale", `{"kind":"Scale"}`)},
		{"no workload", reviewOf("ConfigMap", "CREATE", "", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`)},
		{"going away", reviewOf("Pod", "UPDATE", "", `{"metadata":{"deletionTimestamp":"2026-11-21T00:00:00Z"},"spec":{"serviceAccountName":"stranger"}}`)},
		{"bare account", reviewOf("ServiceAccount", "CREATE", "", `{"metadata":{"name":"default","namespace":"payments"}}`)},
		{"account of another's role", reviewOf("ServiceAccount", "CREATE", "", `{"metadata":{"name":"ingest","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/x"}}}`)},
		{"object that is missing", reviewOf("Pod", "CREATE", "", "null")},
		{"object that can not be read", reviewOf("Pod", "CREATE", "", `{"metadata":{"annotations":[]},"spec":{}}`)},
		{"object that says another namespace", reviewOf("Pod", "CREATE", "", `{"metadata":{"name":"a","namespace":"ops"},"spec":{"serviceAccountName":"backup"}}`)},
		{"kind by the request, not the object", reviewOf("Pod", "CREATE", "", strings.Replace(podObject("stranger"), `"Pod"`, `"ConfigMap"`, 1))},
		{"association of EKS", reviewOf("Pod", "CREATE", "", strings.Replace(podObject("ingest"), `"name":"a"`,
			`"name":"a","env":[{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"http://169.254.170.23/v1/credentials"}]`, 1))},
	} {
		answer, err := json.MarshalIndent(h.ask(t, c.body), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n%s\n\n", c.name, answer)
	}
	golden(t, "reviews.golden", strings.ReplaceAll(got.String(), h.dir+"/", ""))
}

func TestHostileRequestsGetAnErrorAndNoAnswer(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	good := reviewOf("Pod", "CREATE", "", podObject("ingest"))
	for name, c := range map[string]struct {
		kind, body string
		code       int
	}{
		"no JSON":              {"application/json", "hello", 400},
		"empty":                {"application/json", "", 400},
		"cut off":              {"application/json", good[:len(good)/2], 400},
		"other version":        {"application/json", strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), 400},
		"other kind":           {"application/json", strings.Replace(good, "AdmissionReview", "Review", 1), 400},
		"no uid":               {"application/json", strings.Replace(good, "705ab4f5-6393-11e8-b7cc-42010a800002", "", 1), 400},
		"long uid":             {"application/json", strings.Replace(good, "705ab4f5", strings.Repeat("7", 1000), 1), 400},
		"no request":           {"application/json", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, 400},
		"a form":               {"application/x-www-form-urlencoded", good, 415},
		"no content type":      {"", good, 415},
		"with a charset":       {"application/json; charset=utf-8", good, 200},
		"more than the bound":  {"application/json", `{"apiVersion":"` + strings.Repeat("x", maxReview) + `"}`, 413},
		"nested too deep":      {"application/json", reviewOf("Pod", "CREATE", "", strings.Repeat(`{"a":`, 5000)+"1"+strings.Repeat("}", 5000)), 200},
		"nested beyond parser": {"application/json", strings.Repeat("[", 1_000_000), 400},
	} {
		t.Run(name, func(t *testing.T) {
			code, text := h.post(t, c.kind, c.body)
			if code != c.code || len(text) > 2000 {
				t.Errorf("%d %s; expected %d", code, cut(text, 300), c.code)
			}
			if name == "nested too deep" && strings.Contains(text, `"allowed":true`) {
				t.Errorf("%s", text)
			}
		})
	}
	for path, code := range map[string]int{"/validate": 405, "/nowhere": 404, "/healthz": 200, "/readyz": 200} {
		res, err := h.client.Get(h.url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != code {
			t.Errorf("GET %s: %d; expected %d", path, res.StatusCode, code)
		}
	}
}

// Images without a shell ask the gate by its own program.
func TestProbeSaysWhetherTheGateIsReady(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	addr := strings.TrimPrefix(h.url, "https://")
	if err := daemon.Probe(t.Context(), "https", addr); err != nil {
		t.Error(err)
	}
	if err := daemon.Probe(t.Context(), "http", addr); err == nil {
		t.Error("an answer that is no readiness is taken for it")
	}
}

func TestPlainHTTPAndOldTLSAreRefused(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	res, err := http.Get(strings.Replace(h.url, "https", "http", 1) + "/healthz")
	if err == nil {
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			t.Error("answers without TLS")
		}
	}
	_, err = tls.Dial("tcp", strings.TrimPrefix(h.url, "https://"), &tls.Config{RootCAs: h.roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestMetricsHaveLabelsFromClosedSetsOnly(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	for i := range 5 {
		h.ask(t, reviewOf(fmt.Sprintf("Kind%d", i), "CREATE", "", `{"spec":{"template":{"spec":{"serviceAccountName":"stranger","containers":[]}}}}`))
	}
	h.ask(t, reviewOf("Pod", "CREATE", "", podObject("ingest")))
	want := `# HELP leastwise_gate_reviews_total Admission reviews by outcome (allowed, refused, open, ignored, bad) and kind of object.
# TYPE leastwise_gate_reviews_total counter
leastwise_gate_reviews_total{kind="Pod",outcome="allowed"} 1
leastwise_gate_reviews_total{kind="other",outcome="refused"} 5
# HELP leastwise_gate_identities_total Identities judged, by kind and state.
# TYPE leastwise_gate_identities_total counter
leastwise_gate_identities_total{kind="service-account",state="no-owner"} 5
leastwise_gate_identities_total{kind="service-account",state="owned"} 1
# HELP leastwise_gate_catalog_ok 1 while the catalog's files are in force, 0 while they are refused or missing.
# TYPE leastwise_gate_catalog_ok gauge
leastwise_gate_catalog_ok 1
`
	if err := testutil.GatherAndCompare(h.opts.Metrics, strings.NewReader(want),
		"leastwise_gate_reviews_total", "leastwise_gate_identities_total", "leastwise_gate_catalog_ok"); err != nil {
		t.Error(err)
	}
}

// until polls for what a file watcher brings about.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestChangedCatalogIsJudgedByAndABadOneIsNot(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	stranger := reviewOf("Pod", "CREATE", "", podObject("stranger"))
	if h.ask(t, stranger).Allowed {
		t.Fatal("a stranger passes")
	}
	bad := strings.Replace(withoutMover(), "owner: sre", "owner: noone", 1)
	writeFile(t, h.dir, "catalog.yaml", bad)
	until(t, "the bad catalog shows", func() bool { return h.gate.catalog.Problem() != nil })
	if got := testutil.ToFloat64(h.metrics.good); got != 0 {
		t.Errorf("leastwise_gate_catalog_ok %v", got)
	}
	if a := h.ask(t, reviewOf("Pod", "CREATE", "", podObject("ingest"))); !a.Allowed {
		t.Errorf("the last good catalog is not in force: %+v", a.Status)
	}
	code, text := 0, ""
	if res, err := h.client.Get(h.url + "/readyz"); err == nil {
		data, _ := io.ReadAll(res.Body)
		res.Body.Close()
		code, text = res.StatusCode, string(data)
	}
	if code != 200 || !strings.Contains(text, "catalog.yaml:19") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	writeFile(t, h.dir, "catalog.yaml", strings.Replace(withoutMover(), "name: ingest}", "name: stranger}", 1))
	until(t, "the new catalog is in force", func() bool { return h.ask(t, stranger).Allowed })
	if h.gate.catalog.Problem() != nil || testutil.ToFloat64(h.metrics.good) != 1 {
		t.Error("the problem outlives the bad catalog")
	}
}

func TestCatalogThatWasNeverGoodIsAnsweredAsConfiguredUntilItIs(t *testing.T) {
	for _, fail := range []string{FailClosed, FailOpen} {
		h := startHook(t, "", Config{Fail: fail}, "")
		a := h.ask(t, reviewOf("Pod", "CREATE", "", podObject("stranger")))
		said := strings.Join(a.Warnings, "\n")
		if a.Status != nil {
			said += a.Status.Message
		}
		if a.Allowed != (fail == FailOpen) || !strings.Contains(said, "the gate fails "+fail) {
			t.Errorf("fail %s: %+v %s", fail, a, said)
		}
		writeFile(t, h.dir, "catalog.yaml", withoutMover())
		until(t, "the catalog is in force", func() bool { return h.gate.catalog.InForce() != nil })
		if a = h.ask(t, reviewOf("Pod", "CREATE", "", podObject("stranger"))); a.Allowed {
			t.Errorf("fail %s: a stranger passes though the catalog can be read", fail)
		}
	}
}

func TestChangedExceptionsCount(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, exceptionFor(sharedKey, "2026-11-20", "bob"))
	ask := func() bool { return h.ask(t, reviewOf("Pod", "CREATE", "", podObject("nobody"))).Allowed }
	if ask() {
		t.Fatal("an exception that ended counts")
	}
	writeFile(t, h.dir, "exceptions.yaml", exceptionFor(sharedKey, "2026-11-30", "bob"))
	until(t, "the exception counts", ask)
	writeFile(t, h.dir, "exceptions.yaml", "exceptions: [{}]")
	until(t, "the bad file is noticed", func() bool {
		return testutil.ToFloat64(h.metrics.reloads.WithLabelValues("exceptions", "refused")) == 1
	})
	if !ask() {
		t.Error("a bad file takes the good exceptions away")
	}
}

func TestRenewedCertificateIsServedAndABrokenOneIsNot(t *testing.T) {
	h := startHook(t, withoutMover(), Config{}, "")
	serial := func() int64 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(h.url, "https://"), &tls.Config{InsecureSkipVerify: true}) // only its serial is wanted
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if err := os.WriteFile(filepath.Join(h.dir, "tls.crt"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the broken certificate is noticed", func() bool {
		return testutil.ToFloat64(h.metrics.reloads.WithLabelValues("certificate", "refused")) > 0
	})
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	certificate(t, h.dir, 2)
	until(t, "the new certificate is served", func() bool { return serial() == 2 })
	if _, err := NewServer(h.gate, ServeOptions{Certificate: "/nowhere", Key: "/nowhere", Metrics: prometheus.NewRegistry()}); err == nil {
		t.Error("starts without a certificate")
	}
}
