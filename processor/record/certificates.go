package record

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"
)

// Certificate is one that a certificate transparency log shows in a trust domain of ours.
type Certificate struct {
	// Credential is its key at the source certlog, Instance the second part of it.
	Credential, Instance string
	// Domain is the trust domain, Name the SPIFFE ID (empty if it is no SVID), Principal the key of its holder.
	Domain, Name, Principal string
	Log, Issuer, Serial     string
	// LoggedAt is the log's time of it, which its maker can not choose.
	LoggedAt time.Time
	// IssuedAs are the keys of the same certificate at sources of issuers; IssuedBy their source/instance.
	IssuedAs, IssuedBy []string
}

// Issuer is a source that tells serials of the certificates that it issues in a trust domain.
type Issuer struct {
	Source, Instance, Domain string
	// First and Last it told of, and how many.
	First, Last time.Time
	Issued      uint64
}

// maxCertificates bounds what is compared at once: the newest.
const maxCertificates = 200_000

// shown are the certificates that are asked about: until a month after their end.
const shown = `startsWith(credential, 'certlog/') AND labels['own_trust_domain'] = 'true' AND isNotNull(first_seen_at)
	AND (isNull(expires_at) OR expires_at > now() - INTERVAL 30 DAY)`

// Serials are written in decimal by SPIRE and in hexadecimal, in pairs, by Vault: d and h tell the two apart.
const issuances = `SELECT if(source = 'spire', concat('d', splitByChar('/', credential)[4]),
		concat('h', replaceRegexpOne(lower(replaceAll(splitByChar('/', credential)[4], ':', '')), '^0+', ''))) AS serial,
		credential, concat(source, '/', instance) AS by, labels['spiffe_id'] AS name
	FROM credentials FINAL
	WHERE startsWith(credential, 'spire/') AND type = 'x509_svid' OR startsWith(credential, 'vault/') AND type = 'certificate'`

// Certificates lists those of our trust domains that logs show and that are not long over, with what issuers told of
// the same: of the same serial, and of the same SPIFFE ID where the issuer told one.
func Certificates(ctx context.Context, conn *store.DB) ([]Certificate, error) {
	var some uint64
	err := conn.QueryRow(ctx, `SELECT count() FROM (SELECT 1 FROM credentials
		WHERE startsWith(credential, 'certlog/') AND labels['own_trust_domain'] = 'true' LIMIT 1)`).Scan(&some)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	if some == 0 { // most sites have no such log, and issuers tell of many certificates
		return nil, nil
	}
	rows, err := conn.Query(ctx, `WITH seen AS (
			SELECT credential, instance, labels['trust_domain'] AS domain, labels['spiffe_id'] AS name, principal, labels['log'] AS log,
				labels['issuer'] AS issuer, labels['serial_number'] AS serial, labels['serial_decimal'] AS decimal, first_seen_at AS logged
			FROM credentials FINAL WHERE `+shown+` ORDER BY first_seen_at DESC LIMIT ?),
		same AS (
			SELECT s.credential AS credential, groupUniqArray(i.credential) AS as, groupUniqArray(i.by) AS by
			FROM (SELECT credential, name, arrayJoin([concat('h', serial), concat('d', decimal)]) AS key FROM seen) AS s
			INNER JOIN (SELECT * FROM (`+issuances+`) WHERE serial IN (
				SELECT arrayJoin([concat('h', serial), concat('d', decimal)]) FROM seen)) AS i ON s.key = i.serial
			WHERE i.name = '' OR i.name = s.name
			GROUP BY s.credential)
		SELECT seen.credential, seen.instance, domain, name, principal, log, issuer, serial, toUnixTimestamp64Nano(assumeNotNull(logged)),
			arraySort(same.as), arraySort(same.by)
		FROM seen LEFT JOIN same ON seen.credential = same.credential
		ORDER BY seen.credential`, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	defer rows.Close()
	var out []Certificate
	for rows.Next() {
		var c Certificate
		var at int64
		if err := rows.Scan(&c.Credential, &c.Instance, &c.Domain, &c.Name, &c.Principal, &c.Log, &c.Issuer, &c.Serial, &at, &c.IssuedAs, &c.IssuedBy); err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		c.LoggedAt = time.Unix(0, at).UTC()
		out = append(out, c)
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("read certificates: %w", rows.Err())
	}
	return out, nil
}

// Issuers lists the sources that tell of issued certificates by serial and trust domain.
func Issuers(ctx context.Context, conn *store.DB) ([]Issuer, error) {
	rows, err := conn.Query(ctx, `SELECT source, instance, extract(labels['spiffe_id'], '^spiffe://([^/]+)') AS domain,
			toUnixTimestamp64Nano(min(occurred_at)), toUnixTimestamp64Nano(max(occurred_at)), uniqExact(credential)
		FROM events
		WHERE startsWith(credential, 'spire/') AND position(credential, '/x509_svid/') > 0 AND kind = 'ISSUED' AND source = 'spire'
			AND written_at > now() - INTERVAL 60 DAY
		GROUP BY source, instance, domain HAVING domain != '' ORDER BY source, instance, domain`)
	if err != nil {
		return nil, fmt.Errorf("read issuers: %w", err)
	}
	defer rows.Close()
	var out []Issuer
	for rows.Next() {
		var i Issuer
		var first, last int64
		if err := rows.Scan(&i.Source, &i.Instance, &i.Domain, &first, &last, &i.Issued); err != nil {
			return nil, fmt.Errorf("read issuers: %w", err)
		}
		i.First, i.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		out = append(out, i)
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("read issuers: %w", rows.Err())
	}
	return out, nil
}
