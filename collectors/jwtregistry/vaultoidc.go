package jwtregistry

import (
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// vault reads Vault's answer to a read of identity/oidc/token/ROLE, as whoever hands the tokens out may log it:
// {"request_id": ..., "data": {"client_id": ..., "token": ..., "ttl": ...}}. These tokens have no jti, so they are named
// by their hash; sub is the entity they are issued to. Vault can not revoke them: they end by exp.
func (d *Decoder) vault(dst []*leastwisev1.Event, r *record) ([]*leastwisev1.Event, error) {
	r.token = r.data.GetStringBytes("token")
	if len(r.token) == 0 {
		return dst, jsonrecord.Malformed("the answer of Vault holds no token")
	}
	signed := d.open(r)
	r.recordName = r.requestID
	r.verb = "identity/oidc/token"
	r.claims.clientID = r.data.GetStringBytes("client_id")
	if r.at = r.claims.iat; r.at.IsZero() {
		if r.at, _ = jsonrecord.Time(r.time); r.at.IsZero() {
			return dst, jsonrecord.Malformed("Vault's identity token has no iat that can be read, and the record no time")
		}
	}
	return append(dst, d.token(r, leastwisev1.Event_ISSUED, signed)), nil
}

// entity labels a token of Vault's with the entity that it stands for.
func (d *Decoder) entity(ev *leastwisev1.Event, c *claims) {
	if len(c.sub) > 0 && strings.Contains(string(c.iss), "/v1/") && strings.Contains(string(c.iss), "identity/oidc") {
		key := schemas.Key{System: "vault", Instance: d.opts.VaultInstance, Type: "entity", ID: jsonrecord.ID(c.sub)}
		ev.Labels["vault_entity"] = key.String()
	}
}
