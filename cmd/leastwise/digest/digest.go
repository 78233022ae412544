// Package digest tells each owner once a week how their credentials stand: what stands past policy, what was done, what
// happens next, and what expires.
//
// It reads ClickHouse and sends over the channels that the catalog names for an owner. It keeps nothing: run twice, it sends
// twice. A channel that fails does not keep others from being told. What comes from logs passes notify.Clean, as the
// enforcer's messages do.
package digest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/store"
)

// Kind of the message, beside the enforcer's.
const Kind notify.Kind = "digest"

const (
	listed = 15 // of each part
	week   = 7 * 24 * time.Hour
)

// Digest of one owner.
type Digest struct {
	Owner      string
	From, Now  time.Time
	Until      time.Time
	Violations Part
	Done       Part
	Next       Part
	Expires    Part
}

// Part is the first of some lines, and how many there are.
type Part struct {
	Lines []string
	Total uint64
}

// Empty tells that there is nothing to say.
func (d *Digest) Empty() bool {
	return d.Violations.Total+d.Done.Total+d.Next.Total+d.Expires.Total == 0
}

// Owners who have something in ClickHouse, sorted; "" is nobody's, and left out.
func Owners(ctx context.Context, db *store.DB) ([]string, error) {
	var owners []string
	err := each(ctx, db, "SELECT DISTINCT owner FROM credentials FINAL WHERE owner != '' ORDER BY owner", nil, func(scan func(...any) error) error {
		var owner string
		if err := scan(&owner); err != nil {
			return err
		}
		owners = append(owners, owner)
		return nil
	})
	return owners, err
}

// theirs are an owner's credentials.
const theirs = "(SELECT credential FROM credentials FINAL WHERE owner = ?)"

// Of an owner, of the week before now and the one after.
func Of(ctx context.Context, db *store.DB, owner string, now time.Time) (*Digest, error) {
	now = now.UTC()
	d := &Digest{Owner: owner, From: now.Add(-week), Now: now, Until: now.Add(week)}
	for _, fill := range []func(context.Context, *store.DB) error{d.violations, d.done, d.next, d.expires} {
		if err := fill(ctx, db); err != nil {
			return nil, fmt.Errorf("digest of %s: %w", owner, err)
		}
	}
	return d, nil
}

func (d *Digest) violations(ctx context.Context, db *store.DB) error {
	return d.Violations.fill(ctx, db, "credential, policy, metric, value, threshold, severity", `FROM v_findings WHERE owner = ?
		AND credential IN (SELECT credential FROM v_credentials WHERE owner = ? AND state IN ('active', 'unknown'))`,
		`indexOf(['critical', 'high', 'medium', 'low', 'info'], severity), credential, policy, metric`, []any{d.Owner, d.Owner},
		func(scan func(...any) error) (string, error) {
			var credential, policy, metric, value, threshold, severity string
			err := scan(&credential, &policy, &metric, &value, &threshold, &severity)
			return fmt.Sprintf("%s: %s stands past %s: %s is %s, threshold %s", clean(severity), clean(credential), clean(policy),
				strings.ReplaceAll(clean(metric), "_", " "), clean(value), clean(threshold)), err
		})
}

// acts are the entries of the journal that somebody wants to know of a week later.
var acts = map[string]string{"NOTIFIED": "you were told of", "REVOKED": "revoked", "REISSUED": "re-issued, narrower,", "RESOLVED": "back within policy:",
	"EXEMPTED": "excepted", "ESCALATED": "escalated", "ROLLED_BACK": "taken back: the re-issue of"}

func (d *Digest) done(ctx context.Context, db *store.DB) error {
	return d.Done.fill(ctx, db, "credential, state, toUnixTimestamp64Nano(at) AS told_at, reissued_policy, granted_before, granted_after", `FROM enforcement FINAL
		WHERE at > ? AND at <= ? AND state IN ('NOTIFIED', 'REVOKED', 'REISSUED', 'RESOLVED', 'EXEMPTED', 'ESCALATED', 'ROLLED_BACK')
		AND credential IN `+theirs, "told_at DESC, credential, step", []any{d.From, d.Now, d.Owner},
		func(scan func(...any) error) (string, error) {
			var credential, state, policy string
			var at int64
			var before, after uint32
			err := scan(&credential, &state, &at, &policy, &before, &after)
			line := moment(at) + ": " + acts[state] + " " + clean(credential)
			if state == "REISSUED" {
				noun := "permissions"
				if after == 1 {
					noun = "permission"
				}
				line += fmt.Sprintf(" (%d %s, before %d)", after, noun, before)
			}
			return line, err
		})
}

func (d *Digest) next(ctx context.Context, db *store.DB) error {
	return d.Next.fill(ctx, db, "credential, toUnixTimestamp64Nano(assumeNotNull(revoke_at)) AS due, waiting", `FROM v_ladder
		WHERE state IN ('VIOLATED', 'NOTIFIED', 'REMINDED', 'HELD') AND revoke_at IS NOT NULL AND revoke_at <= ? AND credential IN `+theirs+`
		AND credential IN (SELECT credential FROM v_findings WHERE mode = 'ENFORCE')`, "due, credential", []any{d.Until, d.Owner},
		func(scan func(...any) error) (string, error) {
			var credential, waiting string
			var at int64
			err := scan(&credential, &at, &waiting)
			line := moment(at) + ": " + clean(credential) + " is to be revoked, unless it is back within policy or excepted by then"
			if waiting != "" {
				line += "; it waits: " + clean(waiting)
			}
			return line, err
		})
}

// expires tells of credentials that live for a day or longer and are in use: what is short-lived is meant to expire.
func (d *Digest) expires(ctx context.Context, db *store.DB) error {
	err := d.Expires.fill(ctx, db, "credential, toUnixTimestamp64Nano(assumeNotNull(expires_at)) AS due, uses_7d", `FROM v_credentials
		WHERE owner = ? AND state = 'active' AND expires_at > ? AND expires_at <= ? AND uses_7d > 0
		AND ifNull(dateDiff('hour', ifNull(issued_at, first_seen_at), expires_at), 24) >= 24`, "due, credential", []any{d.Owner, d.Now, d.Until},
		func(scan func(...any) error) (string, error) {
			var credential string
			var at int64
			var uses uint64
			err := scan(&credential, &at, &uses)
			return fmt.Sprintf("%s: %s expires; it was used %d times in the last seven days", moment(at), clean(credential), uses), err
		})
	if err != nil {
		return err
	}
	var exceptions Part
	err = exceptions.fill(ctx, db, "id, policy_id, credential, identity, toUnixTimestamp64Nano(assumeNotNull(until)) AS due", `FROM exceptions FINAL
		WHERE approved_by != '' AND revoked_by = '' AND until > ? AND until <= ? AND (credential IN `+theirs+`
		OR identity != '' AND identity IN (SELECT principal FROM credentials FINAL WHERE owner = ?))`, "due, id", []any{d.Now, d.Until, d.Owner, d.Owner},
		func(scan func(...any) error) (string, error) {
			var id, policy, credential, identity string
			var at int64
			err := scan(&id, &policy, &credential, &identity, &at)
			return fmt.Sprintf("%s: exception %s for %s from %s ends", moment(at), clean(id), clean(credential+identity), clean(policy)), err
		})
	d.Expires.Lines = append(d.Expires.Lines, exceptions.Lines...)
	d.Expires.Total += exceptions.Total
	return err
}

func (p *Part) fill(ctx context.Context, db *store.DB, columns, from, order string, args []any, line func(scan func(...any) error) (string, error)) error {
	if err := db.QueryRow(ctx, "SELECT count() "+from, args...).Scan(&p.Total); err != nil {
		return err
	}
	return each(ctx, db, "SELECT "+columns+" "+from+" ORDER BY "+order+fmt.Sprintf(" LIMIT %d", listed), args, func(scan func(...any) error) error {
		text, err := line(scan)
		p.Lines = append(p.Lines, text)
		return err
	})
}

func each(ctx context.Context, db *store.DB, query string, args []any, fn func(scan func(...any) error) error) error {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func clean(text string) string { return notify.Clean(text, 200) }

func moment(nanos int64) string { return time.Unix(0, nanos).UTC().Format("Mon 2 Jan 15:04 UTC") }

// Message that is sent.
func (d *Digest) Message(name string) notify.Message {
	var b strings.Builder
	part := func(title string, p Part, none string) {
		if p.Total == 0 {
			if none != "" {
				fmt.Fprintf(&b, "%s\n\n", none)
			}
			return
		}
		fmt.Fprintf(&b, "%s (%d)\n", title, p.Total)
		for _, line := range p.Lines {
			fmt.Fprintf(&b, "- %s\n", line)
		}
		if more := p.Total - uint64(len(p.Lines)); more > 0 {
			fmt.Fprintf(&b, "… and %d more\n", more)
		}
		b.WriteString("\n")
	}
	part("What stands past policy", d.Violations, "Nothing of yours stands past policy.")
	part("What was done since "+d.From.Format("2 January"), d.Done, "")
	part("What happens until "+d.Until.Format("2 January"), d.Next, "Nothing of yours is to be revoked in the next seven days.")
	part("What expires until "+d.Until.Format("2 January"), d.Expires, "")
	b.WriteString("How one stands and why: leastwise policy explain CREDENTIAL. To ask for an exception: leastwise exception request.")
	return notify.Message{Kind: Kind, Title: fmt.Sprintf("Leastwise, week to %s: credentials of %s", d.Now.Format("2 January 2006"), clean(name)),
		Text: b.String(), Owner: clean(d.Owner), State: "digest", At: d.Now, Until: d.Now.Add(week)}
}
