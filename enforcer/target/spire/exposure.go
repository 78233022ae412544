package spire

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/leastwise/leastwise/enforcer/target"
)

// keptAfterExpiry is how long SPIRE leaves an expired JWT key in the bundle
// (safetyThresholdBundle in pkg/server/ca/manager): a JWT-SVID, which the key's
// end does not bound, is accepted until then.
const keptAfterExpiry = 24 * time.Hour

// since is when issuance ended: as the journal says, or now.
func (t *Target) since(c target.Credential) time.Time {
	if c.RevokedAt.IsZero() {
		return t.now()
	}
	return c.RevokedAt
}

// exposed says until when what was issued is accepted, and on what that rests.
// bound holds whatever was issued.
func (t *Target) exposed(ctx context.Context, by IssuedBy, bound time.Time, why string) (time.Time, string, error) {
	if t.issued == nil {
		return bound, why, nil
	}
	latest, known, err := t.issued(ctx, by)
	if err != nil {
		return time.Time{}, "", &target.Error{Op: "ask what was seen issued", Err: err}
	}
	if !known || latest.After(bound) {
		return bound, why, nil
	}
	return latest, "the last SVID that was seen issued", nil
}

// boundOf is when the last SVID that former can have issued before at expires.
// former is nil if what it was is not known.
func (t *Target) boundOf(ctx context.Context, former *types.Entry, at time.Time, kinds ...string) (until time.Time, why string, err error) {
	end, why := at, ""
	for _, kind := range kinds {
		bound, reason, err := t.boundKind(ctx, former, at, kind)
		if err != nil {
			return time.Time{}, "", err
		}
		if bound.After(end) {
			end, why = bound, reason
		}
	}
	return end, why, nil
}

func (t *Target) boundKind(ctx context.Context, former *types.Entry, at time.Time, kind string) (time.Time, string, error) {
	// An entry that was ever changed may have had a longer TTL.
	if former != nil && former.RevisionNumber == 0 {
		if ttl, known := t.ttl(former, kind == jwtSVID); known {
			return at.Add(ttl + t.cfg.Slack), fmt.Sprintf("its TTL of %s", ttl), nil
		}
	}
	b, err := t.bundle(ctx)
	if err != nil {
		return time.Time{}, "", err
	}
	var end time.Time
	if kind == jwtSVID {
		for _, key := range b.JwtAuthorities {
			end = later(end, time.Unix(key.ExpiresAt, 0).Add(keptAfterExpiry))
		}
		return end, "the end of the last JWT authority in the bundle", nil
	}
	for _, authority := range b.X509Authorities {
		certs, err := x509.ParseCertificates(authority.Asn1)
		if err != nil {
			return time.Time{}, "", impossible("read the bundle", err)
		}
		for _, cert := range certs {
			end = later(end, cert.NotAfter)
		}
	}
	return end, "the end of the last X.509 authority in the bundle", nil
}

// ttl is the entry's, or the server's default if the configuration knows it.
func (t *Target) ttl(e *types.Entry, jwt bool) (ttl time.Duration, known bool) {
	seconds, otherwise := e.X509SvidTtl, t.cfg.DefaultX509TTL
	if jwt {
		seconds, otherwise = e.JwtSvidTtl, t.cfg.DefaultJWTTTL
	}
	if seconds > 0 {
		return time.Duration(seconds) * time.Second, true
	}
	return otherwise, otherwise > 0
}

// proof of what is gone.
func (t *Target) proof(said string, until time.Time, why string) target.Proof {
	p := target.Proof{Gone: true, Text: said}
	if until.After(t.now()) {
		p.WorksUntil = until
		p.Text += "; what was issued is accepted until " + stamp(until) + " at the latest (" + why + ")"
	} else {
		p.Text += "; the last that was issued has expired (" + why + ")"
	}
	return p
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
