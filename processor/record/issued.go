package record

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"
)

// RoleSession is a session of an AWS role, as the events tell of it.
type RoleSession struct {
	Key, Name, SourceIdentity string
	IssuedAt, ExpiresAt       time.Time // zero: the events do not tell
	Owner                     string
}

// maxSessions of one role are told; more are an error, since a part of them would look like all.
const maxSessions = 10_000

// RoleSessions gives the sessions of a role, by its ARN, that may have been issued before a time and are not known to have
// ended by now, the oldest first.
func RoleSessions(ctx context.Context, conn *store.DB, role string, before, now time.Time) (sessions []RoleSession, err error) {
	rows, err := conn.Query(ctx, `SELECT credential, labels['session_name'], labels['source_identity'], issued_at, expires_at, owner
		FROM credentials FINAL WHERE source = 'cloudtrail' AND type = 'session' AND labels['session_issuer'] = ?
			AND (issued_at IS NULL OR issued_at < ?) AND (expires_at IS NULL OR expires_at > ?) AND revoked_at IS NULL
		ORDER BY issued_at, credential LIMIT ?`, role, before, now, maxSessions+1)
	if err != nil {
		return nil, fmt.Errorf("find the sessions of %s: %w", role, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s RoleSession
		var issued, expires *time.Time
		if err := rows.Scan(&s.Key, &s.Name, &s.SourceIdentity, &issued, &expires, &s.Owner); err != nil {
			return nil, fmt.Errorf("find the sessions of %s: %w", role, err)
		}
		s.IssuedAt, s.ExpiresAt = timeOr(issued), timeOr(expires)
		sessions = append(sessions, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find the sessions of %s: %w", role, err)
	}
	if len(sessions) > maxSessions {
		return nil, fmt.Errorf("find the sessions of %s: there are more than %d", role, maxSessions)
	}
	return sessions, nil
}

func timeOr(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// longestSVID is how far back the log has to be known: an SVID that lives longer than this may have been issued before it,
// and then the log does not show the last one. SPIRE ends none after its signing authority, which by default lives a day.
const longestSVID = 30 * 24 * time.Hour

// LastSVID tells when the last SVID of an entry, or of what an agent fetched and that agent itself, expires; typ is
// x509_svid, jwt_svid, or empty for both. known is false where the logs may not be whole: no SVID of it was seen, one has no
// expiry, or SPIRE's log was not read without gaps for longestSVID.
func LastSVID(ctx context.Context, conn *store.DB, entry, agent, typ string, now time.Time) (latest time.Time, known bool, err error) {
	where, by := "labels['entry_id'] = ?", []any{entry}
	if entry == "" {
		where, by = "(labels['spire_agent'] = ? OR labels['spiffe_id'] = ?)", []any{agent, agent}
	}
	if typ != "" {
		where, by = where+" AND type = ?", append(by, typ)
	} else {
		where += " AND type IN ('x509_svid', 'jwt_svid')"
	}
	rows, err := conn.Query(ctx, `SELECT instance, max(expires_at), countIf(expires_at IS NULL) FROM credentials FINAL
		WHERE source = 'spire' AND `+where+` GROUP BY instance`, by...)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("find the SVIDs that were issued: %w", err)
	}
	defer rows.Close()
	instances, endless := []string{}, uint64(0)
	for rows.Next() {
		var instance string
		var last *time.Time
		var without uint64
		if err := rows.Scan(&instance, &last, &without); err != nil {
			return time.Time{}, false, fmt.Errorf("find the SVIDs that were issued: %w", err)
		}
		instances, endless = append(instances, instance), endless+without
		if at := timeOr(last); at.After(latest) {
			latest = at
		}
	}
	if err := rows.Err(); err != nil {
		return time.Time{}, false, fmt.Errorf("find the SVIDs that were issued: %w", err)
	}
	if len(instances) != 1 || endless > 0 { // none, or two servers that know such an entry or agent
		return latest, false, nil
	}
	gaps, err := Gaps(ctx, conn, "spire", instances[0], now.Add(-longestSVID), now)
	return latest, err == nil && len(gaps) == 0, err
}
