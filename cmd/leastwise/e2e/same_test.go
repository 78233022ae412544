package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/leastwise/leastwise/cmd/leastwise/scan"
	"github.com/leastwise/leastwise/internal/storetest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// The thresholds are such that no metric crosses one while a test runs: calls lie 10 to 40 minutes back.
const samePolicies = `policy_id: "old"
metrics:
  - name: "credential_age"
    source: "vault"
    threshold: "5m"
    condition: "greater_than"
action:
  - severity: "low"
    channel: "security_team"
---
policy_id: "probing"
metrics:
  - name: "elevation_attempts"
    source: "vault"
    threshold: "2"
    condition: "greater_or_equal"
action:
  - severity: "high"
    channel: "security_team"
---
policy_id: "long"
metrics:
  - name: "lifetime"
    source: "vault"
    threshold: "20h"
    condition: "greater_than"
action:
  - severity: "medium"
    channel: "security_team"
`

func writePolicies(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, text := range strings.Split(samePolicies, "---\n") {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// probingOf counts the tokens that live and were refused two permissions or more.
func probingOf(truth fleet.AuditTruth) (n uint64) {
	for _, c := range truth.Credentials {
		if c.Ended == "" && c.DeniedPermissions >= 2 {
			n++
		}
	}
	return n
}

// untilDecided waits until the findings are those the truth calls for.
func (p *product) untilDecided(truth fleet.AuditTruth) {
	p.t.Helper()
	p.untilNumber(probingOf(truth), "SELECT count() FROM v_findings WHERE policy = 'probing'")
	p.untilNumber(uint64(len(truth.Credentials))-ended(truth), "SELECT count() FROM v_findings WHERE policy = 'old'")
}

// query gives the lines of an answer as ClickHouse formats it.
func (p *product) query(sql string) []string {
	p.t.Helper()
	text := strings.TrimSuffix(string(p.raw(sql)), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (p *product) raw(sql string) []byte {
	p.t.Helper()
	target := "/?" + url.Values{"database": {p.cfg.ClickHouse.Database}}.Encode()
	answer := httptest.NewRecorder()
	storetest.Engine(p.t).Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, target, strings.NewReader(sql)))
	if answer.Code != http.StatusOK {
		p.t.Fatalf("%s: %s", sql, answer.Body)
	}
	return answer.Body.Bytes()
}

// known is all that the product holds of its credentials, without where and when it was written.
func (p *product) known() (credentials, findings []string) {
	p.t.Helper()
	credentials = p.query(`SELECT * EXCEPT (blob, kafka_partition, applied_offset, written_at) REPLACE (mapSort(labels) AS labels)
		FROM credentials FINAL ORDER BY credential FORMAT JSONEachRow`)
	credentials = append(credentials, p.states()...)
	// An age moves on with the clock, so its value is left out.
	findings = p.query(`SELECT credential, policy, metric, if(metric = 'credential_age', '', value) AS value, threshold, severity, owner,
		agent, mode FROM v_findings ORDER BY credential, policy, metric FORMAT JSONEachRow`)
	return credentials, findings
}

// states are what a restart would load.
func (p *product) states() (out []string) {
	p.t.Helper()
	rows, err := p.db.Query(p.t.Context(), "SELECT blob FROM credentials FINAL ORDER BY credential")
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var blob string
		var state pb.CredentialState
		if err := rows.Scan(&blob); err != nil {
			p.t.Fatal(err)
		}
		if err := state.UnmarshalVT([]byte(blob)); err != nil {
			p.t.Fatal(err)
		}
		state.AppliedOffset, state.DecidedAt, state.DecidedRevision = 0, 0, ""
		text, err := protojson.Marshal(&state)
		if err != nil {
			p.t.Fatal(err)
		}
		// The encoder varies its white space at will; none of ours holds a blank after these.
		out = append(out, strings.NewReplacer(`, "`, `,"`, `": `, `":`).Replace(string(text)))
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return out
}

func TestAnyPartitionCountAndBatchingGivesTheSame(t *testing.T) {
	t.Parallel()
	log, truth := writeLog(t, mixed(3, 120, 1500))
	policies := writePolicies(t)
	type shape struct {
		partitions, records, rows int
		flush, checkpoint         time.Duration
	}
	shapes := []shape{
		{1, 5000, 50_000, 300 * time.Millisecond, 600 * time.Millisecond},
		{3, 250, 100, 50 * time.Millisecond, 250 * time.Millisecond},
		{8, 77, 500, 200 * time.Millisecond, 200 * time.Millisecond},
	}
	var first *product
	for i, s := range shapes {
		p := newProduct(t, s.partitions)
		p.cfg.VaultCollector.BatchRecords = s.records
		p.cfg.Processor.BatchRows, p.cfg.Processor.Flush, p.cfg.Processor.Checkpoint = s.rows, s.flush, s.checkpoint
		// A decision that stands is made anew, with the value measured then, at each heartbeat: soon, here.
		p.cfg.Processor.Heartbeat = time.Second
		p.cfg.Policies.Dir = policies
		p.kafka.start()
		p.start()
		if i == 0 {
			p.append(log)
		} else { // as it comes, cut anywhere
			for part := range slices.Chunk(log, len(log)/(4*i)) {
				had := p.events()
				p.append(part)
				p.untilEventsPast(had)
			}
		}
		p.untilComplete(truth)
		p.untilDecided(truth)
		if parts, _ := p.number("SELECT uniqExact(kafka_partition) FROM credentials"); parts != uint64(s.partitions) {
			t.Errorf("%d partitions were asked for, credentials came through %d", s.partitions, parts)
		}
		if first == nil {
			first = p
			continue // and goes on: its last state may not be written yet
		}
		p.until(func() string {
			credentials, findings := first.known()
			otherCredentials, otherFindings := p.known()
			return cmp.Or(differ(credentials, otherCredentials), differ(findings, otherFindings))
		})
		first.stop()
		p.stop()
	}
}

// differ tells the first line in which two lists differ, or "".
func differ(a, b []string) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%d lines against %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d of %d differs:\n%s\n%s", i, len(a), a[i], b[i])
		}
	}
	return ""
}

func TestScanAndPipelineAgree(t *testing.T) {
	t.Parallel()
	log, truth := writeLog(t, mixed(4, 120, 1500))
	p := newProduct(t, 2)
	p.cfg.Policies.Dir = writePolicies(t)
	p.append(log)
	p.kafka.start()
	p.start()
	p.untilComplete(truth)
	p.untilDecided(truth)
	p.until(func() string { // the last decisions have reached the state
		open, _ := p.number("SELECT count() FROM credentials FINAL WHERE has(violated_policies, 'probing')")
		if want := probingOf(truth); open != want {
			return fmt.Sprintf("%d credentials stand as probing, want %d", open, want)
		}
		return ""
	})

	report, err := scan.Run(t.Context(), scan.Options{Policies: p.cfg.Policies.Dir, AsOf: time.Now(), Paths: []string{p.log},
		Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	// Times of use are left out: a call has two lines, and which of them tells the time differs (scan reads every line by
	// itself, the collector in pairs).
	var scanned []string
	for _, c := range report.Credentials {
		scanned = append(scanned, fmt.Sprintf("%s %s uses %d denied %d on %d issued %s expires %s identity %s from %s", c.Key, c.State,
			c.Uses, c.Denied, c.DeniedPermissions, when(c.IssuedAt), when(c.ExpiresAt), word(c.Identity), word(c.DerivedFrom)))
	}
	if diff := differ(scanned, p.piped()); diff != "" {
		t.Errorf("scan, then pipeline: %s", diff)
	}
	var findings []string
	for _, f := range report.Findings {
		findings = append(findings, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", f.Credential, f.PolicyID, f.Metric, f.Threshold, f.Severity))
	}
	slices.Sort(findings)
	piped := p.query(`SELECT credential, policy, metric, threshold, severity FROM v_findings FORMAT TSVRaw`)
	slices.Sort(piped)
	if diff := differ(findings, piped); diff != "" {
		t.Errorf("findings, scan, then pipeline: %s", diff)
	}
	if len(findings) == 0 {
		t.Error("nothing was found, so nothing was compared")
	}
}

// piped is the pipeline's credentials as the scan's are written above.
func (p *product) piped() (out []string) {
	p.t.Helper()
	rows, err := p.db.Query(p.t.Context(), `SELECT credential, state, uses, denied, denied_permissions, issued_at, expires_at, principal, parent FROM v_credentials ORDER BY credential`)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var key, state, principal, parent string
		var uses, denied, distinct uint64
		var issued, expires *time.Time
		if err := rows.Scan(&key, &state, &uses, &denied, &distinct, &issued, &expires, &principal, &parent); err != nil {
			p.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %s uses %d denied %d on %d issued %s expires %s identity %s from %s", key, state,
			uses, denied, distinct, when(issued), when(expires), principal, parent))
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return out
}

func when(at *time.Time) string {
	if at == nil {
		return "?"
	}
	return at.UTC().Format(time.RFC3339Nano)
}

func word(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
