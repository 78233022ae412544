package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzManifest: whatever a file holds, reading it ends without a panic, each workload has an identity, nothing passes that
// has an identity without one owner and one system of record, and reports stay bounded text.
func FuzzManifest(f *testing.F) {
	for _, text := range []string{deployment("payments", "ingest", vaultOn, "vault.hashicorp.com/role: ingest"),
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, spec: {}}]\n", podObject("ingest"),
		"apiVersion: leastwise.dev/v1\nkind: Deployment\nmetadata: {name: n}\nidentities: [{vault_role: {role: a}}]\n",
		"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: &a {spec: {serviceAccount: b}}}}}\n---\n*a\n",
		"a: &a [*a]\n", "{\"a\": \"\\ud83d\"}", "\ufeff---\n...\n"} {
		f.Add([]byte(text))
	}
	g := gateOf(f, withoutMover(), Config{SPIFFE: SPIFFEConfig{TrustDomain: "example.org"}}, "")
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReader(&g.cfg, "default", true)
		r.read("fuzz.yaml", data, nil, true)
		for _, err := range r.errs {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
		report := &Report{Fail: FailClosed}
		for _, w := range r.finish() {
			v := g.Judge(context.Background(), w)
			if len(v.Identities) == 0 {
				t.Errorf("%s has no identity", w)
			}
			for _, s := range v.Identities {
				if v.Allowed && (s.State != Owned || s.Owner == "" || s.System == "") {
					t.Errorf("%s passes with %s %s", w, s.Identity, s.State)
				}
			}
			report.Workloads = append(report.Workloads, v)
		}
		var out bytes.Buffer
		if err := report.Text(&out); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(out.Bytes()) || strings.IndexFunc(out.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) >= 0 {
			t.Errorf("%q", out.String())
		}
	})
}

// FuzzReview: whatever is posted, there is either an error or an answer to its uid, and never a yes with a problem.
func FuzzReview(f *testing.F) {
	for _, text := range []string{reviewOf("Pod", "CREATE", "", podObject("ingest")), reviewOf("CronJob", "UPDATE", "", podObject("a")),
		reviewOf("ServiceAccount", "CREATE", "", `{"metadata":{"name":"a","annotations":{"eks.amazonaws.com/role-arn":""}}}`), "{}"} {
		f.Add([]byte(text))
	}
	g := gateOf(f, withoutMover(), Config{}, "")
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, err := g.review(context.Background(), data)
		if err != nil {
			return
		}
		if answer.UID != answer.request.UID || answer.UID == "" {
			t.Errorf("answers %q to %q", answer.UID, answer.request.UID)
		}
		if v := answer.verdict; v != nil && answer.Allowed != (len(v.Problems) == 0) || !answer.Allowed && (answer.Status == nil || answer.Status.Message == "") {
			t.Errorf("%+v", answer)
		}
		for _, w := range answer.Warnings {
			if len(w) > maxWarning {
				t.Errorf("a warning of %d bytes", len(w))
			}
		}
		if _, err := json.Marshal(answer.admissionResponse); err != nil {
			t.Error(err)
		}
	})
}
