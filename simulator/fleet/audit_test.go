package fleet

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

var mixed = AuditOptions{
	Seed: 7, Credentials: 300, Calls: 6000, DeniedShare: 0.05, RenewShare: 0.04, RevokeShare: 0.01, ChildShare: 0.2, Malformed: 9,
}

func generate(t *testing.T, opts AuditOptions) ([]byte, AuditTruth) {
	t.Helper()
	var log bytes.Buffer
	truth, err := WriteAudit(&log, opts)
	if err != nil {
		t.Fatal(err)
	}
	return log.Bytes(), truth
}

// auditLine is as much of a line as counting by hand takes.
type auditLine struct {
	Type, Error string
	Time        time.Time
	Request     struct {
		ID, Operation, Path string
		ClientTokenAccessor string `json:"client_token_accessor"`
	}
	Response *struct {
		Auth *struct {
			Accessor string
			TokenTTL int64 `json:"token_ttl"`
		}
	}
}

type counted struct {
	uses, denied, renewals uint64
	used, refused          map[string]bool
	ended                  string
	parent                 string
	issued, expires, last  time.Time
}

// count reads a log the slow way, knowing nothing of the generator.
func count(t *testing.T, log []byte) (tokens map[string]*counted, lines, records, malformed int) {
	t.Helper()
	tokens = map[string]*counted{}
	ids := map[string]int{}
	children := map[string][]string{}
	for scanner := newScanner(log); scanner.Scan(); {
		lines++
		var l auditLine
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			malformed++
			continue
		}
		ids[l.Request.ID]++
		if l.Type == "request" {
			continue
		}
		caller := l.Request.ClientTokenAccessor
		if made := l.Response; made != nil && made.Auth != nil && made.Auth.Accessor != caller {
			ttl := time.Duration(made.Auth.TokenTTL) * time.Second
			tokens[made.Auth.Accessor] = &counted{
				parent: caller, issued: l.Time, expires: l.Time.Add(ttl), used: map[string]bool{}, refused: map[string]bool{},
			}
			children[caller] = append(children[caller], made.Auth.Accessor)
		}
		if caller == "" {
			continue
		}
		c := tokens[caller]
		if c == nil || c.ended != "" {
			t.Fatalf("a call with a token that was not issued or has ended: %s", scanner.Bytes())
		}
		what := l.Request.Operation + " " + l.Request.Path
		switch {
		case strings.Contains(l.Error, "permission denied"):
			c.denied++
			c.refused[what] = true
		case l.Request.Path == "auth/token/renew-self":
			c.renewals++
			c.expires = l.Time.Add(time.Duration(l.Response.Auth.TokenTTL) * time.Second)
		case l.Request.Path == "auth/token/revoke-self":
			c.ended = "revoked"
			for _, child := range children[caller] {
				if tokens[child].ended == "" {
					tokens[child].ended = "parent"
				}
			}
		default:
			c.uses++
			c.used[what] = true
			c.last = l.Time
		}
	}
	for id, n := range ids {
		if n != 2 {
			t.Errorf("request id %q is on %d lines, want a request and a response", id, n)
		}
	}
	return tokens, lines, len(ids), malformed
}

func newScanner(log []byte) *bufio.Scanner {
	scanner := bufio.NewScanner(bytes.NewReader(log))
	scanner.Buffer(nil, 1<<20)
	return scanner
}

func TestWrittenAuditLogSaysWhatItsTruthSays(t *testing.T) {
	log, truth := generate(t, mixed)
	tokens, lines, records, malformed := count(t, log)
	if truth.Lines != lines || truth.Records != records || truth.Malformed != malformed || truth.Bytes != int64(len(log)) {
		t.Errorf("truth: %d lines, %d records, %d malformed, %d bytes; the log has %d, %d, %d, %d",
			truth.Lines, truth.Records, truth.Malformed, truth.Bytes, lines, records, malformed, len(log))
	}
	if malformed != mixed.Malformed || records != mixed.Credentials+mixed.Calls || len(truth.Credentials) != mixed.Credentials {
		t.Errorf("%d malformed lines, %d records, %d credentials; asked for %+v", malformed, records, len(truth.Credentials), mixed)
	}
	if len(tokens) != len(truth.Credentials) {
		t.Fatalf("the log issues %d tokens, the truth has %d", len(tokens), len(truth.Credentials))
	}
	var denied, renewals, children, ended int
	for i, want := range truth.Credentials {
		got := tokens[want.Accessor]
		if got == nil {
			t.Fatalf("credential %d is not in the log", i)
		}
		parent := ""
		if want.Parent >= 0 {
			parent = truth.Credentials[want.Parent].Accessor
			children++
		}
		if got.uses != want.Uses || got.denied != want.Denied || got.renewals != want.Renewals || got.ended != want.Ended || got.parent != parent {
			t.Errorf("credential %d: the log has %+v, the truth %+v", i, got, want)
		}
		if len(got.used) != want.UsedPermissions || len(got.refused) != want.DeniedPermissions {
			t.Errorf("credential %d: %d used and %d denied permissions in the log, truth %d and %d", i, len(got.used), len(got.refused), want.UsedPermissions, want.DeniedPermissions)
		}
		for name, pair := range map[string][2]time.Time{"issued": {got.issued, want.IssuedAt}, "expires": {got.expires, want.ExpiresAt}, "last used": {got.last, want.LastUsedAt}} {
			if d := pair[0].Sub(pair[1]); d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("credential %d %s: %v in the log, truth %v", i, name, pair[0], pair[1])
			}
		}
		denied, renewals = denied+int(want.Denied), renewals+int(want.Renewals)
		if want.Ended != "" {
			ended++
		}
	}
	if denied == 0 || renewals == 0 || children == 0 || ended == 0 {
		t.Errorf("%d denials, %d renewals, %d children, %d ended: every kind was asked for", denied, renewals, children, ended)
	}
}

func TestAuditLogIsAFunctionOfItsOptions(t *testing.T) {
	first, _ := generate(t, mixed)
	again, _ := generate(t, mixed)
	if sha256.Sum256(first) != sha256.Sum256(again) {
		t.Error("the same options give other bytes")
	}
	other := mixed
	other.Seed++
	if log, _ := generate(t, other); bytes.Equal(log, first) {
		t.Error("another seed gives the same bytes")
	}
}

func TestAuditLogIssuesEveryCredentialHoweverFewTheCalls(t *testing.T) {
	for _, opts := range []AuditOptions{{Credentials: 1}, {Credentials: 50}, {Credentials: 50, Calls: 3}, {Credentials: 3, Calls: 50}} {
		log, truth := generate(t, opts)
		tokens, _, records, _ := count(t, log)
		if len(tokens) != opts.Credentials || len(truth.Credentials) != opts.Credentials || records != opts.Credentials+opts.Calls {
			t.Errorf("%+v: %d tokens and %d records in the log, %d in the truth", opts, len(tokens), records, len(truth.Credentials))
		}
	}
	if _, err := WriteAudit(io.Discard, AuditOptions{}); err == nil {
		t.Error("a log of no credentials is not refused")
	}
}

func TestAuditLineIsAsLongAsAProductionLine(t *testing.T) {
	_, truth := generate(t, AuditOptions{Credentials: 200, Calls: 5000, DeniedShare: 0.01})
	if mean := truth.Bytes / int64(truth.Lines); mean < 1900 || mean > 2200 {
		t.Errorf("a line has %d bytes on average, want about 2,000", mean)
	}
}

type fullDisk struct{ room int }

var errFull = errors.New("no space left on device")

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteAuditReturnsTheWritersError(t *testing.T) {
	log, _ := generate(t, mixed)
	for _, room := range []int{0, 1 << 21, len(log) - 1} {
		if _, err := WriteAudit(&fullDisk{room}, mixed); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: error = %v", room, err)
		}
	}
}

func BenchmarkWriteAudit(b *testing.B) {
	opts := AuditOptions{Seed: 1, Credentials: 10_000, Calls: 100_000, DeniedShare: 0.01, RenewShare: 0.02, RevokeShare: 0.002, ChildShare: 0.1}
	var lines int
	for b.Loop() {
		truth, err := WriteAudit(io.Discard, opts)
		if err != nil {
			b.Fatal(err)
		}
		lines += truth.Lines
		b.SetBytes(truth.Bytes)
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
}
