package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// writeLog gives an audit log whose calls lie 10 to 40 minutes back, and the truth about it: so no token expires and no
// window closes while a test runs.
func writeLog(t *testing.T, opts fleet.AuditOptions) ([]byte, fleet.AuditTruth) {
	t.Helper()
	opts.Start = time.Now().Add(-40 * time.Minute).Truncate(time.Second)
	opts.Span = 30 * time.Minute
	var log bytes.Buffer
	truth, err := fleet.WriteAudit(&log, opts)
	if err != nil {
		t.Fatal(err)
	}
	return log.Bytes(), truth
}

// mixed is a fleet in which everything happens.
func mixed(seed uint64, credentials, calls int) fleet.AuditOptions {
	return fleet.AuditOptions{Seed: seed, Credentials: credentials, Calls: calls, DeniedShare: 0.05, RenewShare: 0.03,
		RevokeShare: 0.01, ChildShare: 0.2, Malformed: 20}
}

func keyOf(c fleet.AuditCredential) string { return "vault/default/token/" + c.Accessor }

// eventsOf is how many events a log tells: one a call, and one more for each issuance, link to a parent, renewal and
// revocation. What follows without being told is one event for each child of a revoked token, which may have been
// revoked itself before: its parent's partition does not know.
func eventsOf(truth fleet.AuditTruth) (told, derived uint64) {
	told = uint64(truth.Records) + uint64(len(truth.Credentials))
	for _, c := range truth.Credentials {
		told += c.Renewals
		if c.Ended == "revoked" {
			told++
		}
		if c.Parent >= 0 {
			told++
			if truth.Credentials[c.Parent].Ended != "" {
				derived++
			}
		}
	}
	return told, derived
}

// untilComplete waits until all the log tells has arrived, and fails if anything is there twice or is not what the
// fleet did.
func (p *product) untilComplete(truth fleet.AuditTruth) {
	p.t.Helper()
	told, derived := eventsOf(truth)
	var uses, denied uint64
	for _, c := range truth.Credentials {
		uses, denied = uses+c.Uses, denied+c.Denied
	}
	p.until(func() string {
		if n, _ := p.number("SELECT uniqExact(id) FROM events WHERE position != 'derived'"); n != told {
			return fmt.Sprintf("%d of %d events are there", n, told)
		}
		if n, _ := p.number("SELECT uniqExact(id) FROM events WHERE position = 'derived'"); n != derived {
			return fmt.Sprintf("%d of %d derived events are there", n, derived)
		}
		if n, _ := p.number("SELECT count() FROM v_dead_letters"); n != uint64(truth.Malformed) {
			return fmt.Sprintf("%d of %d dead letters are there", n, truth.Malformed)
		}
		if n, _ := p.number("SELECT toUInt64(sum(uses) + sum(denied)) FROM credentials FINAL"); n != uses+denied {
			return fmt.Sprintf("%d of %d calls are counted", n, uses+denied)
		}
		if n, _ := p.number("SELECT count() FROM credentials FINAL WHERE revoked_at IS NOT NULL"); n != ended(truth) {
			return fmt.Sprintf("%d of %d ends are known", n, ended(truth))
		}
		return ""
	})
	if rows, _ := p.number("SELECT count() FROM events"); rows != told+derived {
		p.t.Errorf("%d event rows, but the log tells %d and %d follow: something was written twice", rows, told, derived)
	}
	p.compareWithTruth(truth)
	if rows, err := record.VerifyChains(p.t.Context(), p.db); err != nil {
		p.t.Errorf("the audit chain is broken after %d rows: %v", rows, err)
	}
}

func ended(truth fleet.AuditTruth) (n uint64) {
	for _, c := range truth.Credentials {
		if c.Ended != "" {
			n++
		}
	}
	return n
}

func (p *product) compareWithTruth(truth fleet.AuditTruth) {
	p.t.Helper()
	type counts struct{ Uses, Denied, Distinct uint64 }
	got := map[string]counts{}
	rows, err := p.db.Query(p.t.Context(), "SELECT credential, uses, denied, denied_permissions FROM credentials FINAL WHERE type = 'token'")
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var c counts
		if err := rows.Scan(&key, &c.Uses, &c.Denied, &c.Distinct); err != nil {
			p.t.Fatal(err)
		}
		got[key] = c
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	if len(got) != len(truth.Credentials) {
		p.t.Errorf("%d credentials are known, the fleet has %d", len(got), len(truth.Credentials))
	}
	for _, c := range truth.Credentials {
		if want := (counts{c.Uses, c.Denied, uint64(c.DeniedPermissions)}); got[keyOf(c)] != want {
			p.t.Errorf("%s: counted %+v, the fleet made %+v", keyOf(c), got[keyOf(c)], want)
		}
	}
}
